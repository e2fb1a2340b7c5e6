"""The one protocol by which answers to a frozen set are measured: the same for recipes, baselines and old champions.

Pictures are measured against the truth by pixels (`pipelines/metrics.py`) and by what fixed networks see in them
(`pipelines/perception.py`); a detector's masks by their overlap with the true ones.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.alexnet import Heads, load_heads
from models.features import ALEXNET, INCEPTION, MOBILENET, Extractor, build_extractor
from models.imagenet_classes import class_of
from models.published import WeightsError
from models.task import Task
from pipelines.freeze import Pair
from pipelines.metrics import Photo, colourfulness, ms_ssim_name, score
from pipelines.params import Evaluate
from pipelines.perception import Perceived, Seen, class_accuracy, lpips_name, measures, perceive
from pipelines.stage import StageError

FOUND = 128  # a detector's answer is white where it says destroyed: from one half on
_ROOT = Path(__file__).resolve().parent.parent
_CODE = (
    *("models/alexnet.py", "models/features.py", "models/imagenet_classes.py", "models/inception.py"),
    *("models/mobilenet.py", "pipelines/examination.py", "pipelines/metrics.py", "pipelines/perception.py"),
)


@dataclass(frozen=True)
class Eye:
    """A fixed network that looks at photographs, and how its channels are weighed where people said how."""

    extractor: Extractor
    heads: Heads | None


@dataclass(frozen=True)
class Examined:
    """What a set of answers got."""

    metrics: dict[str, float]  # of all photographs together
    rows: list[dict[str, float]]  # photograph by photograph, in the frozen set's order


@dataclass(frozen=True)
class Examination:
    """Every set of answers measured, and what can be said of the truth itself."""

    truth: Examined
    sets: dict[str, Examined]


@dataclass(frozen=True)
class Judged:
    """The names of the metrics that decide who is better."""

    distance: str  # of each photograph: LPIPS; a detector's F1, whose distance is what it lacks of 1
    frechet: str | None  # of all of them together


def open_eyes(params: Evaluate) -> list[Eye]:
    """MobileNetV2, and Inception and AlexNet where params name their files; StageError where a file is not theirs."""
    files = [
        (MOBILENET, params.mobilenet_weights, params.mobilenet_sha256),
        (INCEPTION, params.inception_weights, params.inception_sha256),
        (ALEXNET, params.alexnet_weights, params.alexnet_sha256),
    ]
    wanted = [(name, weights, sha256) for name, weights, sha256 in files if weights or name == MOBILENET]
    try:
        heads = load_heads(Path(params.lpips_heads), params.lpips_heads_sha256) if params.lpips_heads else None
        return [Eye(build_extractor(*one), heads if one[0] == ALEXNET else None) for one in wanted]
    except WeightsError as error:
        raise StageError(f"evaluate: {error}") from error


def protocol(params: Evaluate) -> str:
    """A hash of what measures: the networks' files and the code. Numbers of two protocols are never compared."""
    files = [
        sha256 if weights else ""
        for weights, sha256 in (
            (params.mobilenet_weights, params.mobilenet_sha256),
            (params.inception_weights, params.inception_sha256),
            (params.alexnet_weights, params.alexnet_sha256),
            (params.lpips_heads, params.lpips_heads_sha256),
        )
    ]
    code = {name: ast.dump(ast.parse((_ROOT / name).read_text(encoding="utf-8"))) for name in _CODE}
    return hashlib.sha256(json.dumps({"files": files, "code": code}, sort_keys=True).encode()).hexdigest()


def judged_by(task: Task, eyes: Sequence[Eye]) -> Judged:
    """LPIPS by AlexNet and Fréchet distance by Inception, as papers give them; by MobileNetV2 without their files."""
    if task is Task.DETECT:
        return Judged("f1", None)
    by_name = {eye.extractor.name: eye for eye in eyes}
    near, wide = by_name.get(ALEXNET, eyes[0]), by_name.get(INCEPTION, eyes[0])
    return Judged(lpips_name(near.extractor, near.heads), f"frechet_{wide.extractor.name}")


