import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import bins
from models.color import rgb_to_lab
from models.image import to_tensor
from pipelines.palette import PALETTES, draw, load_palette, measure
from pipelines.photos import data_hashes
from pipelines.stage import StageError
from tests.pipelines import exam
from tests.pipelines.stages import Stages

PARAMS = """
colorful:
  data: [coco]
  batch: 4
  seed: 1
  checkpoint_every: 1
  precision: auto
  epochs: 1
  width: 2
  weights: ''
  weights_sha256: ''
  uniform: 0.5
  temperature: 0.38
  learning_rate: 0.001
  weight_decay: 0.001
  average: 0.0
"""
SETS = [exam.PREPARED / "coco"]
TARGET = PALETTES / "colorful"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exam.prepare("coco", 5, split="train")


def test_the_palette_counts_every_pixel_of_every_photograph() -> None:
    report = measure(SETS, TARGET)
    expected = np.zeros(313)
    for index in range(5):
        ab = rgb_to_lab(to_tensor(exam.photograph(index))[None])[0, 1:].flatten(1).double()
        expected += np.bincount(torch.cdist(ab.T, bins.points().double()).argmin(1).numpy(), minlength=313)
    palette = np.load(TARGET / "palette.npy")
    assert palette.dtype == np.float64
    assert palette.sum() == pytest.approx(1, abs=1e-12)
    # Single colours lie on the border of two bins, where the last digit decides.
    assert np.abs(palette - expected / expected.sum()).sum() < 1e-3
    assert report["photographs"] == 5
    assert report["pixels"] == 5 * 64 * 64
    assert report["empty_bins"] == int((palette == 0).sum())


def test_the_report_on_disk_is_the_one_that_is_returned() -> None:
    report = measure(SETS, TARGET)
    assert json.loads((TARGET / "report.json").read_text()) == report
    assert report["data"] == data_hashes(SETS)
    palette = np.load(TARGET / "palette.npy")
    assert report["entropy"] == pytest.approx(-sum(p * math.log(p) for p in palette if p > 0))
    assert 0 < report["entropy"] < math.log(313)


def test_the_same_photographs_give_the_same_bytes() -> None:
    measure(SETS, Path("a"))
    measure(SETS, Path("b"))
    for name in ("palette.npy", "report.json", "palette.png"):
        assert (Path("a") / name).read_bytes() == (Path("b") / name).read_bytes()


def test_one_photograph_more_changes_the_palette() -> None:
    measure(SETS, Path("a"))
    exam.prepare("coco", 6, split="train")
    measure(SETS, Path("b"))
    assert (np.load("a/palette.npy") != np.load("b/palette.npy")).any()


def test_it_is_loaded_for_its_own_photographs() -> None:
    measure(SETS, TARGET)
    palette = load_palette(TARGET, data_hashes(SETS))
    assert palette.shape == (313,)
    assert float(palette.sum()) == pytest.approx(1)
    bins.rebalancing(palette)


def test_a_palette_of_other_photographs_is_refused() -> None:
    measure(SETS, TARGET)
    with pytest.raises(StageError, match=r"was measured on coco .*; it must be imagenet abc: run `python -m"):
        load_palette(TARGET, {"imagenet": "abc"})


def test_an_absent_or_broken_palette_says_how_to_make_one() -> None:
    again = r"holds no palette .*; run `python -m pipelines\.palette colorful`"
    with pytest.raises(StageError, match=again):
        load_palette(TARGET, {})
    measure(SETS, TARGET)
    for name in ("palette.npy", "report.json"):
        content = (TARGET / name).read_bytes()
        (TARGET / name).write_bytes(content[:5])
        with pytest.raises(StageError, match=again):
            load_palette(TARGET, data_hashes(SETS))
        (TARGET / name).write_bytes(content)


def test_an_empty_train_split_is_an_error() -> None:
    exam.prepare("coco", 3, split="test")
    with pytest.raises(StageError, match="no photograph of the train split"):
        measure(SETS, TARGET)
    assert not TARGET.exists()


def test_the_picture_shows_each_bin_where_it_lies() -> None:
    palette = np.zeros(313)
    bright = int((bins.points() == torch.tensor([50.0, 20.0])).all(1).nonzero())
    dark = int((bins.points() == torch.tensor([-30.0, 70.0])).all(1).nonzero())
    palette[bright], palette[dark] = 0.99, 0.01
    picture = np.asarray(draw(palette)).astype(int)
    right = picture[:, picture.shape[1] // 2 :]
    lit = np.argwhere(right.sum(2) > 500)  # white writing is above row 40
    lit = lit[lit[:, 0] >= 40]
    left = right.shape[1] - 28 - 25 * 24
    assert (lit.min(0) == (40 + (120 - 20) // 10 * 24, left + (120 + 50) // 10 * 24)).all()
    assert (lit.max(0) - lit.min(0) == 22).all()
    assert Image.fromarray(picture.astype(np.uint8)).size == (2 * 600 + 3 * 28, 600 + 40 + 28)


def test_a_palette_of_one_colour_can_be_drawn() -> None:
    draw(np.eye(313)[7])


def test_the_stage_reads_its_sets_from_the_recipes_section(
    stages: Stages, tmp_path: Path, tracking_database: Path
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    (done,) = stages.run("pipelines.palette", "colorful", folder=tmp_path, MLFLOW_TRACKING_URI="")
    assert done.returncode == 0, done.stderr
    assert "palette@colorful: 5 photographs," in done.stdout
    assert sorted(path.name for path in TARGET.iterdir()) == ["palette.npy", "palette.png", "report.json"]
    shutil.rmtree(exam.PREPARED)
    (done,) = stages.run("pipelines.palette", "colorful", folder=tmp_path, MLFLOW_TRACKING_URI="")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("palette@colorful: build/prepared/coco holds no prepared")
