"""Numbers beside each other: which metrics a table of a task shows, in which order, and how they are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.task import Task

# What people are used to first, where a photograph was looked at by several networks.
_EXTRACTORS = ("alexnet", "inception")
_PICTURE = (
    *("lpips_", "frechet_", "precision_", "recall_", "f1_"),
    *("psnr", "psnr_inside", "ssim", "ssim_inside", "ms_ssim"),
    *("colourfulness_difference", "class_accuracy_"),
)
_MASK = ("f1", "precision", "recall", "iou")
_LOWER = ("lpips_", "frechet_")
_NEAR_NOUGHT = ("colourfulness_difference",)
_DIGITS = {"psnr": 2, "psnr_inside": 2, "frechet_": 2, "colourfulness_difference": 1}


@dataclass(frozen=True)
class Column:
    """A metric in a table."""

    name: str  # the metric's own, with its extractor's
    kind: str  # the name without the extractor's: `lpips_`

    @property
    def arrow(self) -> str:
        """Where better is."""
        if self.kind in _NEAR_NOUGHT:
            return "→0"
        return "↓" if self.kind in _LOWER else "↑"

    def written(self, metrics: Mapping[str, Any]) -> str:
        """The number as tables show it; a dash where it is not measured."""
        value = metrics.get(self.name)
        if value is None:
            return "-"
        digits = _DIGITS.get(self.kind, 3)
        return f"{value:+.{digits}f}" if self.kind in _NEAR_NOUGHT else f"{value:.{digits}f}"

    def place(self, metrics: Mapping[str, Any]) -> float:
        """A number to sort by: the best comes first. The metric must be there."""
        value = float(metrics[self.name])
        if self.kind in _NEAR_NOUGHT:
            return abs(value)
        return value if self.kind in _LOWER else -value


def columns(task: Task, judged_by: str, measured: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The metrics that `measured` have, in the order of a table: first the one that judges, such as `lpips_mobilenet`.

    Of metrics that several networks measured, that of the network which people are used to.
    """
    names = sorted({name for metrics in measured for name in metrics}, key=_familiar)
    kinds = _MASK if task is Task.DETECT else _PICTURE
    chosen = [(kind, judged_by if _fits(judged_by, kind) else _named(kind, names)) for kind in kinds]
    return [Column(name, kind) for kind, name in chosen if name is not None]


def markdown_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in markdown; texts may hold anything."""
    rows = [list(headings), ["---"] * len(headings), *lines]
    return "".join("| " + " | ".join(_cell(text) for text in row) + " |\n" for row in rows)


def _named(kind: str, names: Sequence[str]) -> str | None:
    return next((name for name in names if _fits(name, kind)), None)


def _fits(name: str, kind: str) -> bool:
    return name == kind or ((kind.endswith("_") or kind == "ms_ssim") and name.startswith(kind))


def _familiar(name: str) -> tuple[int, str]:
    ranks = [place for place, extractor in enumerate(_EXTRACTORS) if extractor in name]
    return (ranks[0] if ranks else len(_EXTRACTORS), name)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
