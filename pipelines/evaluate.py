"""How good a trained bundle is on the frozen photographs, beside doing nothing at all.

`python -m pipelines.evaluate <recipe>` examines `build/bundles/<recipe>` and writes `metrics/<recipe>.json` (for
`dvc metrics`) and `build/evaluation/<recipe>/`: `photographs.csv` (for `dvc plots`), `pictures.png`, and `report.json`,
which says of which bundle and which frozen set the numbers are. The training's MLflow run, where there is one, gets
all of it too. What doing nothing gets stands in `build/baselines/<task>`. Restorers are not told the mask: that is how
most people will use them.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import BundleError, digest
from models.catalogue import CATALOGUE
from models.predictor import Predictor
from models.task import Task
from pipelines import tracking
from pipelines.baselines import BASELINES, Baselines
from pipelines.card import Answered, write_pictures
from pipelines.contact import sheet
from pipelines.examination import Examination, Examined, Judged, distances, examine, judged_by, open_eyes, protocol
from pipelines.freeze import FrozenSet, Pair, folder
from pipelines.metrics import Photo
from pipelines.params import Evaluate, evaluate_params
from pipelines.progress import progress
from pipelines.reports import as_json, rounded, write_json, write_table
from pipelines.stage import StageError, fresh_folder, stage

BUNDLES = Path("build/bundles")
EVALUATION = Path("build/evaluation")
METRICS = Path("metrics")

MINE = "answers"  # the bundle's set of answers
COLUMNS = {
    Task.RESTORE: ("damaged", "restored", "true"),
    Task.COLORIZE: ("grey", "colorized", "true"),
    Task.DETECT: ("damaged", "found", "true damage"),
    Task.TRANSLATE: ("given", "translated", "true"),
}
UNORDERED = ("colourfulness", "colourfulness_difference")  # neither more nor less of it is better


def answer(predictor: Predictor, pairs: Sequence[Pair], batch: int) -> list[Photo]:
    """What `predictor` makes of every question, in order."""
    answers: list[Photo] = []
    steps = range(0, len(pairs), batch)
    with progress(f"{predictor.config.recipe} answers", len(steps), 0, shown=True) as shown:
        for first in steps:
            questions = [pair.input for pair in pairs[first : first + batch]]
            answers += [np.asarray(one, np.uint8) for one in predictor.predict(questions, [None] * len(questions))]
            shown.advance({})
    return answers


def evaluate(
    recipe: str, params: Evaluate, bundle: Path, frozen_folder: Path, kept: Path, target: Path
) -> dict[str, Any]:
    """Examines the bundle beside the baselines in the folder `kept`, writes the folder `target`, returns its report.

    StageError where the bundle cannot be read, is another recipe's, nothing is frozen, or the baselines are of another
    frozen set.
    """
    task, measured_by = CATALOGUE[recipe].task, protocol(params)
    predictor, frozen = open_bundle(recipe, bundle, params.batch), FrozenSet.open(frozen_folder)
    baselines = Baselines.open(task, kept, frozen.sha256, measured_by)
    nothing = baselines.rows[baselines.nothing]
    pairs, eyes = list(frozen), open_eyes(params)
    answers = answer(predictor, pairs, params.batch)
    examination = examine(task, pairs, {MINE: answers}, eyes, params.batch)
    judged, mine = judged_by(task, eyes), examination.sets[MINE]
    report = {
        "recipe": recipe,
        "task": str(task),
        "run": predictor.config.run,
        "bundle_sha256": digest(bundle),
        "frozen_sha256": frozen.sha256,
        "protocol": measured_by,
        "judged_by": {"distance": judged.distance, "frechet": judged.frechet},
        "metrics": summary(examination, nothing),
    }
    lines = [{"source": pair.source, **line} for pair, line in zip(pairs, _lines(examination, nothing), strict=True)]
    answered = [
        Answered(pair.source, _shown(task, pair, made), distance, caption)
        for pair, made, distance, caption in zip(
            pairs, answers, distances(mine, judged), _captions(judged, nothing, mine), strict=True
        )
    ]
    with fresh_folder(target) as fresh:
        (fresh / "report.json").write_text(as_json(report), encoding="utf-8")
        write_table(fresh / "photographs.csv", lines)
        write_pictures(fresh, COLUMNS[task], answered)
        first = answered[: params.pictures]
        grid = sheet(COLUMNS[task], [one.pictures for one in first], [one.caption for one in first])
        grid.save(fresh / "pictures.png")
    return report


def summary(examination: Examination, nothing: Examined) -> dict[str, Any]:
    """The metrics of the answers, of doing nothing (`baseline`), what lies between (`lift`), and what the truth has.

    `lift` is the answers' number minus the baseline's, whichever way is better: above 0 is better of psnr, ssim,
    ms_ssim, precision, recall, f1, iou and classes, below 0 of lpips and frechet. `colourfulness_difference` is
    signed, below 0 where answers are greyer than the truth.
    """
    mine = examination.sets[MINE].metrics
    compared = [name for name in mine if name in nothing.metrics and name not in UNORDERED]
    return {
        "photographs": len(examination.sets[MINE].rows),
        **rounded(mine),
        "baseline": rounded(nothing.metrics),
        "lift": rounded({name: mine[name] - nothing.metrics[name] for name in compared}),
        **({"truth": rounded(examination.truth.metrics)} if examination.truth.metrics else {}),
    }


def open_bundle(recipe: str, bundle: Path, batch: int) -> Predictor:
    """The bundle's predictor; StageError where it cannot be read or is not of `recipe`."""
    try:
        predictor = Predictor.from_bundle(bundle, batch=batch)
    except BundleError as error:
        raise StageError(f"{error}; run `python -m pipelines.train {recipe}`") from error
    found, task = predictor.config.recipe, CATALOGUE[recipe].task
    if (found, predictor.config.task) != (recipe, task):
        raise StageError(f"{bundle} is a bundle of {found} ({predictor.config.task}); it must be of {recipe} ({task})")
    return predictor


