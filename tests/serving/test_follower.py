from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from models.bundle import WEIGHTS
from models.task import Task
from serving.follower import Follower
from serving.loading import Loader
from serving.registry import Registry, RegistryError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def follower_of(task: Task, registry: Registry, seconds: float) -> Follower:
    return Follower(Loader(task, registry, "eager"), "champion", seconds)


def test_looking_at_a_registry_that_is_not_there_makes_none(tmp_path: Path, cache: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", cache)
    assert registry.find("restorer", "champion") is None
    assert not (tmp_path / "mlflow.db").exists()


def test_a_registry_that_cannot_be_asked_is_an_error(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database")
    with pytest.raises(RegistryError, match="cannot be read: file is not a database"):
        Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", cache).find("restorer", "champion")


def test_a_registry_that_is_being_made_is_left_alone(tmp_path: Path, cache: Path) -> None:
    """Two processes that make MLflow's tables at once break each other."""
    database = tmp_path / "mlflow.db"
    database.touch()
    registry = Registry(f"sqlite:///{database}", cache)
    with pytest.raises(RegistryError, match="it is being made"):
        registry.find("restorer", "champion")
    assert database.stat().st_size == 0
    MlflowClient(tracking_uri=f"sqlite:///{database}", registry_uri=f"sqlite:///{database}")  # made
    assert registry.find("restorer", "champion") is None


def test_follows_the_alias(archive: Any, cache: Path) -> None:
    follower = follower_of(Task.RESTORE, Registry(archive.uri, cache), seconds=0.001)
    follower.look()
    assert follower.state().state == "missing"
    assert follower.current is None

    first = archive.release(Task.RESTORE, 1)
    follower.look()
    assert (follower.state().state, follower.state().version) == ("ready", f"restorer/{first}")
    assert follower.state().recipe == "pix2pix"
    kept = follower.current

    follower.look()
    assert follower.current is kept  # nothing new: nothing loaded again

    corrupt = archive.release_corrupt(Task.RESTORE, 2)
    follower.look()
    assert follower.current is kept
    state = follower.state()
    assert (state.state, state.version) == ("failing", f"restorer/{first}")
    assert state.error is not None
    assert f"restorer/{corrupt}" in state.error
    assert "sha256" in state.error

    third = archive.release(Task.RESTORE, 3)
    follower.look()
    assert follower.state().version == f"restorer/{third}"
    assert follower.state().error is None

    archive.point("restorer", first)  # the rollback
    follower.look()
    assert follower.state().version == f"restorer/{first}"

    archive.point("restorer", corrupt)  # and what failed before still does
    follower.look()
    assert (follower.state().state, follower.state().version) == ("failing", f"restorer/{first}")


def test_a_model_for_the_other_task_is_refused(archive: Any, cache: Path) -> None:
    archive.point("colorizer", archive.add("colorizer", archive.bundle(Task.RESTORE, 5)))
    follower = follower_of(Task.COLORIZE, Registry(archive.uri, cache), seconds=1)
    follower.look()
    assert follower.current is None
    assert "its bundle does restore; it must colorize" in (follower.state().error or "")


def test_a_failing_version_is_not_fetched_at_every_look(archive: Any, cache: Path) -> None:
    archive.release_corrupt(Task.RESTORE, 6)
    fetched = []

    class Counting(Registry):
        def fetch(self, version: Any) -> Path:
            fetched.append(version)
            return super().fetch(version)

    follower = follower_of(Task.RESTORE, Counting(archive.uri, cache), seconds=60)
    for _ in range(3):
        follower.look()
    assert len(fetched) == 1
    assert follower.state().state == "failing"


def test_a_damaged_cache_is_fetched_again(archive: Any, cache: Path) -> None:
    archive.release(Task.RESTORE, 7)
    registry = Registry(archive.uri, cache)
    version = registry.find("restorer", "champion")
    assert version is not None
    assert registry.version("restorer", version.number) == version
    assert registry.version("restorer", "999") is None
    folder = registry.fetch(version)
    good = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert (registry.fetch(version) / WEIGHTS).read_bytes() == good
    (folder / WEIGHTS).unlink()
    assert (registry.fetch(version) / WEIGHTS).read_bytes() == good
    assert [path.name for path in cache.iterdir()] == [version.sha256]  # nothing half-fetched stays


def test_a_version_without_its_sha256_is_refused(archive: Any, cache: Path) -> None:
    folder = archive.bundle(Task.RESTORE, 8)
    archive.point("restorer", archive.add("restorer", folder, sha256=" "))
    registry = Registry(archive.uri, cache)
    version = registry.find("restorer", "champion")
    assert version is not None
    with pytest.raises(RegistryError, match="sha256"):
        registry.fetch(version)
