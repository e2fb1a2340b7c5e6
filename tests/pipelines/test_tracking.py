from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipelines import tracking
from pipelines.locks import held
from pipelines.loop import Row
from pipelines.tracking import Description, Tracker


@pytest.fixture
def description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Description:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    return Description(
        run="pix2pix-0123456789",
        recipe="pix2pix",
        stage="train@pix2pix",
        params={"width": 4, "damage.holes": 1.0},
        params_hash="f" * 64,
        data={"imagenet": "a" * 64},
        manifests={"imagenet": tmp_path / "manifest.parquet"},
        folder=tmp_path / "build/runs/pix2pix-0123456789",
    )


@pytest.fixture
def client(description: Description) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking.address())


def rows(*steps: int) -> list[Row]:
    return [Row(step, 1000 + step, {"adversarial/l1": step / 10, "adversarial/generator": 1.0}) for step in steps]


def steps(client: mlflow.MlflowClient, run_id: str, name: str) -> list[int]:
    return [metric.step for metric in client.get_metric_history(run_id, name)]


def test_a_training_is_described_told_and_ended(description: Description, client: mlflow.MlflowClient) -> None:
    with tracking.training_run(description) as run_id:
        tracker = Tracker(tracking.address(), run_id)
        tracker.metrics(rows(*range(1, 700)))
        tracker.picture("adversarial-epoch-001", np.zeros((8, 8, 3), np.uint8))
        assert client.get_run(run_id).info.status == "RUNNING"
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == (description.run, "FINISHED")
    assert run.data.params == {"width": "4", "damage.holes": "1.0"}
    assert run.data.tags["autochrome.data"] == '{"imagenet": "' + "a" * 64 + '"}'
    assert run.data.tags["autochrome.recipe"] == "pix2pix"
    assert run.inputs is not None
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("imagenet", "a" * 32)
    assert steps(client, run_id, "adversarial/l1") == list(range(1, 700))
    assert [file.path for file in client.list_artifacts(run_id, "pictures")] == ["pictures/adversarial-epoch-001.png"]
    assert (tracking.find_run(description.run), tracking.find_run("other")) == (run_id, None)


def test_what_is_offered_again_is_told_once(description: Description, client: mlflow.MlflowClient) -> None:
    with tracking.training_run(description) as run_id:
        Tracker(tracking.address(), run_id).metrics(rows(1, 2, 3))
    with tracking.training_run(description) as again:
        Tracker(tracking.address(), again).metrics(rows(2, 3, 4))
    assert again == run_id
    assert steps(client, run_id, "adversarial/generator") == [1, 2, 3, 4]


@pytest.mark.parametrize("end", [ValueError("no"), SystemExit(143), KeyboardInterrupt()])
def test_however_it_fails_the_run_is_failed(
    description: Description, client: mlflow.MlflowClient, end: BaseException
) -> None:
    with pytest.raises(type(end)), tracking.training_run(description) as run_id:
        raise end
    assert client.get_run(run_id).info.status == "FAILED"


def test_runs_of_killed_drivers_are_ended_and_others_are_left(
    description: Description, client: mlflow.MlflowClient
) -> None:
    def begun(name: str, place: Path) -> str:
        return tracking.start_or_continue(name, {"autochrome.place": tracking._place(place)})

    runs = description.folder.parent
    killed, working, elsewhere = begun("killed", runs), begun("working", runs), begun("elsewhere", runs.parent)
    (runs / "killed").mkdir(parents=True)
    (runs / "killed" / "lock").touch()
    with held(runs / "working" / "lock", "working"), tracking.training_run(replace(description, run="new")):
        pass
    found = [client.get_run(run).info.status for run in (killed, working, elsewhere)]
    assert found == ["FAILED", "RUNNING", "RUNNING"]


def test_an_evaluation_joins_its_training(
    description: Description, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "pictures.png").write_bytes(b"x")
    with tracking.training_run(description) as run_id:
        pass
    files = [tmp_path / "pictures.png"]
    assert tracking.log_evaluation(description.run, {}, {"evaluation/psnr": 20.0}, files) == run_id
    assert client.get_run(run_id).data.metrics == {"evaluation/psnr": 20.0}
    assert [file.path for file in client.list_artifacts(run_id, "evaluation")] == ["evaluation/pictures.png"]
    elsewhere = tracking.log_evaluation("bare-1", {"autochrome.recipe": "pix2pix"}, {"evaluation/psnr": 20.0}, [])
    assert client.get_run(elsewhere).info.status == "FINISHED"
