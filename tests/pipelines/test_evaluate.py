import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from torch import Tensor, nn

from models import bundle
from models.predictor import Predictor
from models.task import Task
from pipelines import evaluate, tracking
from pipelines.freeze import FROZEN, FrozenSet
from pipelines.stage import StageError
from tests.pipelines import exam

ROOT = Path(__file__).resolve().parents[2]


class Always(nn.Module):
    """Answers one value everywhere, or what it is given where that is None."""

    def __init__(self, value: float | None, channels: int) -> None:
        super().__init__()
        self.value, self.channels = value, channels

    def forward(self, x: Tensor) -> Tensor:
        return x if self.value is None else torch.full((len(x), self.channels, *x.shape[2:]), self.value)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    exam.prepare("coco", 4)


def predictor(task: Task, value: float | None) -> Predictor:
    channels = 3 if task is Task.RESTORE else 2
    return Predictor(bundle.Config("x", task, exam.SIZE, {}, {}, {}, "x"), Always(value, channels))


def test_doing_nothing_lifts_nothing() -> None:
    exam.frozen(Task.RESTORE, photographs=4)
    examined = evaluate.examine(predictor(Task.RESTORE, None), FrozenSet.open(FROZEN / "restore"), batch=3)
    metrics = evaluate.summary(examined)
    assert metrics["photographs"] == 4
    assert metrics["lift"] == {"psnr": 0.0, "ssim": 0.0, "psnr_inside": 0.0}
    assert metrics["psnr"] == metrics["baseline"]["psnr"] < 40


def test_no_colour_is_the_colorizers_baseline() -> None:
    exam.frozen(Task.COLORIZE)
    examined = evaluate.examine(predictor(Task.COLORIZE, 0.0), FrozenSet.open(FROZEN / "colorize"), batch=3)
    metrics = evaluate.summary(examined)
    assert metrics["lift"]["psnr"] == pytest.approx(0, abs=0.05)
    assert metrics["colourfulness"] < 2
    true = np.mean([one.true_colourfulness for one in examined])
    assert metrics["colourfulness_difference"] == pytest.approx(metrics["colourfulness"] - true, abs=1e-5)
    assert "psnr_inside" not in metrics


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.5])
def test_a_broken_network_gets_the_bad_numbers_it_deserves(value: float) -> None:
    exam.frozen(Task.RESTORE)
    examined = evaluate.examine(predictor(Task.RESTORE, value), FrozenSet.open(FROZEN / "restore"), batch=3)
    metrics = evaluate.summary(examined)
    assert np.isfinite([value for _, value in evaluate.flat(metrics)]).all()
    assert metrics["psnr"] < 20


def test_the_tables_mean_is_the_metric() -> None:
    exam.frozen(Task.RESTORE, photographs=4)
    exam.made_bundle("pix2pix", "pix2pix-1")
    metrics = exam.evaluated("pix2pix")["metrics"]
    with (evaluate.EVALUATION / "pix2pix" / "photographs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert len({row["source"] for row in rows}) == 4
    for column in ("psnr", "ssim", "colourfulness"):
        assert np.mean([float(row[column]) for row in rows]) == pytest.approx(metrics[column], abs=1e-5)
    assert np.mean([float(row["lift_psnr"]) for row in rows]) == pytest.approx(metrics["lift"]["psnr"], abs=1e-5)


def test_the_pictures_show_question_answer_and_truth() -> None:
    exam.frozen(Task.COLORIZE)
    exam.made_bundle("colorgan", "colorgan-1")
    exam.evaluated("colorgan")
    sheet = np.asarray(Image.open(evaluate.EVALUATION / "colorgan" / "pictures.png"))
    first = next(iter(FrozenSet.open(FROZEN / "colorize")))
    size, gap = exam.SIZE, 6
    cells = [sheet[22 : 22 + size, gap + k * (size + gap) :][:, :size] for k in range(3)]
    np.testing.assert_array_equal(cells[0], first.input)
    np.testing.assert_array_equal(cells[2], first.clean)
    answer = Predictor.from_bundle(evaluate.BUNDLES / "colorgan").predict([first.input], [None])[0]
    assert np.abs(cells[1].astype(int) - answer).max() <= 1


def test_another_recipes_bundle_is_refused() -> None:
    exam.frozen(Task.RESTORE)
    exam.made_bundle("colorgan", "colorgan-1", folder=evaluate.BUNDLES / "pix2pix")
    with pytest.raises(StageError, match=r"is a bundle of colorgan \(colorize\); it must be of pix2pix"):
        exam.evaluated("pix2pix")


def test_a_bundle_that_is_not_there_is_an_error() -> None:
    exam.frozen(Task.RESTORE)
    with pytest.raises(StageError, match=r"config\.json cannot be read.*run `python -m pipelines\.train pix2pix`"):
        exam.evaluated("pix2pix")


def stage(recipe: str, folder: Path) -> str:
    shutil.copy(ROOT / "params.yaml", folder)
    command = [sys.executable, "-m", "pipelines.evaluate", recipe]
    environment = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_stage_tells_dvc_and_the_trainings_run(tmp_path: Path) -> None:
    exam.frozen(Task.COLORIZE)
    exam.made_bundle("colorgan", "colorgan-1")
    run_id = tracking.start_or_continue("colorgan-1", {"autochrome.recipe": "colorgan"})
    client = MlflowClient(tracking.address())
    client.set_terminated(run_id, "FINISHED")
    assert "PSNR" in stage("colorgan", tmp_path)
    metrics = json.loads((tmp_path / "metrics/colorgan.json").read_text())
    assert metrics == exam.evaluated("colorgan")["metrics"]
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/psnr"] == metrics["psnr"]
    assert run.data.metrics["test/lift/ssim"] == metrics["lift"]["ssim"]
    logged = {Path(file.path).name for file in client.list_artifacts(run_id, "evaluation")}
    assert logged == {"photographs.csv", "pictures.png", "report.json"}


def test_the_stage_makes_no_run_where_there_is_none(tmp_path: Path) -> None:
    exam.frozen(Task.COLORIZE)
    exam.made_bundle("colorgan", "colorgan-1")
    stage("colorgan", tmp_path)
    assert tracking.find_run("colorgan-1") is None
    assert (tmp_path / "metrics/colorgan.json").is_file()
