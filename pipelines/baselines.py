"""What answers get that nobody had to learn: doing nothing, classical repair, and what low-resolution colour can do.

`python -m pipelines.baselines restore|colorize|detect|translate` measures each on the task's frozen set and writes
`metrics/baselines-<task>.json` and `build/baselines/<task>/`: `report.json` and `photographs.csv` (a line a photograph
and row). Every evaluation of the task stands beside these numbers, and the gate asks for more than they have.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from models.classical import RADIUS, Method, find_defects, inpaint
from models.color import rgb_to_lab
from models.image import to_tensor
from models.joining import join_colors
from models.task import Task
from pipelines import tracking
from pipelines.examination import Examined, examine, judged_by, open_eyes, protocol
from pipelines.freeze import FrozenSet, Pair, folder
from pipelines.metrics import Photo
from pipelines.params import Evaluate, evaluate_params
from pipelines.reports import as_json, numbers, read_table, rounded, write_json, write_table
from pipelines.stage import StageError, fresh_folder, stage

BASELINES = Path("build/baselines")
METRICS = Path("metrics")
CHROMA = 64  # pixels of the short side of the true colours in the row ab_64


def _given(pair: Pair) -> Photo:
    return pair.input


def _inpainted(method: Method) -> Callable[[Pair], Photo]:
    def mend(pair: Pair) -> Photo:
        return np.asarray(inpaint(pair.input, find_defects(pair.input), method, RADIUS), np.uint8)

    return mend


def _true_chroma(pair: Pair) -> Photo:
    """The question's lightness with the truth's own ab, made small: no colorizer that works at 64 px can do better."""
    height, width = pair.clean.shape[:2]
    scale = min(1.0, CHROMA / min(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    ab = rgb_to_lab(to_tensor(pair.clean)[None])[0, 1:].permute(1, 2, 0).numpy()  # (H, W, 2)
    reduced = cv2.resize(ab, small, interpolation=cv2.INTER_AREA)
    return np.asarray(join_colors(pair.input, np.asarray(reduced, np.float32).transpose(2, 0, 1)), np.uint8)


def _no_mask(pair: Pair) -> Photo:
    return np.zeros_like(pair.input)


def _top_hat(pair: Pair) -> Photo:
    found = np.where(find_defects(pair.input), 255, 0).astype(np.uint8)
    return np.repeat(found[:, :, None], 3, axis=2)


# The first of each task is doing nothing.
ROWS: dict[Task, dict[str, Callable[[Pair], Photo]]] = {
    Task.RESTORE: {"damaged": _given, "telea": _inpainted("telea"), "navier_stokes": _inpainted("navier_stokes")},
    Task.COLORIZE: {"grey": _given, "ab_64": _true_chroma},
    Task.DETECT: {"nothing": _no_mask, "top_hat": _top_hat},
    Task.TRANSLATE: {"input": _given},
}
CLASSICAL = ("telea", "navier_stokes", "top_hat")  # what a recipe that learns must be better than


@dataclass(frozen=True)
class Baselines:
    """The measured rows of one task, as the stage left them."""

    rows: dict[str, Examined]
    nothing: str  # the row of doing nothing

    @classmethod
    def open(cls, task: Task, kept: Path, frozen_sha256: str, protocol_sha256: str) -> Self:
        """From `kept`; StageError where it cannot be read or is of another frozen set or measured otherwise."""
        again = f"run `python -m pipelines.baselines {task}`"
        try:
            report = json.loads((kept / "report.json").read_text(encoding="utf-8"))
            table = read_table(kept / "photographs.csv")
            found = {"frozen set": report["frozen_sha256"], "protocol": report["protocol"]}
            metrics = dict(report["rows"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StageError(f"{kept} cannot be read ({error!r}); {again}") from error
        for what, expected in (("frozen set", frozen_sha256), ("protocol", protocol_sha256)):
            if found[what] != expected:
                raise StageError(f"{kept} is of another {what} ({found[what][:12]}, now {expected[:12]}); {again}")
        rows = {name: [numbers(line) for line in table if line["row"] == name] for name in metrics}
        return cls({name: Examined(metrics[name], rows[name]) for name in metrics}, report["nothing"])


def baselines(task: Task, params: Evaluate, frozen_folder: Path, target: Path) -> dict[str, Any]:
    """Measures every row, writes the folder `target` and returns its report; StageError where nothing is frozen."""
    frozen, eyes = FrozenSet.open(frozen_folder), open_eyes(params)
    pairs = list(frozen)
    sets = {name: [answer(pair) for pair in pairs] for name, answer in ROWS[task].items()}
    measured = examine(task, pairs, sets, eyes, params.batch)
    report = {
        "task": str(task),
        "photographs": len(pairs),
        "frozen_sha256": frozen.sha256,
        "protocol": protocol(params),
        "judged_by": judged_by(task, eyes).distance,
        "nothing": next(iter(ROWS[task])),
        "rows": {name: rounded(one.metrics) for name, one in measured.sets.items()},
        "truth": rounded(measured.truth.metrics),
    }
    lines = [
        {"row": name, "source": pair.source, **rounded(row)}
        for name, one in measured.sets.items()
        for pair, row in zip(pairs, one.rows, strict=True)
    ]
    with fresh_folder(target) as fresh:
        (fresh / "report.json").write_text(as_json(report), encoding="utf-8")
        write_table(fresh / "photographs.csv", lines)
    return report


def main() -> None:
    """The stage `baselines@<task>`."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.baselines", description="Measures what needs no learning."
    )
    parser.add_argument("task", choices=[str(task) for task in Task])
    task = Task(parser.parse_args().task)
    name, target = f"baselines@{task}", BASELINES / task
    with stage(name), tracking.stage_run(name) as run_id:
        report = baselines(task, evaluate_params(), folder(task), target)
        tracking.log_report(run_id, report, sorted(target.iterdir()))
        write_json(METRICS / f"baselines-{task}.json", report["rows"])
        judge = report["judged_by"]
        said = ", ".join(f"{row} {metrics[judge]:.4f}" for row, metrics in report["rows"].items())
        print(f"{name}: {report['photographs']} photographs; {judge}: {said}")


if __name__ == "__main__":
    main()
