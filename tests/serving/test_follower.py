from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.bundle import WEIGHTS
from models.task import Task
from serving.follower import Follower
from serving.loading import Loaded, Loader
from serving.registry import Registry, RegistryError, Version
from tests.serving.conftest import tables


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def follower_of(task: Task, registry: Registry, seconds: float) -> Follower:
    return Follower(Loader(task, registry, "eager"), "champion", seconds)


def test_looking_at_a_registry_that_is_not_there_makes_none(tmp_path: Path, cache: Path) -> None:
    database = tmp_path / "mlflow.db"
    follower = follower_of(Task.RESTORE, Registry(f"sqlite:///{database}", cache), seconds=1)
    follower.look()
    state = follower.state()
    assert state.state == "missing"
    assert state.error == f"no version of restorer has the alias champion: sqlite:///{database} does not exist"
    assert not database.exists()


def test_a_registry_that_cannot_be_asked_is_an_error(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database")
    with pytest.raises(RegistryError, match="cannot be read: file is not a database"):
        Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", cache).find("restorer", "champion")


def test_a_server_that_does_not_answer_is_an_error_soon(cache: Path) -> None:
    with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:9 cannot be asked for restorer@champion"):
        Registry("http://127.0.0.1:9", cache).find("restorer", "champion")


def test_a_registry_that_is_being_made_is_left_alone(tmp_path: Path, cache: Path) -> None:
    """Two processes that make MLflow's tables at once break each other."""
    database = tmp_path / "mlflow.db"
    database.touch()
    registry = Registry(f"sqlite:///{database}", cache)
    with pytest.raises(RegistryError, match="it is being made"):
        registry.find("restorer", "champion")
    assert database.stat().st_size == 0
    database.write_bytes(tables())
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


def test_a_registry_that_is_gone_is_no_alias_that_is_missing(archive: Any, cache: Path, tmp_path: Path) -> None:
    version = archive.release(Task.RESTORE, 10)
    follower = follower_of(Task.RESTORE, Registry(archive.uri, cache), seconds=1)
    follower.look()
    archive.database.rename(tmp_path / "away")
    try:
        follower.look()
        state = follower.state()
        assert (state.state, state.version) == ("failing", f"restorer/{version}")
        assert f"{archive.database} does not exist" in (state.error or "")
        assert not archive.database.exists()
    finally:
        (tmp_path / "away").rename(archive.database)
    follower.look()
    assert (follower.state().state, follower.state().error) == ("ready", None)


def test_the_first_model_answers_before_the_fastest_way_is_found(archive: Any, cache: Path) -> None:
    class Impatient(Loader):
        """Finds the fastest way without the minutes that it takes."""

        def load(self, version: Version) -> Loaded:
            return replace(self.load_quickly(version), engine="compile", settled=True)

    version = archive.release(Task.RESTORE, 9)
    follower = Follower(Impatient(Task.RESTORE, Registry(archive.uri, cache), "auto"), "champion", seconds=1)
    follower.look()
    early = follower.current
    assert early is not None
    assert (str(early.version), early.settled) == (f"restorer/{version}", False)
    assert early.engine != "compile"
    follower.look()
    assert follower.current is not early
    assert follower.state().engine == "compile"
    settled = follower.current
    follower.look()
    assert follower.current is settled


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


def test_what_a_faster_replica_has_fetched_and_loads_from_is_left_alone(archive: Any, cache: Path) -> None:
    archive.release(Task.RESTORE, 12)
    fetched: list[int] = []

    class Slower(Registry):
        def _download(self, version: Version, folder: str) -> Path:
            fetched.append(Registry(archive.uri, cache).fetch(version).stat().st_ino)
            return super()._download(version, folder)

    slower = Slower(archive.uri, cache)
    version = slower.find("restorer", "champion")
    assert version is not None
    assert [slower.fetch(version).stat().st_ino] == fetched


def test_a_version_without_its_sha256_is_refused(archive: Any, cache: Path) -> None:
    folder = archive.bundle(Task.RESTORE, 8)
    archive.point("restorer", archive.add("restorer", folder, sha256=" "))
    registry = Registry(archive.uri, cache)
    version = registry.find("restorer", "champion")
    assert version is not None
    with pytest.raises(RegistryError, match="sha256"):
        registry.fetch(version)
