"""What a leaderboard of a task shows: its registered versions, and what needs no learning, measured in the same way.

Only what was measured on the present frozen photographs by the present protocol is ranked; the rest has a reason.
"""

import io
import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.task import Task
from pipelines import tracking, versions
from pipelines.baselines import ROWS
from pipelines.freeze import FrozenSet, Pair
from pipelines.rows import Column, columns
from pipelines.stage import StageError
from pipelines.versions import GATE_TAG, METRICS_TAG, Registry, Version

THUMBNAILS = "thumbnails.jpg"  # among a version's `evaluation` artifacts: its answers to the first frozen photographs
SHOWN = 4  # photographs in a strip of thumbnails
SIDE = 96  # of one, pixels

_QUESTION = {Task.RESTORE: "damaged", Task.COLORIZE: "grey", Task.DETECT: "damaged", Task.TRANSLATE: "given"}


@dataclass(frozen=True)
class Entry:
    """A line: a registered version, or a baseline, which has no rank."""

    name: str  # `restorer/3`, or the baseline's
    metrics: Mapping[str, Any]
    recipe: str = ""
    aliases: tuple[str, ...] = ()
    verdict: str = ""
    run: str = ""  # the training run's name
    link: str = ""
    registered: float = 0.0  # seconds since 1970
    thumbnails: bytes | None = None  # JPEG
    baseline: bool = False

    @property
    def when(self) -> str:
        """When it was registered, in UTC."""
        return "" if self.baseline else time.strftime("%Y-%m-%d %H:%M", time.gmtime(self.registered))


@dataclass(frozen=True)
class Basis:
    """What the baselines stage left: what is compared with what, and the numbers of what needs no learning."""

    frozen_sha256: str
    protocol: str
    judged_by: str  # the metric that ranks
    rows: Mapping[str, Mapping[str, Any]]  # baseline -> metrics
    truth: Mapping[str, Any]  # what can be said of the true photographs

    @classmethod
    def open(cls, folder: Path) -> "Basis":
        """From `build/baselines/<task>`; StageError where it cannot be read."""
        path = folder / "report.json"
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            return cls(*(report[name] for name in ("frozen_sha256", "protocol", "judged_by", "rows", "truth")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            again = f"run `python -m pipelines.baselines {folder.name}`"
            raise StageError(f"{path} cannot be read ({error!r}); {again}") from error


@dataclass(frozen=True)
class Board:
    """What the two files show."""

    task: Task
    photographs: int
    columns: list[Column]  # the first ranks
    ranked: list[tuple[int | None, Entry]]  # best first
    unranked: list[tuple[Entry, str]]  # and why
    question: tuple[str, bytes]  # what is asked, as a strip of thumbnails


def strip(photos: Sequence[NDArray[np.uint8]]) -> bytes:
    """The first few of uint8 sRGB photographs (H, W, 3) beside each other, small, as JPEG. ValueError without any."""
    some = photos[:SHOWN]
    if not some:
        raise ValueError("there is no photograph to show; a strip of thumbnails needs one")
    canvas, encoded = Image.new("RGB", (SIDE * len(some), SIDE)), io.BytesIO()
    for place, photo in enumerate(some):
        canvas.paste(Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BOX), (place * SIDE, 0))
    canvas.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def survey(task: Task, frozen: FrozenSet, basis: Basis) -> Board:
    """Every registered version of `task`, ranked on `frozen`; StageError where the baselines are of another set."""
    if basis.frozen_sha256 != frozen.sha256:
        raise StageError(
            f"the baselines are of frozen photographs {basis.frozen_sha256[:12]}, now {frozen.sha256[:12]};"
            f" run `python -m pipelines.baselines {task}`"
        )
    registry, pairs = Registry(task.model), list(islice(frozen, SHOWN))
    entries = [_entry(version, registry) for version in registry.every()]
    reasons = {one.name: _reason(one, basis) for one in entries}
    placed = [one for one in entries if not reasons[one.name]]
    beside = _beside(task, basis, pairs)
    shown = columns(task, basis.judged_by, [one.metrics for one in (*placed, *beside)])
    return Board(
        task=task,
        photographs=len(frozen),
        columns=shown,
        ranked=_ranked([*placed, *beside], shown[0]),
        unranked=[(one, reasons[one.name]) for one in entries if reasons[one.name]],
        question=(_QUESTION[task], strip([pair.input for pair in pairs])),
    )


def _entry(version: Version, registry: Registry) -> Entry:
    name = f"{registry.model}/{version.number}"
    return Entry(
        name=name,
        metrics=json.loads(version.tags.get(METRICS_TAG, "{}")),
        recipe=version.tags.get("autochrome.recipe", ""),
        aliases=tuple(registry.aliases(version)),
        verdict=json.loads(version.tags.get(GATE_TAG, "{}")).get("verdict", ""),
        run=version.tags.get("autochrome.run", version.run_id),
        link=tracking.run_url(version.run_id),
        registered=version.created,
        thumbnails=versions.run_file(version.run_id, f"evaluation/{THUMBNAILS}"),
    )


def _beside(task: Task, basis: Basis, pairs: Sequence[Pair]) -> list[Entry]:
    rows = [
        Entry(name, metrics, thumbnails=strip([ROWS[task][name](pair) for pair in pairs]), baseline=True)
        for name, metrics in basis.rows.items()
    ]
    truth = strip([_truth(task, pair) for pair in pairs])
    return [*rows, Entry("the truth", basis.truth, thumbnails=truth, baseline=True)]


def _reason(entry: Entry, basis: Basis) -> str:
    """Why a version is not ranked; empty where it is."""
    found, expected = entry.metrics.get("frozen_sha256"), basis.frozen_sha256
    if found is None:
        return "it carries no measurement"
    if found != expected:
        return f"measured on other photographs ({found[:12]}; these are {expected[:12]})"
    if entry.metrics.get("protocol") != basis.protocol or basis.judged_by not in entry.metrics:
        return f"measured in another way than {basis.judged_by} is now; register it again"
    return ""


def _ranked(entries: Sequence[Entry], ranks: Column) -> list[tuple[int | None, Entry]]:
    """Best first; the truth, which is no answer and has no distance to itself, last."""
    ordered = sorted(entries, key=lambda one: ranks.place(one.metrics) if ranks.name in one.metrics else math.inf)
    places = itertools.count(1)
    return [(None if one.baseline else next(places), one) for one in ordered]


def _truth(task: Task, pair: Pair) -> NDArray[np.uint8]:
    if task is not Task.DETECT:
        return pair.clean
    return np.repeat(np.where(pair.mask, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)
