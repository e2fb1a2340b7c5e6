import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipelines import family, tracking
from pipelines.locks import held
from pipelines.loop import Row
from pipelines.tracking import PARENT_TAG, PROCESS_TAG, REPRO_TAG, Description, Tracker

ROOT = Path(__file__).resolve().parents[2]
STAGE = """
import sys
from pipelines.stage import stage
from pipelines.tracking import log_report, stage_run
with stage(sys.argv[1]), stage_run(sys.argv[1]) as run_id:
    log_report(run_id, {"kept": 3})
    open(sys.argv[1], "x")
"""


@pytest.fixture
def description(tmp_path: Path, tracking_database: Path, monkeypatch: pytest.MonkeyPatch) -> Description:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
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


def repro_of(pid: int, began: float = 0.0) -> family.Repro:
    return family.Repro(family.key(pid), "dvc repro", began)


def all_runs(client: mlflow.MlflowClient) -> list[mlflow.entities.Run]:
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_a_stage_by_hand_has_a_run_without_a_parent(description: Description, client: mlflow.MlflowClient) -> None:
    with tracking.stage_run("prepare@coco") as run_id:
        assert client.get_run(run_id).info.status == "RUNNING"
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("prepare@coco", "FINISHED")
    assert run.data.tags["autochrome.stage"] == "prepare@coco"
    assert tracking.parent_of(run_id) is None
    assert len(all_runs(client)) == 1


def test_a_report_is_logged_as_numbers_and_whole(
    description: Description, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "a.txt").write_text("a", encoding="utf-8")
    report = {"set": "coco", "kept": 3, "good": True, "splits": {"train": 2, "deep": {"test": 0.5}}}
    with tracking.stage_run("prepare@coco") as run_id:
        tracking.log_report(run_id, report, [tmp_path / "shown"])
    run = client.get_run(run_id)
    assert run.data.metrics == {"kept": 3.0, "splits/train": 2.0, "splits/deep/test": 0.5}
    found = client.download_artifacts(run_id, "report.json", str(tmp_path))
    assert json.loads(Path(found).read_text(encoding="utf-8")) == report
    assert [file.path for file in client.list_artifacts(run_id, "shown")] == ["shown/a.txt"]


def test_the_stages_of_one_repro_are_children_of_one_run(
    description: Description, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "repro", lambda: repro_of(os.getpid(), 86_400.0))
    with tracking.stage_run("prepare@coco") as prepared:
        parent = tracking.parent_of(prepared)
        assert parent is not None
        assert client.get_run(parent).info.status == "RUNNING"
    assert client.get_run(parent).info.status == "FINISHED"
    with tracking.training_run(description) as trained:
        assert client.get_run(parent).info.status == "RUNNING"
    assert tracking.parent_of(trained) == parent
    run = client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.tags[REPRO_TAG] == family.key(os.getpid())
    assert run.data.tags["autochrome.command"] == "dvc repro"
    assert run.info.run_name is not None
    assert run.info.run_name.startswith("dvc repro 1970-01-0")


def test_a_failed_stage_fails_its_repro_though_others_go_on(
    description: Description, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "repro", lambda: repro_of(os.getpid()))
    with pytest.raises(SystemExit), tracking.stage_run("prepare@coco") as failed:
        raise SystemExit(143)
    with tracking.stage_run("prepare@more") as good:
        pass
    parent = tracking.parent_of(failed)
    assert parent is not None
    assert [client.get_run(run).info.status for run in (failed, good, parent)] == ["FAILED", "FINISHED", "FAILED"]


def test_a_training_belongs_to_the_newest_repro_and_one_by_hand_moves_nothing(
    description: Description, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = []
    for repro in (repro_of(os.getpid()), repro_of(os.getppid()), None):
        monkeypatch.setattr(family, "repro", lambda repro=repro: repro)
        with tracking.training_run(description) as run_id:
            parents.append(tracking.parent_of(run_id))
    assert parents[0] != parents[1]
    assert parents[1] == parents[2]


def test_runs_of_killed_stages_and_repros_are_ended_by_the_next_stage(
    description: Description, client: mlflow.MlflowClient
) -> None:
    def begun(tag: str, process: str) -> str:
        experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
        assert experiment is not None
        return str(client.create_run(experiment.experiment_id, tags={tag: process}).info.run_id)

    mine = family.key(os.getpid())
    host, pid, start = mine.rsplit(":", 2)
    gone = f"{host}:{pid}:{int(start) - 1}"
    runs = [begun(REPRO_TAG, gone), begun(PROCESS_TAG, gone), begun(REPRO_TAG, mine), begun(PROCESS_TAG, "other:1:1")]
    with tracking.stage_run("prepare@coco"):
        pass
    assert [client.get_run(run).info.status for run in runs] == ["FAILED", "FAILED", "RUNNING", "RUNNING"]


def test_a_run_is_shown_by_the_server_or_by_make_ui(
    description: Description, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.stage_run("prepare@coco") as run_id:
        pass
    assert tracking.run_url(run_id) == f"http://127.0.0.1:5000/#/experiments/1/runs/{run_id}"


def dvc(folder: Path, *arguments: str) -> int:
    ours = {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "true"}
    environment = {key: value for key, value in os.environ.items() if key != family.DVC_STAGE} | ours
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, check=False
    ).returncode


def test_dvc_itself_makes_one_family_a_repro(
    description: Description, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "one.py").write_text(STAGE, encoding="utf-8")
    command = f"{sys.executable} one.py"
    (tmp_path / "dvc.yaml").write_text(
        f"stages:\n  a:\n    cmd: {command} a\n    outs: [a]\n"
        f"  b:\n    cmd: time {command} b\n    deps: [a]\n    outs: [b]\n  c:\n    cmd: {command} b\n    deps: [b]\n",
        encoding="utf-8",
    )
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")  # as `dvc init` does
    assert dvc(tmp_path, "repro", "-q", "b") == 0
    assert dvc(tmp_path, "repro", "-q", "c") != 0
    runs = {run.info.run_id: run for run in all_runs(client)}
    family_of = [
        (run.info.run_name, run.info.status, runs[run.data.tags[PARENT_TAG]].data.tags["autochrome.command"])
        for run in runs.values()
        if PARENT_TAG in run.data.tags
    ]
    assert sorted(family_of) == [
        ("a", "FINISHED", "dvc repro -q b"),
        ("b", "FAILED", "dvc repro -q c"),
        ("b", "FINISHED", "dvc repro -q b"),
    ]
    assert sorted(run.info.status for run in runs.values() if REPRO_TAG in run.data.tags) == ["FAILED", "FINISHED"]
    assert len(runs) == 5
