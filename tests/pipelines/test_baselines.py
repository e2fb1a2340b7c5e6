import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.color import rgb_to_lab
from models.image import to_tensor
from models.task import Task
from pipelines import baselines, examination
from pipelines.baselines import BASELINES, ROWS, Baselines
from pipelines.freeze import FrozenSet, Pair, folder
from pipelines.params import Evaluate
from pipelines.stage import StageError
from tests.pipelines import exam
from tests.pipelines.stages import Stages


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, tracking_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    exam.prepare("coco", 4)


def pair(clean: NDArray[np.uint8], photo: NDArray[np.uint8] | None = None) -> Pair:
    return Pair(clean, clean if photo is None else photo, np.zeros(clean.shape[:2], np.bool_), "x.png", [])


def ab(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(rgb_to_lab(to_tensor(photo)[None])[0, 1:].permute(1, 2, 0).numpy(), np.float32)


def test_small_chroma_is_the_truths_own_colours_reduced_to_64_pixels() -> None:
    clean = np.asarray(cv2.resize(exam.photograph(3), (192, 256), interpolation=cv2.INTER_CUBIC), np.uint8)
    grey = np.repeat(np.asarray(cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY), np.uint8)[:, :, None], 3, axis=2)
    answer = ROWS[Task.COLORIZE]["ab_64"](pair(clean, grey))
    reduced = cv2.resize(ab(clean), (64, 85), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(reduced, (192, 256), interpolation=cv2.INTER_CUBIC)
    assert np.abs(ab(answer) - expected).mean() < 1.0
    lightness = [rgb_to_lab(to_tensor(photo)[None])[0, 0] for photo in (answer, grey)]
    assert float((lightness[0] - lightness[1]).abs().mean()) < 0.5


def test_stripes_finer_than_64_pixels_lose_their_colour_in_small_chroma() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (200, 90, 90), (60, 140, 140)
    answer = ROWS[Task.COLORIZE]["ab_64"](pair(stripes))
    assert np.ptp(ab(answer)[:, :, 0]) < 0.35 * np.ptp(ab(stripes)[:, :, 0])


def test_classical_rows_mend_a_scratch_that_nobody_points_out() -> None:
    clean = np.asarray(cv2.GaussianBlur(cv2.resize(exam.photograph(1), (128, 128)), (0, 0), 5), np.uint8)
    scratched = clean.copy()
    scratched[20:110, 64] = 255
    for name in ("telea", "navier_stokes"):
        mended = ROWS[Task.RESTORE][name](pair(clean, scratched))
        error = np.abs(mended.astype(int) - clean)[:, 60:69].mean()
        assert error < 0.3 * np.abs(scratched.astype(int) - clean)[:, 60:69].mean()
    found = ROWS[Task.DETECT]["top_hat"](pair(clean, scratched))
    assert (found[30:100, 64] == 255).mean() > 0.9
    assert (found == 255).mean() < 0.1
    assert not ROWS[Task.DETECT]["nothing"](pair(clean, scratched)).any()


def test_overlap_is_counted_pixel_by_pixel() -> None:
    truth, answer = np.zeros((8, 8), np.bool_), np.zeros((8, 8), np.bool_)
    truth[:4], answer[2:5] = True, True  # 32 destroyed, 24 found, 16 both
    found = examination.overlap(answer, truth)
    assert found == {"precision": 16 / 24, "recall": 16 / 32, "f1": 32 / 56, "iou": 16 / 40}
    nothing = np.zeros((8, 8), np.bool_)
    assert set(examination.overlap(nothing, nothing).values()) == {1.0}
    assert examination.overlap(answer, nothing) == {"precision": 0.0, "recall": 1.0, "f1": 0.0, "iou": 0.0}
    assert examination.overlap(nothing, truth) == {"precision": 1.0, "recall": 0.0, "f1": 0.0, "iou": 0.0}


def test_a_detectors_answer_says_destroyed_from_one_half_on() -> None:
    mask = np.zeros((16, 16), np.bool_)
    mask[:8] = True
    question = Pair(exam.photograph(0)[:16, :16], exam.photograph(0)[:16, :16], mask, "x.png", [])
    levels = {"sure": (255, 0), "half": (128, 127), "shy": (127, 0)}
    sets = {
        name: [np.where(mask[:, :, None], *pair).astype(np.uint8).repeat(3, axis=2)] for name, pair in levels.items()
    }
    measured = examination.examine(Task.DETECT, [question], sets, [], 1).sets
    assert {name: one.metrics["f1"] for name, one in measured.items()} == {"sure": 1.0, "half": 1.0, "shy": 0.0}


def test_every_restorers_row_is_measured_and_kept_as_it_was() -> None:
    exam.frozen(Task.RESTORE, photographs=4)
    report = exam.measured(Task.RESTORE)
    assert (report["nothing"], list(report["rows"])) == ("damaged", ["damaged", "telea", "navier_stokes"])
    frozen = FrozenSet.open(folder(Task.RESTORE))
    kept = Baselines.open(Task.RESTORE, BASELINES / "restore", frozen.sha256, report["protocol"])
    for name, one in kept.rows.items():
        assert one.metrics == report["rows"][name]
        assert len(one.rows) == 4
        for metric in ("psnr", "ssim", "ms_ssim_3_scales", "lpips_mobilenet_v2_random", "psnr_inside"):
            mean = np.mean([row[metric] for row in one.rows if metric in row])
            assert mean == pytest.approx(one.metrics[metric], abs=1e-5)


def test_colorizers_rows_stand_in_their_order() -> None:
    exam.frozen(Task.COLORIZE, photographs=4)
    rows = exam.measured(Task.COLORIZE)["rows"]
    grey, small = rows["grey"], rows["ab_64"]
    assert grey["colourfulness"] == pytest.approx(0, abs=1)
    assert small["psnr"] > grey["psnr"] + 10
    for lower in ("lpips_mobilenet_v2_random", "frechet_mobilenet_v2_random"):
        assert small[lower] < 0.5 * grey[lower]
    assert not any(name.startswith(("class_", "psnr_inside")) for name in grey)


def test_the_truth_measured_against_itself_is_perfect() -> None:
    pairs = [pair(exam.photograph(seed)) for seed in range(4)]
    eyes = examination.open_eyes(Evaluate(**exam.evaluate_section()))
    metrics = examination.examine(Task.RESTORE, pairs, {"x": [one.clean for one in pairs]}, eyes, 3).sets["x"].metrics
    expected = {"psnr": 100.0, "ssim": 1.0, "ms_ssim_3_scales": 1.0, "colourfulness_difference": 0.0}
    perceived = {"lpips": 0.0, "frechet": 0.0, "precision": 1.0, "recall": 1.0, "f1": 1.0}
    expected |= {f"{name}_mobilenet_v2_random": value for name, value in perceived.items()}
    expected["colourfulness"] = metrics["colourfulness"]
    assert metrics == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("what", "said"), [("frozen", "another frozen set"), ("protocol", "another protocol")])
