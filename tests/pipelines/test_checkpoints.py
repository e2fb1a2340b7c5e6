import shutil
from pathlib import Path

import pytest
import torch

from pipelines.checkpoints import Checkpoints


def state(step: int) -> dict[str, object]:
    return {"weights": torch.full((3,), float(step)), "position": {"step": step}}


def newest_step(checkpoints: Checkpoints) -> int | None:
    found = checkpoints.newest_valid()
    if found is None:
        return None
    assert torch.equal(found["weights"], torch.full((3,), float(found["position"]["step"])))
    return int(found["position"]["step"])


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (10, 20, 30):
        checkpoints.write(step, state(step))
    return checkpoints


def test_none_in_an_empty_place(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").newest_valid() is None


def test_newest_is_read_and_old_ones_are_dropped(checkpoints: Checkpoints) -> None:
    assert newest_step(checkpoints) == 30
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000020", "step-00000030"]


def truncate(folder: Path) -> None:
    with (folder / "state.pt").open("r+b") as file:
        file.truncate((folder / "state.pt").stat().st_size // 2)


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "state.pt").write_bytes(content)


def lose_meta(folder: Path) -> None:
    (folder / "meta.json").unlink()


def garble_meta(folder: Path) -> None:
    (folder / "meta.json").write_text("[]", encoding="utf-8")


def lose_state(folder: Path) -> None:
    (folder / "state.pt").unlink()


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, lose_meta, garble_meta, lose_state])
def test_damaged_newest_falls_back(
    damage: object, checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(damage)
    damage(checkpoints.folder / "step-00000030")
    assert newest_step(checkpoints) == 20
    assert "step-00000030" in capsys.readouterr().err
    checkpoints.write(30, state(30))
    assert newest_step(checkpoints) == 30


def test_all_damaged_is_none(checkpoints: Checkpoints) -> None:
    for folder in checkpoints.folder.iterdir():
        truncate(folder)
    assert checkpoints.newest_valid() is None


def test_leftovers_are_not_read_and_are_swept(checkpoints: Checkpoints) -> None:
    shutil.copytree(checkpoints.folder / "step-00000030", checkpoints.folder / ".step-00000040-123")
    assert newest_step(checkpoints) == 30
    checkpoints.write(50, state(50))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000030", "step-00000050"]


def test_state_of_a_foreign_type_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(1, {"path": tmp_path})
    with pytest.raises(Exception, match="Weights only"):
        checkpoints.newest_valid()
