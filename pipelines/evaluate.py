"""How good a trained bundle is on the frozen photographs, beside doing nothing at all.

`python -m pipelines.evaluate <recipe>` examines `build/bundles/<recipe>` and writes `metrics/<recipe>.json` (for
`dvc metrics`) and `build/evaluation/<recipe>/`: `photographs.csv` (for `dvc plots`), `pictures.png`, and `report.json`,
which says of which bundle and which frozen set the numbers are. The training's MLflow run, where there is one, gets
all of it too. Restorers are not told the mask: that is how most people will use them.
"""

import argparse
import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import BundleError, digest
from models.catalogue import CATALOGUE
from models.predictor import Predictor
from models.task import Task
from pipelines import tracking
from pipelines.contact import sheet
from pipelines.freeze import FROZEN, FrozenSet, Pair
from pipelines.metrics import Scores, score
from pipelines.params import Evaluate, evaluate_params
from pipelines.stage import StageError, fresh_folder, stage

BUNDLES = Path("build/bundles")
EVALUATION = Path("build/evaluation")
METRICS = Path("metrics")

NAMES = {Task.RESTORE: ("damaged", "restored", "true"), Task.COLORIZE: ("grey", "colorized", "true")}


@dataclass(frozen=True)
class Examined:
    """One photograph: the question, what the bundle answered, and both scored against the truth."""

    pair: Pair
    answer: NDArray[np.uint8]  # (H, W, 3) sRGB
    scores: Scores  # of the answer
    baseline: Scores  # of the question itself: doing nothing
    true_colourfulness: float

    def row(self) -> dict[str, Any]:
        """Its line in photographs.csv."""
        return {
            "source": self.pair.source,
            "psnr": _rounded(self.scores.psnr),
            "ssim": _rounded(self.scores.ssim),
            "colourfulness": _rounded(self.scores.colourfulness),
            "true_colourfulness": _rounded(self.true_colourfulness),
            "baseline_psnr": _rounded(self.baseline.psnr),
            "baseline_ssim": _rounded(self.baseline.ssim),
            "lift_psnr": _rounded(self.scores.psnr - self.baseline.psnr),
            "lift_ssim": _rounded(self.scores.ssim - self.baseline.ssim),
        }


def examine(predictor: Predictor, frozen: FrozenSet, batch: int) -> list[Examined]:
    """What `predictor` makes of every frozen photograph."""
    pairs = iter(frozen)
    examined: list[Examined] = []
    while some := list(islice(pairs, batch)):
        answers = predictor.predict([pair.input for pair in some], [None] * len(some))
        examined.extend(_marked(pair, np.asarray(answer, np.uint8)) for pair, answer in zip(some, answers, strict=True))
    return examined


def summary(examined: Sequence[Examined]) -> dict[str, Any]:
    """Means over the photographs.

    `colourfulness_difference` is signed, below 0 where answers are greyer than the truth. `psnr_inside`, of the
    destroyed pixels alone, is over the photographs that have some, and absent where none has.
    """
    mine = _means([one.scores for one in examined])
    baseline = _means([one.baseline for one in examined])
    difference = np.mean([one.scores.colourfulness - one.true_colourfulness for one in examined])
    compared = [name for name in ("psnr", "ssim", "psnr_inside") if name in mine]
    return {
        "photographs": len(examined),
        **mine,
        "colourfulness_difference": _rounded(float(difference)),
        "baseline": {name: baseline[name] for name in compared},
        "lift": {name: _rounded(mine[name] - baseline[name]) for name in compared},
    }


