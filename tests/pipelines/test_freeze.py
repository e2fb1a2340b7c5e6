import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.task import Task
from pipelines.freeze import FROZEN, FrozenSet, encode, folder, freeze
from pipelines.packing import Row, Shards, write_manifest
from pipelines.params import Freeze
from pipelines.stage import StageError
from tests.pipelines import exam
from tests.pipelines.stages import Stages

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exam.prepare("coco", 6)


def lightness(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(photo / np.float32(255), cv2.COLOR_RGB2LAB)[:, :, 0], np.float32)


@pytest.mark.parametrize("task", [Task.RESTORE, Task.COLORIZE])
def test_the_same_input_gives_the_same_bytes(task: Task, tmp_path: Path) -> None:
    reports = [exam.frozen(task, folder=tmp_path / name) for name in ("a", "b")]
    assert reports[0] == reports[1]
    for name in ("pairs.arrow", "report.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_truth_is_kept_without_loss() -> None:
    exam.frozen(Task.COLORIZE, photographs=6)
    for pair in FrozenSet.open(FROZEN / "colorize"):
        index = int(Path(pair.source).stem)
        np.testing.assert_array_equal(pair.clean, exam.photograph(index))


def test_restoring_is_asked_with_damage_and_its_mask() -> None:
    exam.frozen(Task.RESTORE, photographs=6)
    pairs = list(FrozenSet.open(FROZEN / "restore"))
    assert all((pair.input != pair.clean).any() for pair in pairs)
    assert any(pair.mask.any() for pair in pairs)
    assert all(pair.mask.shape == pair.clean.shape[:2] and pair.mask.dtype == np.bool_ for pair in pairs)


def test_colorizing_is_asked_with_the_lightness_alone() -> None:
    exam.frozen(Task.COLORIZE)
    for pair in FrozenSet.open(FROZEN / "colorize"):
        assert (pair.input == pair.input[:, :, :1]).all()
        assert not pair.mask.any()
        np.testing.assert_allclose(lightness(pair.input), lightness(pair.clean), atol=0.7)  # half a grey level


def test_a_seed_chooses_and_another_chooses_others() -> None:
    chosen = set()
    for seed in range(4):
        exam.frozen(Task.COLORIZE, photographs=2, seed=seed)
        chosen.add(tuple(pair.source for pair in FrozenSet.open(FROZEN / "colorize")))
    assert len(chosen) > 1
    assert all(len(set(sources)) == 2 for sources in chosen)


def test_photographs_that_come_later_do_not_change_the_damage_of_the_others() -> None:
    exam.frozen(Task.RESTORE, photographs=6)
    before = {pair.source: pair.input for pair in FrozenSet.open(FROZEN / "restore")}
    exam.prepare("coco", 9)
    exam.frozen(Task.RESTORE, photographs=9)
    after = {pair.source: pair.input for pair in FrozenSet.open(FROZEN / "restore")}
    assert len(after) == 9
    for source, photo in before.items():
        np.testing.assert_array_equal(after[source], photo)


def test_a_photograph_that_is_twice_in_the_sets_is_asked_once() -> None:
    table = exam.PREPARED / "coco" / "shard-00000.arrow"
    shutil.copy(table, table.with_name("shard-00001.arrow"))
    assert exam.frozen(Task.COLORIZE, photographs=12)["photographs"] == 6


def test_an_empty_test_split_is_an_error() -> None:
    exam.prepare("coco", 3, split="train")
    with pytest.raises(StageError, match="no photograph of the test split"):
        exam.frozen(Task.RESTORE)


def test_a_set_that_is_not_frozen_is_an_error() -> None:
    with pytest.raises(StageError, match=r"python -m pipelines\.freeze restore"):
        FrozenSet.open(FROZEN / "restore")


def test_the_stage_says_when_the_test_split_has_fewer(stages: Stages, tmp_path: Path, tracking_database: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    (done,) = stages.run("pipelines.freeze", "colorize", folder=tmp_path, MLFLOW_TRACKING_URI="")
    assert done.returncode == 0, done.stderr
    assert "6 photographs of 64 px, all that the test split has; freeze.colorize.photographs asks for" in done.stdout
    report = json.loads((tmp_path / "build/frozen/colorize/report.json").read_text())
    assert report["photographs"] == 6
    assert list(report["data"]) == ["coco"]
    assert report["sha256"] == FrozenSet.open(FROZEN / "colorize").sha256


def test_translating_is_asked_with_the_pair_and_detecting_with_what_restoring_is(tmp_path: Path) -> None:
    shards, rows = Shards(tmp_path / "build/prepared/pairs", 4), []
    (tmp_path / "build/prepared/pairs").mkdir()
    for seed in range(5):
        row = Row(f"pairs/B/{seed}.png", f"{seed:064x}", "test", [], 64, 64, True, "")
        shards.add(row, encode(exam.photograph(seed)), encode(exam.photograph(100 + seed)))
        rows.append(row)
    shards.close()
    write_manifest(rows, tmp_path / "build/prepared/pairs/manifest.parquet")
    freeze(Task.TRANSLATE, Freeze(["pairs"], 5, 1), None, tmp_path / "build/prepared", folder(Task.TRANSLATE))
    pairs = list(FrozenSet.open(folder(Task.TRANSLATE)))
    assert len(pairs) == 5
    for pair in pairs:
        seed = int(Path(pair.source).stem)
        np.testing.assert_array_equal(pair.clean, exam.photograph(seed))
        np.testing.assert_array_equal(pair.input, exam.photograph(100 + seed))
    assert folder(Task.DETECT) == folder(Task.RESTORE) == Path("build/frozen/restore")


@pytest.mark.parametrize(("task", "wrong"), [(Task.TRANSLATE, "must be pairs"), (Task.COLORIZE, "must be no pairs")])
def test_pairs_are_for_translating_alone(task: Task, wrong: str, tmp_path: Path) -> None:
    shards = Shards(tmp_path / "build/prepared/pairs", 4)
    (tmp_path / "build/prepared/pairs").mkdir()
    row = Row("pairs/B/1.png", f"{1:064x}", "test", [], 64, 64, True, "")
    shards.add(row, encode(exam.photograph(1)), encode(exam.photograph(2)))
    shards.close()
    name = "coco" if task is Task.TRANSLATE else "pairs"
    with pytest.raises(StageError, match=wrong):
        freeze(task, Freeze([name], 5, 1), None, tmp_path / "build/prepared", tmp_path / "frozen")


def test_a_photograph_keeps_its_classes() -> None:
    exam.frozen(Task.COLORIZE, photographs=2)
    assert [pair.labels for pair in FrozenSet.open(FROZEN / "colorize")] == [["sea"], ["sea"]]
