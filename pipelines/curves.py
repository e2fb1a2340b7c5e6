"""What `dvc plots` shows of a training: its losses and its validation as tables, made of the journal's lines.

A cell without a value is `nan`: DVC hands cells to Vega as text, and Vega draws an empty one as 0 (docs/training.md).
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.loop import Row
from pipelines.stage import StageError, fresh_folder

MOST = 400  # lines of losses.csv: a curve that a browser draws at once and `dvc plots diff` compares
VALIDATION = "/validation/"  # what the loop puts between a phase and a validation's name

Line = Mapping[str, float]


def write_curves(metrics: Path, folder: Path) -> None:
    """Makes `folder` anew: losses.csv and validation.csv of a journal's metrics.jsonl (`pipelines/diary.py`).

    losses.csv has `step` (the last of the line's bin) and a column `phase/loss` for each loss in the order in which
    they appeared, and is at most MOST lines of means over as many steps each. validation.csv has `epoch`, counted from
    1 over all phases, `step`, and a column `phase/validation/name` for each number. StageError where the journal
    cannot be read or lacks either.
    """
    rows = list(_rows(metrics))
    losses = [row for row in rows if not _validates(row)]
    validations = [row for row in rows if _validates(row)]
    if not losses or not validations:
        missing = "validation" if losses else "losses"
        raise StageError(f"{metrics} holds no {missing}; it must be the journal of a training that has ended")
    with fresh_folder(folder) as fresh:
        _write(fresh / "losses.csv", ["step"], _means(losses))
        _write(fresh / "validation.csv", ["epoch", "step"], _epochs(validations))


def _rows(metrics: Path) -> Iterator[Row]:
    try:
        lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise StageError(f"{metrics} cannot be read: {error.strerror}") from error
    for line in lines:
        if line.endswith("\n"):  # a killed training may have left half a line
            yield Row(**json.loads(line))


def _validates(row: Row) -> bool:
    return any(VALIDATION in name for name in row.values)


def _means(losses: Sequence[Row]) -> list[Line]:
    """Rows of losses as means over equal bins of steps."""
    last = max(row.step for row in losses)
    width = math.ceil(last / MOST)
    bins: dict[int, dict[str, list[float]]] = {}
    for row in losses:
        found = bins.setdefault((row.step - 1) // width, {})
        for name, value in row.values.items():
            found.setdefault(name, []).append(value)
    return [
        {"step": min((index + 1) * width, last)} | {name: math.fsum(v) / len(v) for name, v in found.items()}
        for index, found in sorted(bins.items())
    ]


def _epochs(validations: Sequence[Row]) -> list[Line]:
    return [{"epoch": i, "step": row.step} | dict(row.values) for i, row in enumerate(validations, start=1)]


def _write(path: Path, first: Sequence[str], lines: Sequence[Line]) -> None:
    names = list(dict.fromkeys([*first, *(name for line in lines for name in line)]))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="nan", lineterminator="\n")
        writer.writeheader()
        for line in lines:
            writer.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in line.items()}
            )
