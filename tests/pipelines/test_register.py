import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from models import bundle
from models.task import Task
from pipelines import evaluate, tracking
from pipelines.stage import StageError
from pipelines.versions import Registry
from tests.pipelines import exam

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, tracking_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    exam.prepare("coco", 4)
    exam.frozen(Task.RESTORE)


def examined(seed: int) -> float:
    """Makes and examines the untrained bundle of `seed`; its lift."""
    exam.made_bundle("pix2pix", f"pix2pix-{seed}", seed)
    return float(exam.evaluated("pix2pix")["metrics"]["lift"]["psnr"])


def by_lift(seeds: range) -> list[int]:
    """Seeds, from the worst bundle to the best."""
    return sorted(seeds, key=examined)


def champion() -> int:
    found = Registry("restorer").under("champion")
    assert found is not None
    return found.number


def versions() -> int:
    return len(MlflowClient(tracking.address()).search_model_versions("name = 'restorer'"))


def test_the_first_version_is_champion_and_carries_its_lineage() -> None:
    Path("data.dvc").write_text("outs:\n- md5: 0123abcd.dir\n  path: data\n", encoding="utf-8")
    examined(0)
    report = exam.registered("pix2pix", promote=False)
    assert (report["model"], report["version"], report["aliases"]) == ("restorer", 1, ["challenger", "champion"])
    assert "there was none" in report["verdict"]
    tags = MlflowClient(tracking.address()).get_model_version("restorer", "1").tags
    assert tags["autochrome.recipe"] == "pix2pix"
    assert tags["autochrome.run"] == "pix2pix-0"
    assert tags["autochrome.bundle_sha256"] == bundle.digest(evaluate.BUNDLES / "pix2pix")
    assert json.loads(tags["autochrome.data"]) == {"coco": "abc"}
    assert json.loads(tags["autochrome.metrics"])["psnr"] == report["metrics"]["psnr"]
    assert len(tags["autochrome.params_hash"]) == 64
    assert tags["autochrome.git_commit"]
    assert tags["autochrome.dvc_data"] == "0123abcd.dir"


def test_the_same_bundle_makes_no_second_version() -> None:
    examined(0)
    first = exam.registered("pix2pix")
    second = exam.registered("pix2pix")
    assert versions() == 1
    assert "champion already" in second["verdict"]
    assert {**first, "verdict": ""} == {**second, "verdict": ""}


def test_a_bundle_trained_without_mlflow_gets_a_run() -> None:
    examined(0)
    exam.registered("pix2pix")
    run_id = tracking.find_run("pix2pix-0")
    assert run_id is not None
    run = MlflowClient(tracking.address()).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["autochrome.stage"] == "register"
    assert run.data.params == {"batch": "16", "data": "['coco']"}
    assert "test/psnr" in run.data.metrics


def test_a_run_that_a_killed_registration_left_running_is_completed() -> None:
    examined(0)
    run_id = tracking.start_or_continue("pix2pix-0", {"autochrome.stage": "register"})
    exam.registered("pix2pix")
    run = MlflowClient(tracking.address()).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["batch"] == "16"


def test_the_run_of_the_training_is_used_and_its_status_is_left_alone() -> None:
    examined(0)
    tags = {"autochrome.stage": "train", "autochrome.git_commit": "c0ffee", "autochrome.params_hash": "p"}
    run_id = tracking.start_or_continue("pix2pix-0", tags | {"autochrome.data": "{}", "autochrome.recipe": "pix2pix"})
    client = MlflowClient(tracking.address())
    client.set_terminated(run_id, "FINISHED")
    exam.registered("pix2pix")
    version = client.get_model_version("restorer", "1")
    assert version.run_id == run_id
    assert version.tags["autochrome.git_commit"] == "c0ffee"
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_better_version_is_promoted_and_a_worse_one_is_not() -> None:
    worst, middle, best = by_lift(range(3))
    verdicts = []
    for seed in (middle, worst, best):
        examined(seed)
        verdicts.append(exam.registered("pix2pix"))
    assert [one["version"] for one in verdicts] == [1, 2, 3]
    assert verdicts[1]["aliases"] == ["challenger"]
    assert "is not enough" in verdicts[1]["verdict"]
    assert verdicts[2]["aliases"] == ["challenger", "champion"]
    assert f"{verdicts[2]['metrics']['lift']['psnr']:+.3f} dB" in verdicts[2]["verdict"]
    assert f"{verdicts[0]['metrics']['lift']['psnr']:+.3f} dB" in verdicts[2]["verdict"]