def evaluate(recipe: str, params: Evaluate, bundle: Path, frozen_folder: Path, target: Path) -> dict[str, Any]:
    """Examines the bundle, writes the folder `target` and returns its report.

    StageError where the bundle cannot be read, is another recipe's, or nothing is frozen.
    """
    task = CATALOGUE[recipe].task
    predictor, frozen = open_bundle(recipe, bundle, params.batch), FrozenSet.open(frozen_folder)
    examined = examine(predictor, frozen, params.batch)
    report = {
        "recipe": recipe,
        "task": str(task),
        "run": predictor.config.run,
        "bundle_sha256": digest(bundle),
        "frozen_sha256": frozen.sha256,
        "metrics": summary(examined),
    }
    with fresh_folder(target) as folder:
        (folder / "report.json").write_text(_json(report), encoding="utf-8")
        _write_table(folder / "photographs.csv", [one.row() for one in examined])
        shown = [(one.pair.input, one.answer, one.pair.clean) for one in examined[: params.pictures]]
        captions = [f"{one.baseline.psnr:.1f} -> {one.scores.psnr:.1f} dB" for one in examined[: params.pictures]]
        sheet(NAMES[task], shown, captions).save(folder / "pictures.png")
    return report


def open_bundle(recipe: str, folder: Path, batch: int) -> Predictor:
    """The bundle's predictor; StageError where it cannot be read or is not of `recipe`."""
    try:
        predictor = Predictor.from_bundle(folder, batch=batch)
    except BundleError as error:
        raise StageError(f"{error}; run `python -m pipelines.train {recipe}`") from error
    found, task = predictor.config.recipe, CATALOGUE[recipe].task
    if (found, predictor.config.task) != (recipe, task):
        raise StageError(f"{folder} is a bundle of {found} ({predictor.config.task}); it must be of {recipe} ({task})")
    return predictor


def flat(metrics: Mapping[str, Any], prefix: str = "test") -> Iterator[tuple[str, float]]:
    """The metrics under MLflow's names: `test/psnr`, `test/lift/psnr`."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}/{name}")
        else:
            yield f"{prefix}/{name}", float(value)


def _marked(pair: Pair, answer: NDArray[np.uint8]) -> Examined:
    truth = score(pair.clean, pair.clean, pair.mask)
    return Examined(
        pair=pair,
        answer=answer,
        scores=score(answer, pair.clean, pair.mask),
        baseline=score(pair.input, pair.clean, pair.mask),
        true_colourfulness=truth.colourfulness,
    )


def _means(scores: Sequence[Scores]) -> dict[str, float]:
    inside = [one.psnr_inside for one in scores if not np.isnan(one.psnr_inside)]
    means = {
        "psnr": np.mean([one.psnr for one in scores]),
        "ssim": np.mean([one.ssim for one in scores]),
        "colourfulness": np.mean([one.colourfulness for one in scores]),
        **({"psnr_inside": np.mean(inside)} if inside else {}),
    }
    return {name: _rounded(float(mean)) for name, mean in means.items()}


def _rounded(value: float) -> float:
    return round(value, 6)


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes `path` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(_json(value))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def main() -> None:
    """The stage `evaluate@<recipe>`."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.evaluate", description="Examines a trained bundle.")
    parser.add_argument("recipe", choices=sorted(CATALOGUE))
    recipe = parser.parse_args().recipe
    with stage(f"evaluate@{recipe}"):
        frozen, target = FROZEN / CATALOGUE[recipe].task, EVALUATION / recipe
        report = evaluate(recipe, evaluate_params(), BUNDLES / recipe, frozen, target)
        metrics = report["metrics"]
        if tracking.find_run(report["run"]) is not None:
            tracking.log_evaluation(report["run"], {}, dict(flat(metrics)), sorted(target.iterdir()))
        write_json(METRICS / f"{recipe}.json", metrics)
        print(
            f"evaluate@{recipe}: {metrics['photographs']} photographs, PSNR {metrics['psnr']:.2f} dB"
            f" ({metrics['lift']['psnr']:+.2f} over doing nothing), SSIM {metrics['ssim']:.3f}"
            f" ({metrics['lift']['ssim']:+.3f})"
        )


if __name__ == "__main__":
    main()
