"""The model card of a version: what it is, what it learnt from and under which licence, how good it is, where it fails.

`evaluate` leaves the pictures (`write_pictures`), `register` the card (`write_card`, `publish`): as `card/card.md` and
`card/failures.png` among the run's artifacts, and as the version's description in MLflow.
"""

import inspect
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from numpy.typing import NDArray

from models.bundle import Config
from models.catalogue import CATALOGUE
from models.task import Task
from pipelines import tracking
from pipelines.board import THUMBNAILS, Basis, strip
from pipelines.contact import sheet
from pipelines.photos import data_hashes
from pipelines.rows import columns, markdown_table
from pipelines.stage import StageError, fresh_folder
from pipelines.versions import Registry, Version

CARD = "card.md"
FAILURES = "failures.png"
WORST = "failures.json"
WORST_SHOWN = 3
SOURCES = "SOURCES.md"
_SPEAKS = re.compile(r"licen[cs]e|public domain|CC0|CC BY", re.IGNORECASE)

_LIMITS = {
    Task.RESTORE: "What it paints over damage is invented from the surroundings: plausible, not evidence of what was.",
    Task.COLORIZE: "Its colours are guesses: plausible, not evidence of what colour anything was.",
    Task.DETECT: "It marks pixels that look damaged; fine texture of an undamaged photograph may look so too.",
    Task.TRANSLATE: "It has learnt one kind of pairs, and answers any other picture as if it were of that kind.",
}


@dataclass(frozen=True)
class Answered:
    """One frozen photograph with what was made of it; pictures are uint8 sRGB (H, W, 3) of one size."""

    source: str  # its path inside data/
    pictures: Sequence[NDArray[Any]]  # question, answer, truth
    distance: float  # from the truth, the higher the worse
    caption: str  # its numbers, such as `LPIPS 0.412, 18.2 dB`


@dataclass(frozen=True)
class Subject:
    """What the card is of."""

    version: str  # `restorer/3`
    config: Config  # of its bundle
    bundle_sha256: str
    metrics: Mapping[str, Any]
    verdict: str


def write_pictures(folder: Path, names: Sequence[str], answered: Sequence[Answered]) -> None:
    """Thumbnails of the first answers, and the worst answers beside question and truth (`names`), into `folder`.

    ValueError where nothing was answered.
    """
    (folder / THUMBNAILS).write_bytes(strip([one.pictures[1] for one in answered]))
    worst = sorted(answered, key=lambda one: -one.distance)[:WORST_SHOWN]
    captions = [f"{one.caption}  {one.source}" for one in worst]
    sheet(names, [one.pictures for one in worst], captions).save(folder / FAILURES)
    said = [{"source": one.source, "distance": round(one.distance, 6), "caption": one.caption} for one in worst]
    (folder / WORST).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def write_card(target: Path, subject: Subject, baselines: Basis, evaluation: Path, data: Path, prepared: Path) -> None:
    """Writes the folder `target`: card.md and failures.png.

    `evaluation` is what `evaluate` left, `data` the raw photographs (for their licence), `prepared` the prepared sets.
    StageError where `evaluation` has no failures.
    """
    try:
        worst = json.loads((evaluation / WORST).read_text(encoding="utf-8"))
        with fresh_folder(target) as folder:
            shutil.copy(evaluation / FAILURES, folder / FAILURES)
            text = "\n".join(_card(subject, baselines, worst, data, prepared))
            (folder / CARD).write_text(text, encoding="utf-8")
    except FileNotFoundError as error:
        recipe = subject.config.recipe
        raise StageError(f"{error.filename} is missing; run `python -m pipelines.evaluate {recipe}`") from error


def publish(registry: Registry, version: Version, card: Path) -> None:
    """Gives MLflow the card in the folder `card`: the version's description, and artifacts of its run."""
    tracking.log_files(version.run_id, [card / CARD, card / FAILURES], "card")
    registry.describe(version, (card / CARD).read_text(encoding="utf-8"))


