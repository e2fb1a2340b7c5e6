import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from models import bundle
from models.catalogue import CATALOGUE
from models.task import Task
from pipelines import evaluate, tracking
from pipelines.baselines import BASELINES
from pipelines.freeze import FrozenSet, folder
from pipelines.stage import StageError
from pipelines.versions import Registry
from tests.pipelines import exam
from tests.pipelines.stages import Stages


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, tracking_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setitem(CATALOGUE, "gain", exam.GAIN)
    exam.darkened()


# Answers to photographs that lost half of their light.
WORSE, NOTHING, GOOD, BETTER, BEST = 9.0, 1.0, 1.4, 1.7, 2.0


# What examining left: frozen set, recipe and gain -> every file's content.
KEPT: dict[tuple[str, str, float], dict[Path, bytes]] = {}


def examine(gain: float, recipe: str = "gain") -> None:
    """Makes and examines the bundle that multiplies by `gain`; the same one on the same photographs only once."""
    exam.gain_bundle(gain, recipe)
    key = (FrozenSet.open(folder(Task.RESTORE)).sha256, recipe, gain)
    if key not in KEPT:
        exam.evaluated(recipe)
        made = (evaluate.EVALUATION / recipe, BASELINES / Task.RESTORE)
        KEPT[key] = {path: path.read_bytes() for of in made for path in of.rglob("*") if path.is_file()}
    for path, content in KEPT[key].items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def champion() -> int:
    found = Registry("restorer").under("champion")
    assert found is not None
    return found.number


def versions() -> int:
    return len(MlflowClient(tracking.address()).search_model_versions("name = 'restorer'"))


def test_the_first_version_is_champion_and_carries_its_lineage() -> None:
    Path("data.dvc").write_text("outs:\n- md5: 0123abcd.dir\n  path: data\n", encoding="utf-8")
    examine(GOOD)
    report = exam.registered("gain", promote=False)
    assert (report["model"], report["version"], report["aliases"]) == ("restorer", 1, ["challenger", "champion"])
    assert "there was none" in report["verdict"]
    tags = MlflowClient(tracking.address()).get_model_version("restorer", "1").tags
    assert tags["autochrome.recipe"] == "gain"
    assert tags["autochrome.run"] == "gain-1.4"
    assert tags["autochrome.bundle_sha256"] == bundle.digest(evaluate.BUNDLES / "gain")
    assert json.loads(tags["autochrome.data"]) == {"coco": "abc"}
    assert json.loads(tags["autochrome.metrics"])["psnr"] == report["metrics"]["psnr"]
    assert len(tags["autochrome.params_hash"]) == 64
    assert tags["autochrome.git_commit"]
    assert tags["autochrome.dvc_data"] == "0123abcd.dir"


def test_the_same_bundle_makes_no_second_version() -> None:
    examine(GOOD)
    first = exam.registered("gain")
    second = exam.registered("gain")
    assert versions() == 1
    assert "champion already" in second["verdict"]
    assert {**first, "verdict": ""} == {**second, "verdict": ""}


def test_a_bundle_trained_without_mlflow_gets_a_run() -> None:
    examine(GOOD)
    exam.registered("gain")
    run_id = tracking.find_run("gain-1.4")
    assert run_id is not None
    run = MlflowClient(tracking.address()).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["autochrome.stage"] == "register"
    assert run.data.params == {"gain": "1.4"}
    assert "test/psnr" in run.data.metrics


def test_a_run_that_a_killed_registration_left_running_is_completed() -> None:
    examine(GOOD)
    run_id = tracking.start_or_continue("gain-1.4", {"autochrome.stage": "register"})
    exam.registered("gain")
    run = MlflowClient(tracking.address()).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["gain"] == "1.4"