def flat(metrics: Mapping[str, Any], prefix: str = "test") -> Iterator[tuple[str, float]]:
    """The metrics under MLflow's names: `test/psnr`, `test/lift/psnr`."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}/{name}")
        else:
            yield f"{prefix}/{name}", float(value)


def _lines(examination: Examination, nothing: Examined) -> Iterator[dict[str, float]]:
    """Photographs' lines: the answer's own numbers, the truth's, the baseline's, and the lift."""
    for mine, truth, baseline in zip(examination.sets[MINE].rows, examination.truth.rows, nothing.rows, strict=True):
        compared = [name for name in mine if name in baseline and name not in UNORDERED]
        yield rounded(
            mine
            | {f"true_{name}": value for name, value in truth.items()}
            | {f"baseline_{name}": baseline[name] for name in compared}
            | {f"lift_{name}": mine[name] - baseline[name] for name in compared}
        )


def _shown(task: Task, pair: Pair, made: Photo) -> tuple[Photo, Photo, Photo]:
    if task is not Task.DETECT:
        return pair.input, made, pair.clean
    white = np.where(pair.mask, 255, 0).astype(np.uint8)
    return pair.input, made, np.repeat(white[:, :, None], 3, axis=2)


def _captions(judged: Judged, nothing: Examined, mine: Examined) -> Iterator[str]:
    """What doing nothing got -> what the answer got."""
    names = [(judged.distance.partition("_")[0].upper(), judged.distance, ".3f"), ("dB", "psnr", ".1f")]
    for before, after in zip(nothing.rows, mine.rows, strict=True):
        said = [
            f"{label} {before[name]:{form}} -> {after[name]:{form}}" for label, name, form in names if name in after
        ]
        yield ", ".join(said)


def main() -> None:
    """The stage `evaluate@<recipe>`."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.evaluate", description="Examines a trained bundle.")
    parser.add_argument("recipe", choices=sorted(CATALOGUE))
    recipe = parser.parse_args().recipe
    task, target, name = CATALOGUE[recipe].task, EVALUATION / recipe, f"evaluate@{recipe}"
    with stage(name), tracking.stage_run(name) as run_id:
        report = evaluate(recipe, evaluate_params(), BUNDLES / recipe, folder(task), BASELINES / task, target)
        metrics, judge = report["metrics"], report["judged_by"]["distance"]
        if tracking.find_run(report["run"]) is not None:
            tracking.log_evaluation(report["run"], {}, dict(flat(metrics)), sorted(target.iterdir()))
        tracking.log_report(run_id, {"test": metrics, **{key: report[key] for key in report if key != "metrics"}})
        write_json(METRICS / f"{recipe}.json", metrics)
        said = ", ".join(f"{one} {metrics[one]:.3f} ({metrics['lift'][one]:+.3f})" for one in _told(metrics, judge))
        print(f"{name}: {metrics['photographs']} photographs, beside doing nothing: {said}")


def _told(metrics: Mapping[str, Any], judge: str) -> list[str]:
    return [name for name in (judge, "psnr", "ssim", "precision", "recall") if name in metrics]


if __name__ == "__main__":
    main()
