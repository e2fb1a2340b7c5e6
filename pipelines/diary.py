"""What a training told, in its run's folder: lines of JSON, of which the curves for DVC are made, and pictures."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.loop import Journal, Row

METRICS = "metrics.jsonl"


class Journals:
    """One journal that tells several others."""

    def __init__(self, *others: Journal) -> None:
        self.others = others

    def metrics(self, rows: Sequence[Row]) -> None:
        """Tell each."""
        for other in self.others:
            other.metrics(rows)

    def picture(self, name: str, picture: NDArray[np.uint8]) -> None:
        """Show each."""
        for other in self.others:
            other.picture(name, picture)


class Diary:
    """`metrics.jsonl`, a row a line, and, unless someone else keeps them, `pictures/<name>.png`."""

    def __init__(self, folder: Path, *, pictures: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.pictures = folder / "pictures" if pictures else None
        self.path = folder / METRICS
        whole = self._whole_lines()
        with self.path.open("ab") as file:
            file.truncate(sum(map(len, whole)))  # a line that a killed process did not end
        self.told: dict[str, int] = {}
        for line in whole:
            row = json.loads(line)
            self.told.update(dict.fromkeys(row["values"], row["step"]))

    def metrics(self, rows: Sequence[Row]) -> None:
        """Append what is not there yet."""
        with self.path.open("a", encoding="utf-8") as file:
            for row in rows:
                fresh = {name: value for name, value in row.values.items() if row.step > self.told.get(name, -1)}
                if fresh:
                    print(json.dumps(asdict(row) | {"values": fresh}), file=file)
                    self.told.update(dict.fromkeys(fresh, row.step))
            file.flush()
            os.fsync(file.fileno())

    def picture(self, name: str, picture: NDArray[np.uint8]) -> None:
        """Write a picture, in place of one of the same name."""
        if self.pictures is None:
            return
        self.pictures.mkdir(exist_ok=True)
        _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        temporary = self.pictures / f".{name}.png"
        temporary.write_bytes(encoded.tobytes())
        temporary.replace(self.pictures / f"{name}.png")

    def _whole_lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        return [line for line in self.path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