def test_the_run_of_the_training_is_used_and_its_status_is_left_alone() -> None:
    examine(GOOD)
    tags = {"autochrome.stage": "train", "autochrome.git_commit": "c0ffee", "autochrome.params_hash": "p"}
    run_id = tracking.start_or_continue("gain-1.4", tags | {"autochrome.data": "{}", "autochrome.recipe": "gain"})
    client = MlflowClient(tracking.address())
    client.set_terminated(run_id, "FINISHED")
    exam.registered("gain")
    version = client.get_model_version("restorer", "1")
    assert version.run_id == run_id
    assert version.tags["autochrome.git_commit"] == "c0ffee"
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_better_version_is_promoted_and_a_worse_one_is_not() -> None:
    reports = []
    for gain in (BETTER, GOOD, BEST):
        examine(gain)
        reports.append(exam.registered("gain", unproven=False))
    assert [one["version"] for one in reports] == [1, 2, 3]
    assert reports[1]["aliases"] == ["challenger"]
    assert "not better than champion restorer/1 (+" in reports[1]["verdict"]
    assert reports[2]["aliases"] == ["challenger", "champion"]
    assert "better than champion restorer/1 (-" in reports[2]["verdict"]
    last = reports[2]["gate"]["against"]
    assert [(one["name"], one["kind"]) for one in last] == [
        ("damaged", "nothing"),
        ("telea", "classical"),
        ("navier_stokes", "classical"),
        ("champion restorer/1", "champion"),
    ]
    assert last[3]["distance"] == pytest.approx(reports[0]["gate"]["distance"], abs=1e-6)
    lift = reports[2]["metrics"]["lift"][reports[2]["gate"]["judged_by"]["distance"]]
    assert last[0]["difference"] == pytest.approx(lift, abs=1e-5)
    assert last[0]["low"] <= last[0]["difference"] <= last[0]["high"] < 0


def test_the_verdict_stands_on_the_version_and_among_its_runs_files(tmp_path: Path) -> None:
    examine(GOOD)
    report = exam.registered("gain")
    client = MlflowClient(tracking.address())
    version = client.get_model_version("restorer", "1")
    assert len(version.tags["autochrome.gate"]) < 4000
    assert len(version.tags["autochrome.metrics"]) < 4800
    gate = json.loads(version.tags["autochrome.gate"])
    assert gate == report["gate"]
    assert (gate["verdict"], gate["champion"], gate["passed"]) == (report["verdict"], True, True)
    assert gate["frozen_sha256"] == json.loads(version.tags["autochrome.metrics"])["frozen_sha256"]
    fetched = client.download_artifacts(str(version.run_id), "evaluation/gate.json", str(tmp_path))
    assert json.loads(Path(fetched).read_text()) == gate
    assert "restorer/1 is champion" in str(version.description)


def test_a_first_version_that_is_no_better_than_nothing_is_champion_only_if_it_may() -> None:
    examine(WORSE)
    report = exam.registered("gain", unproven=False)
    assert report["aliases"] == ["challenger"]
    assert "not better than damaged" in report["verdict"]
    assert "there is no champion" in report["verdict"]
    assert Registry("restorer").under("champion") is None
    report = exam.registered("gain", unproven=True)
    assert "is champion unproven" in report["verdict"]
    assert (report["gate"]["champion"], report["gate"]["passed"]) == (True, False)
    assert champion() == 1


def test_better_than_the_champion_is_not_enough() -> None:
    exam.darkened(left=0.8)
    examine(WORSE)
    exam.registered("gain")
    examine(NOTHING)
    report = exam.registered("gain")
    assert "not better than damaged" in report["verdict"]
    assert ", better than champion restorer/1" in report["verdict"]
    assert champion() == 1


def test_what_learns_nothing_need_not_beat_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "plain", dataclasses.replace(exam.GAIN, learns=False))
    examine(GOOD, "plain")
    report = exam.registered("plain", unproven=False)
    assert [one["name"] for one in report["gate"]["against"]] == ["damaged"]
    assert report["aliases"] == ["challenger", "champion"]


def test_promote_holds_a_better_version_back() -> None:
    examine(GOOD)
    exam.registered("gain")
    examine(BEST)
    assert "register.promote is false, though it is better" in exam.registered("gain", promote=False)["verdict"]
    assert champion() == 1


def test_the_champion_is_examined_anew_when_the_frozen_set_changed() -> None:
    examine(GOOD)
    old = exam.registered("gain")["gate"]["distance"]
    exam.darkened(left=0.45)
    exam.gain_bundle(GOOD)
    lpips = exam.evaluated("gain")["metrics"]["lpips_mobilenet_v2_random"]
    assert lpips != pytest.approx(old, abs=1e-4)
    examine(BEST)
    report = exam.registered("gain")
    assert report["gate"]["against"][3]["distance"] == pytest.approx(lpips, abs=1e-5)
    assert champion() == 2


