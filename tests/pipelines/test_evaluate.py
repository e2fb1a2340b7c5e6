import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from torch import Tensor, nn

from models import bundle
from models.catalogue import CATALOGUE
from models.predictor import Predictor
from models.task import Task
from pipelines import evaluate, tracking
from pipelines.baselines import BASELINES, Baselines
from pipelines.examination import examine, open_eyes, overlap, protocol
from pipelines.freeze import FROZEN, FrozenSet, folder
from pipelines.params import Evaluate
from pipelines.stage import StageError
from tests.pipelines import exam
from tests.pipelines.exam import Examined
from tests.pipelines.stages import Stages

EYE = "mobilenet_v2_random"


class Always(nn.Module):
    """Answers one value everywhere, or what it is given where that is None."""

    def __init__(self, value: float | None, channels: int) -> None:
        super().__init__()
        self.value, self.channels = value, channels

    def forward(self, x: Tensor) -> Tensor:
        return x if self.value is None else torch.full((len(x), self.channels, *x.shape[2:]), self.value)


@pytest.fixture
def reports(examined: Examined) -> dict[str, Any]:
    """Of the examined bundles, by recipe."""
    return examined.reports


@pytest.fixture(autouse=True)
def workplace(
    tmp_path: Path,
    tracking_database: Path,
    examined: Examined,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    shutil.copytree(examined.folder / "build", tmp_path / "build")


def summarized(task: Task, value: float | None) -> dict[str, Any]:
    """What a network that answers `value` everywhere gets."""
    recipe, channels = ("pix2pix", 3) if task is Task.RESTORE else ("colorgan", 2)
    predictor = Predictor(bundle.Config(recipe, task, exam.SIZE, {}, {}, {}, "x"), Always(value, channels))
    params = Evaluate(**exam.evaluate_section())
    frozen = FrozenSet.open(folder(task))
    answers = evaluate.answer(predictor, list(frozen), batch=3)
    examination = examine(task, list(frozen), {evaluate.MINE: answers}, open_eyes(params), 3)
    kept = Baselines.open(task, BASELINES / task, frozen.sha256, protocol(params))
    return evaluate.summary(examination, kept.rows[kept.nothing])


def test_doing_nothing_lifts_nothing() -> None:
    metrics = summarized(Task.RESTORE, None)
    assert metrics["photographs"] == 4
    lift = metrics["lift"]
    assert {"psnr", "psnr_inside", f"lpips_{EYE}", f"frechet_{EYE}", f"f1_{EYE}"} < set(lift)
    assert list(lift.values()) == pytest.approx([0.0] * len(lift), abs=1e-4)
    assert metrics["psnr"] == pytest.approx(metrics["baseline"]["psnr"])
    assert metrics["psnr"] < 40


def test_no_colour_is_the_colorizers_baseline() -> None:
    metrics = summarized(Task.COLORIZE, 0.0)
    assert metrics["lift"]["psnr"] == pytest.approx(0, abs=0.05)
    assert metrics["colourfulness"] < 2
    grey = metrics["colourfulness"] - metrics["truth"]["colourfulness"]
    assert metrics["colourfulness_difference"] == pytest.approx(grey, abs=1e-5)
    assert "psnr_inside" not in metrics
    assert not any(name.startswith("colourfulness") for name in metrics["lift"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.5])
def test_a_broken_network_gets_the_bad_numbers_it_deserves(value: float) -> None:
    metrics = summarized(Task.RESTORE, value)
    assert np.isfinite([value for _, value in evaluate.flat(metrics)]).all()
    assert metrics["psnr"] < 20
    assert metrics["lift"][f"lpips_{EYE}"] > 0


def test_the_tables_mean_is_the_metric(reports: dict[str, Any]) -> None:
    metrics = reports["pix2pix"]["metrics"]
    with (evaluate.EVALUATION / "pix2pix" / "photographs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert len({row["source"] for row in rows}) == 4
    for column in ("psnr", "ssim", "colourfulness", f"lpips_{EYE}"):
        assert np.mean([float(row[column]) for row in rows]) == pytest.approx(metrics[column], abs=1e-5)
    for column in ("psnr", f"lpips_{EYE}"):
        assert np.mean([float(row[f"lift_{column}"]) for row in rows]) == pytest.approx(
            metrics["lift"][column], abs=1e-5
        )
        baseline = [float(row[f"baseline_{column}"]) for row in rows]
        assert np.mean(baseline) == pytest.approx(metrics["baseline"][column], abs=1e-5)


def test_the_report_says_what_it_is_of_and_fits_into_a_tag(reports: dict[str, Any]) -> None:
    report = reports["pix2pix"]
    assert report == json.loads((evaluate.EVALUATION / "pix2pix" / "report.json").read_text())
    assert (report["recipe"], report["task"], report["run"]) == ("pix2pix", "restore", "pix2pix-1")
    assert report["bundle_sha256"] == bundle.digest(evaluate.BUNDLES / "pix2pix")
    assert report["frozen_sha256"] == FrozenSet.open(folder(Task.RESTORE)).sha256
    assert report["judged_by"] == {"distance": f"lpips_{EYE}", "frechet": f"frechet_{EYE}"}
    one_eye = len(json.dumps(report["metrics"]))
    its = len(json.dumps({key: value for key, value in report["metrics"].items() if EYE in key}))
    assert one_eye + 2 * 3 * (its + 200) < 4800  # of answers, baseline and lift, by two more networks


def test_baselines_of_another_frozen_set_are_refused() -> None:
    exam.frozen(Task.RESTORE, photographs=4, seed=9)
    params, target = Evaluate(**exam.evaluate_section()), evaluate.EVALUATION / "pix2pix"
    with pytest.raises(StageError, match=r"another frozen set .*run `python -m pipelines\.baselines restore`"):
        evaluate.evaluate(
            "pix2pix", params, evaluate.BUNDLES / "pix2pix", folder(Task.RESTORE), BASELINES / "restore", target
        )


def test_the_grid_shows_the_same_photographs_whoever_answers() -> None:
    columns = []
    for seed in (0, 1):
        if seed:
            exam.made_bundle("pix2pix", "pix2pix-2", seed)
            exam.evaluated("pix2pix")
        columns.append(np.asarray(Image.open(evaluate.EVALUATION / "pix2pix" / "pictures.png"))[:, : 6 + exam.SIZE])
    rows = [slice(22 + row * (exam.SIZE + 28), 22 + row * (exam.SIZE + 28) + exam.SIZE) for row in range(2)]
    for row in rows:
        np.testing.assert_array_equal(columns[0][row], columns[1][row])


def test_a_detector_is_examined_on_the_restorers_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "seer", dataclasses.replace(exam.GAIN, task=Task.DETECT))
    config = bundle.Config("seer", Task.DETECT, exam.SIZE, {}, {}, {}, "seer-1")
    bundle.save(evaluate.BUNDLES / "seer", config, exam.Gain())
    metrics = exam.evaluated("seer")["metrics"]
    assert set(metrics) == {"photographs", "precision", "recall", "f1", "iou", "baseline", "lift"}
    assert metrics["lift"]["f1"] == pytest.approx(metrics["f1"] - metrics["baseline"]["f1"], abs=1e-6)
    pairs = list(FrozenSet.open(folder(Task.DETECT)))
    answers = [pair.input[:, :, 0] >= 128 for pair in pairs]  # what the photograph itself says of itself
    expected = [overlap(answer, pair.mask)["iou"] for answer, pair in zip(answers, pairs, strict=True)]
    assert metrics["iou"] == pytest.approx(np.mean(expected), abs=0.02)
    sheet = np.asarray(Image.open(evaluate.EVALUATION / "seer" / "pictures.png"))
    third = sheet[22 : 22 + exam.SIZE, 6 + 2 * (exam.SIZE + 6) :][:, : exam.SIZE, 0]
    np.testing.assert_array_equal(third > 0, pairs[0].mask)


def test_the_pictures_show_question_answer_and_truth() -> None:
    sheet = np.asarray(Image.open(evaluate.EVALUATION / "colorgan" / "pictures.png"))
    first = next(iter(FrozenSet.open(FROZEN / "colorize")))
    size, gap = exam.SIZE, 6
    cells = [sheet[22 : 22 + size, gap + k * (size + gap) :][:, :size] for k in range(3)]
    np.testing.assert_array_equal(cells[0], first.input)
    np.testing.assert_array_equal(cells[2], first.clean)
    answer = Predictor.from_bundle(evaluate.BUNDLES / "colorgan").predict([first.input], [None])[0]
    assert np.abs(cells[1].astype(int) - answer).max() <= 1


def test_another_recipes_bundle_is_refused() -> None:
    exam.made_bundle("colorgan", "colorgan-1", folder=evaluate.BUNDLES / "pix2pix")
    with pytest.raises(StageError, match=r"is a bundle of colorgan \(colorize\); it must be of pix2pix"):
        exam.evaluated("pix2pix")


def test_a_bundle_that_is_not_there_is_an_error() -> None:
    shutil.rmtree(evaluate.BUNDLES / "pix2pix")
    with pytest.raises(StageError, match=r"config\.json cannot be read.*run `python -m pipelines\.train pix2pix`"):
        exam.evaluated("pix2pix")


def stage(stages: Stages, recipe: str, workplace: Path) -> str:
    exam.params_file(workplace)
    (done,) = stages.run("pipelines.evaluate", recipe, folder=workplace)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_stage_tells_dvc_and_the_trainings_run(stages: Stages, reports: dict[str, Any], tmp_path: Path) -> None:
    shutil.rmtree(evaluate.EVALUATION)
    run_id = tracking.start_or_continue("colorgan-1", {"autochrome.recipe": "colorgan"})
    client = MlflowClient(tracking.address())
    client.set_terminated(run_id, "FINISHED")
    assert "beside doing nothing: lpips_mobilenet_v2_random" in stage(stages, "colorgan", tmp_path)
    metrics = json.loads((tmp_path / "metrics/colorgan.json").read_text())
    again = reports["colorgan"]["metrics"]  # by as many threads as there are here: float32 differs a little
    assert dict(evaluate.flat(metrics)) == pytest.approx(dict(evaluate.flat(again)), rel=1e-4, abs=1e-4)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/psnr"] == metrics["psnr"]
    assert run.data.metrics["test/lift/ssim"] == metrics["lift"]["ssim"]
    logged = {Path(file.path).name for file in client.list_artifacts(run_id, "evaluation")}
    assert logged == {
        *("photographs.csv", "pictures.png", "report.json"),
        *("thumbnails.jpg", "failures.png", "failures.json"),
    }


def test_the_stage_makes_no_run_where_there_is_none(stages: Stages, tmp_path: Path) -> None:
    stage(stages, "colorgan", tmp_path)
    assert tracking.find_run("colorgan-1") is None
    assert (tmp_path / "metrics/colorgan.json").is_file()