def test_baselines_of_something_else_are_refused(what: str, said: str) -> None:
    exam.frozen(Task.COLORIZE, photographs=4)
    report = exam.measured(Task.COLORIZE)
    of = {"frozen": report["frozen_sha256"], "protocol": report["protocol"]} | {what: "f" * 64}
    with pytest.raises(StageError, match=rf"is of {said} .*run `python -m pipelines\.baselines colorize`"):
        Baselines.open(Task.COLORIZE, BASELINES / "colorize", of["frozen"], of["protocol"])


def test_baselines_that_are_not_there_are_an_error() -> None:
    with pytest.raises(StageError, match=r"cannot be read .*run `python -m pipelines\.baselines restore`"):
        Baselines.open(Task.RESTORE, BASELINES / "restore", "f", "p")


def test_a_protocol_is_its_weights_and_not_its_batches() -> None:
    section = exam.evaluate_section()
    same = examination.protocol(Evaluate(**section))
    assert examination.protocol(Evaluate(**section | {"batch": 7, "pictures": 3})) == same
    given = {"mobilenet_weights": "x.pth", "mobilenet_sha256": "a" * 64}
    assert examination.protocol(Evaluate(**section | given)) != same


def test_a_weights_file_that_is_missing_is_an_error_that_names_it() -> None:
    params = Evaluate(**exam.evaluate_section() | {"inception_weights": "gone.pth", "inception_sha256": "a" * 64})
    with pytest.raises(StageError, match=r"evaluate: gone\.pth cannot be read"):
        examination.open_eyes(params)


def test_the_stage_leaves_its_numbers_for_dvc(stages: Stages, tmp_path: Path) -> None:
    exam.frozen(Task.RESTORE, photographs=4)
    exam.params_file(tmp_path)
    (done,) = stages.run("pipelines.baselines", "detect", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "baselines@detect: 4 photographs; f1: nothing" in done.stdout
    metrics = json.loads((tmp_path / "metrics/baselines-detect.json").read_text())
    assert (
        metrics
        == baselines.baselines(
            Task.DETECT, Evaluate(**exam.evaluate_section()), folder(Task.DETECT), tmp_path / "again"
        )["rows"]
    )
    with (tmp_path / "build/baselines/detect/photographs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["nothing"] * 4 + ["top_hat"] * 4
    assert len({row["source"] for row in rows}) == 4