def test_a_champion_that_was_examined_here_is_not_examined_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "other", exam.GAIN)
    examine(GOOD, "other")
    exam.registered("other")
    examine(BEST)

    def fetched(*args: object) -> None:
        pytest.fail("the champion's bundle was fetched")

    monkeypatch.setattr(Registry, "download", fetched)
    assert "better than champion restorer/1" in exam.registered("gain")["verdict"]


def test_the_champions_verdict_keeps_the_rival_that_it_beat() -> None:
    for gain in (GOOD, BEST):
        examine(gain)
        made = exam.registered("gain")["gate"]
    again = exam.registered("gain")
    assert "champion already" in again["verdict"]
    assert again["gate"] == made


@pytest.mark.parametrize("broken", ["gone", "changed"])
def test_a_champion_that_cannot_be_examined_is_not_replaced(broken: str, tmp_path: Path) -> None:
    examine(GOOD)
    exam.registered("gain")
    registry = Registry("restorer")
    version = registry.under("champion")
    assert version is not None
    if broken == "changed":
        registry.tag(version, "autochrome.bundle_sha256", "f" * 64)
    else:
        source = MlflowClient(tracking.address()).get_model_version_download_uri("restorer", "1")
        shutil.rmtree(Path(source.removeprefix("file://")))
    examine(BEST)
    assert "restorer/1 cannot be examined" in exam.registered("gain")["verdict"]
    assert champion() == 1


def test_a_rollback_by_hand_is_not_undone() -> None:
    for gain in (GOOD, BEST):
        examine(gain)
        exam.registered("gain")
    assert champion() == 2
    registry = Registry("restorer")
    first = registry.find(
        MlflowClient(tracking.address()).get_model_version("restorer", "1").tags["autochrome.bundle_sha256"]
    )
    assert first is not None
    registry.point("champion", first)
    assert "brought back by hand only" in exam.registered("gain")["verdict"]
    assert champion() == 1


def test_registering_an_older_bundle_again_leaves_the_challenger() -> None:
    for gain in (GOOD, BEST):
        examine(gain)
        exam.registered("gain")
    examine(GOOD)
    assert exam.registered("gain")["version"] == 1
    challenger = Registry("restorer").under("challenger")
    assert challenger is not None
    assert challenger.number == 2


@pytest.mark.parametrize("method", ["create_model_version", "set_registered_model_alias", "set_model_version_tag"])
def test_a_rerun_heals_what_a_killed_one_left(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    examine(GOOD)

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, method, killed)
        with pytest.raises(KeyboardInterrupt):
            exam.registered("gain")
    report = exam.registered("gain")
    assert report["aliases"] == ["challenger", "champion"]
    assert versions() == 1
    client = MlflowClient(tracking.address())
    assert client.get_model_version("restorer", "1").tags["autochrome.promoted"] == "true"
    experiment = client.get_experiment_by_name("autochrome")
    assert experiment is not None
    assert len(client.search_logged_models([experiment.experiment_id])) == 1


@pytest.mark.parametrize("what", ["bundle", "frozen"])
def test_an_evaluation_of_something_else_is_refused(what: str) -> None:
    examine(GOOD)
    if what == "bundle":
        exam.gain_bundle(BEST)
    else:
        exam.darkened(left=0.45)
    with pytest.raises(StageError, match=rf"is of another {what}.*run `python -m pipelines\.evaluate gain`"):
        exam.registered("gain")


def test_two_processes_at_once_make_one_version(stages: Stages, examined: exam.Examined, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "build")
    shutil.copytree(examined.folder / "build", tmp_path / "build")
    exam.params_file(tmp_path)
    both = stages.run("pipelines.register", "pix2pix", folder=tmp_path, times=2)
    said = [(done.stdout, done.stderr) for done in both]
    codes = sorted(done.returncode for done in both)
    assert codes in ([0, 0], [0, 1]), said
    assert versions() == 1
    report = json.loads((tmp_path / "build/registered/restore/pix2pix.json").read_text())
    assert report["aliases"] == ["challenger", "champion"]
    gate = json.loads((tmp_path / "build/gates/pix2pix.json").read_text())
    assert gate["champion"]
    assert any(report["verdict"] in out for out, _ in said)
    assert not any("Traceback" in err or "INFO mlflow" in err or "WARNING" in err for _, err in said), said