def licence(name: str, data: Path) -> str:
    """The licence of a set's photographs: what data/<set>/LICENSE* begins with, and what data/SOURCES.md says of it.

    Of SOURCES.md count the rows of a table that name the set's folder, and whole lines that speak of a licence.
    """
    files = sorted([*(data / name).glob("LICENSE*"), *(data / name).glob("LICENCE*")])
    said = [f"`{path.name}`: {_first_line(path)}" for path in files]
    sources = data / SOURCES
    if sources.exists():
        lines = sources.read_text(encoding="utf-8").splitlines()
        said += [_cells(line) for line in lines if line.startswith("|") and f"{name}/" in line]
        said += [line for line in lines if not line.startswith("|") and _SPEAKS.search(line)]
    return "; ".join(said) or f"unknown: say so in data/{SOURCES}"


def _card(
    subject: Subject, baselines: Basis, worst: Sequence[Mapping[str, Any]], data: Path, prepared: Path
) -> Iterator[str]:
    config = subject.config
    yield f"# {subject.version}: {config.recipe}\n"
    yield f"{_about(config.recipe)}\n"
    yield f"Task: {config.task}. Working size: {config.size} px. {_LIMITS[config.task]}\n"
    yield f"**Verdict.** {subject.verdict}\n"
    yield f"## Metrics\n\n{_metrics(subject, baselines)}"
    yield f"## Where it fails\n\nThe worst answers to the frozen photographs, shown in `{FAILURES}` beside this card:\n"
    yield "".join(f"- `{one['source']}`: {one['caption']}\n" for one in worst)
    yield f"## Data\n\n{_data(config, prepared)}"
    yield "".join(f"- licence of `{name}`: {licence(name, data)}\n" for name in sorted(config.data))
    yield f"## Made by\n\nTraining run `{config.run}`; bundle `{subject.bundle_sha256}`.\n"
    yield f"```yaml\n{yaml.safe_dump(config.params, sort_keys=True)}```\n"


def _about(recipe: str) -> str:
    """The first line of the recipe's own file, which names its paper."""
    told = inspect.getmodule(CATALOGUE[recipe].recipe)
    return (inspect.getdoc(told) or recipe).splitlines()[0] if told else recipe


def _metrics(subject: Subject, baselines: Basis) -> str:
    rows = {subject.version: subject.metrics, **baselines.rows}
    shown = columns(subject.config.task, baselines.judged_by, list(rows.values()))
    lines = [[f"{one.name} {one.arrow}", *(one.written(metrics) for metrics in rows.values())] for one in shown]
    said = f"\nOn the frozen photographs `{baselines.frozen_sha256[:12]}`; all but the version need no learning.\n"
    return markdown_table(["", *rows], lines) + said


def _data(config: Config, prepared: Path) -> str:
    lines = [
        [name, manifest[:12], *_counts(prepared / name, manifest)] for name, manifest in sorted(config.data.items())
    ]
    return markdown_table(["set", "manifest sha256", "training", "validation", "test", "left out"], lines)


def _counts(prepared: Path, manifest: str) -> list[str]:
    """Photographs of each split as the prepared set here says, if it is still the one that was learnt from."""
    try:
        if data_hashes([prepared])[prepared.name] != manifest:
            return ["(prepared anew since)", "", "", ""]
        report = json.loads((prepared / "report.json").read_text(encoding="utf-8"))
    except (StageError, OSError, ValueError):
        return ["(not here)", "", "", ""]
    splits, left_out = report["splits"], report["left_out"]
    reasons = ", ".join(f"{reason} {count}" for reason, count in left_out.items())
    return [str(splits["train"]), str(splits["validation"]), str(splits["test"]), reasons or "none"]


def _first_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in lines if line.strip()), "(empty)")


def _cells(line: str) -> str:
    """A line of markdown, of a table or a list, as plain words."""
    return " · ".join(cell.strip() for cell in line.strip("|*- ").split("|"))