def examine(
    task: Task, pairs: Sequence[Pair], sets: Mapping[str, Sequence[Photo]], eyes: Sequence[Eye], batch: int
) -> Examination:
    """Measures each of `sets`, answers to the pairs in their order: uint8 sRGB (H, W, 3), as large as the questions.

    A detector's answer is white where the photograph is destroyed, and `eyes` do not look at it. ValueError where a
    set has not one answer for each pair, or of another size.
    """
    if task is Task.DETECT:
        found = {name: _detected(pairs, answers) for name, answers in sets.items()}
        return Examination(Examined({}, [{} for _ in pairs]), found)
    rows = {name: [_scores(one, pair) for one, pair in zip(sets[name], pairs, strict=True)] for name in sets}
    true_rows = [{"colourfulness": colourfulness(pair.clean)} for pair in pairs]
    truth, seen = dict(_means(true_rows)), {name: dict(_means(rows[name])) for name in sets}
    for metrics in seen.values():
        metrics["colourfulness_difference"] = metrics["colourfulness"] - truth["colourfulness"]
    labels = [class_of(pair.labels) for pair in pairs]
    for eye in eyes:
        clean, perceived = perceive(eye.extractor, eye.heads, [pair.clean for pair in pairs], sets, batch)
        truth |= _true_classes(eye, clean, labels)
        for name, one in perceived.items():
            seen[name] |= measures(eye.extractor, eye.heads, clean, one, labels)
            _add_distances(rows[name], eye, one)
    return Examination(Examined(truth, true_rows), {name: Examined(seen[name], rows[name]) for name in sets})


def distances(examined: Examined, judged: Judged) -> NDArray[np.float64]:
    """Of each photograph from its truth (N,), 0 at best: LPIPS, or what a detector's F1 lacks of 1."""
    values = np.array([row[judged.distance] for row in examined.rows], np.float64)
    return 1 - values if judged.distance == "f1" else values


def overlap(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Precision, recall, F1 and intersection over union in [0, 1] of a mask (H, W) and the true one.

    What has nothing to divide by is 1: nothing found is never wrong, nothing destroyed is found whole. An undamaged
    photograph in which something is found has an F1 of 0.
    """
    both, either = int((answer & truth).sum()), int((answer | truth).sum())
    found, destroyed = int(answer.sum()), int(truth.sum())
    return {
        "precision": both / found if found else 1.0,
        "recall": both / destroyed if destroyed else 1.0,
        "f1": 2 * both / (found + destroyed) if found + destroyed else 1.0,
        "iou": both / either if either else 1.0,
    }


def _detected(pairs: Sequence[Pair], answers: Sequence[Photo]) -> Examined:
    rows = [overlap(answer[:, :, 0] >= FOUND, pair.mask) for answer, pair in zip(answers, pairs, strict=True)]
    return Examined(dict(_means(rows)), rows)


def _scores(answer: Photo, pair: Pair) -> dict[str, float]:
    """By name, without what cannot be said of this photograph, such as `psnr_inside` where nothing was destroyed."""
    scores: dict[str, float] = asdict(score(answer, pair.clean, pair.mask))
    scores[ms_ssim_name(*answer.shape[:2])] = scores.pop("ms_ssim")
    return {name: value for name, value in scores.items() if not np.isnan(value)}


def _means(rows: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, float]]:
    """Of each name, over the photographs that have it."""
    for name in dict.fromkeys(name for row in rows for name in row):
        yield name, float(np.mean([row[name] for row in rows if name in row]))


def _true_classes(eye: Eye, clean: Seen, labels: Sequence[int | None]) -> dict[str, float]:
    if clean.logits is None or all(label is None for label in labels):
        return {}
    return {f"class_accuracy_{eye.extractor.name}": class_accuracy(clean.logits, labels)}


def _add_distances(rows: Sequence[dict[str, Any]], eye: Eye, perceived: Perceived) -> None:
    name = lpips_name(eye.extractor, eye.heads)
    for row, distance in zip(rows, perceived.distances, strict=True):
        row[name] = float(distance)
