import shutil
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from models.bundle import digest
from pipelines import tracking
from pipelines.freeze import encode
from pipelines.versions import BUNDLE_TAG, Registry, Version, complete_run, run_tags
from tests.pipelines import exam


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, tracking_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def added(seed: int = 0) -> Version:
    bundle = exam.made_bundle("pix2pix", "pix2pix-1", seed)
    run_id = tracking.start_or_continue("pix2pix-1", {})
    return Registry("restorer").add(bundle, run_id, {BUNDLE_TAG: digest(bundle)}, {"photo": encode(exam.photograph(0))})


def test_a_model_that_nobody_registered_has_no_version() -> None:
    assert Registry("restorer").under("champion") is None
    assert Registry("restorer").find("f" * 64) is None


def test_an_alias_that_nobody_set_is_none() -> None:
    added()
    assert Registry("restorer").under("champion") is None


def test_versions_are_found_by_bundle_and_by_alias() -> None:
    first, second = added(0), added(1)
    registry = Registry("restorer")
    assert registry.find(first.tags[BUNDLE_TAG]) == first
    assert registry.find(second.tags[BUNDLE_TAG]) == second
    assert (first.number, second.number) == (1, 2)
    registry.point("champion", second)
    registry.point("challenger", second)
    assert registry.under("champion") == second
    assert (registry.aliases(first), registry.aliases(second)) == ([], ["challenger", "champion"])


def test_the_bundle_comes_back_byte_for_byte(tmp_path: Path) -> None:
    version = added()
    fetched = Registry("restorer").download(version, tmp_path / "fetched")
    assert fetched.relative_to(tmp_path / "fetched").parts[-2:] == ("artifacts", "bundle")
    assert digest(fetched) == version.tags[BUNDLE_TAG]


def test_every_version_is_listed_in_order_with_its_run() -> None:
    assert Registry("restorer").every() == []
    made = [added(seed) for seed in range(11)]
    listed = Registry("restorer").every()
    assert listed == made
    assert [version.number for version in listed] == list(range(1, 12))
    assert {version.run_id for version in listed} == {tracking.find_run("pix2pix-1")}
    assert abs(listed[0].created - time.time()) < 120


@pytest.mark.parametrize("length", [10, 5000, 5001, 9000])
def test_a_description_fits_mlflows_column(length: int) -> None:
    version = added()
    text = ("0123456 \n" * 1000)[:length]
    Registry("restorer").describe(version, text)
    said = MlflowClient(tracking.address()).get_model_version("restorer", "1").description
    assert said is not None
    assert len(said) <= 5000
    assert (said == text) == (length <= 5000)
    assert said.startswith("0123456 \n" if length > 10 else text)
    assert ("cut here" in said) == (length > 5000)


def test_a_version_that_does_not_exist_cannot_be_fetched(tmp_path: Path) -> None:
    added()
    with pytest.raises(OSError, match="models:/restorer/7 cannot be fetched"):
        Registry("restorer").download(Version(7, {}, "", 0.0), tmp_path)


def test_a_model_that_a_killed_process_left_half_logged_is_not_taken_up() -> None:
    client = MlflowClient(tracking.address())
    bundle = exam.made_bundle("pix2pix", "pix2pix-1")
    experiment = client.get_run(tracking.start_or_continue("pix2pix-1", {})).info.experiment_id
    half = client.create_logged_model(experiment, "restorer", tags={BUNDLE_TAG: digest(bundle)})
    assert half.status == LoggedModelStatus.PENDING
    added()
    assert client.get_model_version("restorer", "1").source != f"models:/{half.model_id}"


def test_a_run_is_completed_once_or_twice() -> None:
    run_id = tracking.start_or_continue("pix2pix-1", {"autochrome.recipe": "pix2pix"})
    complete_run(run_id, {f"number{index}": index for index in range(150)})
    complete_run(run_id, {"number7": 7})
    run = MlflowClient(tracking.address()).get_run(run_id)
    assert len(run.data.params) == 150
    assert run.info.status == "FINISHED"
    assert run_tags(run_id) == {"autochrome.recipe": "pix2pix", "autochrome.run": "pix2pix-1"}