@pytest.mark.parametrize(
    ("promote", "margin", "said"), [(False, 0.0, "promote is false"), (True, 50.0, "margin is 50")]
)
def test_params_hold_a_better_version_back(promote: bool, margin: float, said: str) -> None:
    worst, best = by_lift(range(2))
    examined(worst)
    exam.registered("pix2pix")
    examined(best)
    report = exam.registered("pix2pix", promote, margin)
    assert said in report["verdict"]
    assert champion() == 1


def test_the_champion_is_examined_anew_when_the_frozen_set_changed() -> None:
    worst, best = by_lift(range(2))
    examined(worst)
    old = exam.registered("pix2pix")["metrics"]["lift"]["psnr"]
    exam.frozen(Task.RESTORE, photographs=4, seed=7)
    anew = examined(worst)
    assert f"{anew:+.3f}" != f"{old:+.3f}"
    examined(best)
    verdict = exam.registered("pix2pix")["verdict"]
    assert f"against {anew:+.3f} dB of champion restorer/1" in verdict


@pytest.mark.parametrize("broken", ["gone", "changed"])
def test_a_champion_that_cannot_be_examined_is_not_replaced(broken: str, tmp_path: Path) -> None:
    worst, best = by_lift(range(2))
    examined(worst)
    exam.registered("pix2pix")
    registry = Registry("restorer")
    version = registry.under("champion")
    assert version is not None
    registry.tag(version, "autochrome.metrics", "{}")
    if broken == "changed":
        registry.tag(version, "autochrome.bundle_sha256", "f" * 64)
    else:
        source = MlflowClient(tracking.address()).get_model_version_download_uri("restorer", "1")
        shutil.rmtree(Path(source.removeprefix("file://")))
    examined(best)
    assert "restorer/1 cannot be examined" in exam.registered("pix2pix")["verdict"]
    assert champion() == 1


def test_a_rollback_by_hand_is_not_undone() -> None:
    worst, best = by_lift(range(2))
    for seed in (worst, best):
        examined(seed)
        exam.registered("pix2pix")
    assert champion() == 2
    registry = Registry("restorer")
    first = registry.find(
        MlflowClient(tracking.address()).get_model_version("restorer", "1").tags["autochrome.bundle_sha256"]
    )
    assert first is not None
    registry.point("champion", first)
    assert "brought back by hand only" in exam.registered("pix2pix")["verdict"]
    assert champion() == 1


def test_registering_an_older_bundle_again_leaves_the_challenger() -> None:
    for seed in (0, 1):
        examined(seed)
        exam.registered("pix2pix")
    examined(0)
    assert exam.registered("pix2pix")["version"] == 1
    challenger = Registry("restorer").under("challenger")
    assert challenger is not None
    assert challenger.number == 2


@pytest.mark.parametrize("method", ["create_model_version", "set_registered_model_alias", "set_model_version_tag"])
def test_a_rerun_heals_what_a_killed_one_left(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    examined(0)

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, method, killed)
        with pytest.raises(KeyboardInterrupt):
            exam.registered("pix2pix")
    report = exam.registered("pix2pix")
    assert report["aliases"] == ["challenger", "champion"]
    assert versions() == 1
    client = MlflowClient(tracking.address())
    assert client.get_model_version("restorer", "1").tags["autochrome.promoted"] == "true"
    experiment = client.get_experiment_by_name("autochrome")
    assert experiment is not None
    assert len(client.search_logged_models([experiment.experiment_id])) == 1


@pytest.mark.parametrize("what", ["bundle", "frozen"])
def test_an_evaluation_of_something_else_is_refused(what: str) -> None:
    examined(0)
    if what == "bundle":
        exam.made_bundle("pix2pix", "pix2pix-1", seed=1)
    else:
        exam.frozen(Task.RESTORE, seed=9)
    with pytest.raises(StageError, match=rf"is of another {what} .*run `python -m pipelines\.evaluate pix2pix`"):
        exam.registered("pix2pix")


def test_two_processes_at_once_make_one_version(tmp_path: Path) -> None:
    examined(0)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    command = [sys.executable, "-m", "pipelines.register", "pix2pix"]
    environment = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 1]), said
    assert versions() == 1
    report = json.loads((tmp_path / "build/registered/pix2pix.json").read_text())
    assert report["aliases"] == ["challenger", "champion"]
    assert any(report["verdict"] in out for out, _ in said)
    assert not any("Traceback" in err or "INFO mlflow" in err or "WARNING" in err for _, err in said), said
