"""The files that stages leave their numbers in: JSON, and CSV of a line a photograph."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Numbers as the files have them."""
    return {name: round(value, 6) for name, value in values.items()}


def as_json(value: Mapping[str, Any]) -> str:
    """Indented; ValueError where a number is not finite, which JSON has no word for."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes `path` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(as_json(value))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_table(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file whose columns are the lines' keys, in the order of their coming; what a line has not is left empty."""
    columns = list(dict.fromkeys(name for line in lines for name in line))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(lines)


def read_table(path: Path) -> list[dict[str, str]]:
    """The lines of such a file; OSError where it cannot be read."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(line: Mapping[str, str]) -> dict[str, float]:
    """The values of a line that are there; all but its names, `row` and `source`. ValueError where one is no number."""
    return {name: float(value) for name, value in line.items() if value and name not in ("row", "source")}
