"""How people, and networks trained like them, would see the difference: LPIPS, Fréchet distance, precision, classes.

What a network sees in photographs is looked at once, in batches (`perceive`), and everything is measured from that.
Each measure's name ends in its extractor's: the numbers of two extractors have nothing to do with each other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from models.alexnet import Heads
from models.features import Extractor, Features
from models.image import to_tensor
from pipelines.metrics import Photo

NEIGHBOURS = 3  # Kynkaanniemi 2019, section 3


@dataclass(frozen=True)
class Seen:
    """What an extractor saw in N photographs."""

    pooled: NDArray[np.float32]  # (N, D)
    logits: NDArray[np.float32] | None  # (N, 1000), None where the extractor is no classifier


@dataclass(frozen=True)
class Perceived:
    """What an extractor saw in N photographs, and how far it found each from its truth (LPIPS)."""

    seen: Seen
    distances: NDArray[np.float64]  # (N,)


def look(extractor: Extractor, photos: Sequence[Photo], batch: int) -> Seen:
    """What `extractor` sees in uint8 sRGB photographs (H, W, 3) of one size, `batch` at a time on its device.

    Raises ValueError where there is none or sizes differ.
    """
    return perceive(extractor, None, photos, {}, batch)[0]


def perceive(
    extractor: Extractor,
    heads: Heads | None,
    truths: Sequence[Photo],
    sets: Mapping[str, Sequence[Photo]],
    batch: int,
) -> tuple[Seen, dict[str, Perceived]]:
    """What `extractor` sees in the true photographs, and in each of `sets`: answers to the same, in the same order.

    Each photograph is looked at once: `batch` truths, then the same few of every set, whose distances are taken while
    both are at hand. uint8 sRGB (H, W, 3) of one size. Raises ValueError where there is none, a set has more or fewer
    than there are truths, or sizes differ.
    """
    _check_counts(truths, sets)
    true_parts: list[Seen] = []
    parts: dict[str, list[Seen]] = {name: [] for name in sets}
    distances: dict[str, list[NDArray[np.float64]]] = {name: [] for name in sets}
    with torch.inference_mode(), tqdm(total=len(truths), desc=extractor.name, unit="photograph", disable=None) as bar:
        for some in _slices(len(truths), batch):
            truth = extractor(_stack(truths[some], extractor))
            true_parts.append(_seen(truth))
            for name, photos in sets.items():
                features = extractor(_stack(photos[some], extractor))
                parts[name].append(_seen(features))
                distances[name].append(_array(distance(features.levels, truth.levels, heads)).astype(np.float64))
            bar.update(len(truths[some]))
    return _joined(true_parts), {
        name: Perceived(_joined(parts[name]), np.concatenate(distances[name])) for name in sets
    }


def lpips(
    extractor: Extractor, heads: Heads | None, photos: Sequence[Photo], truths: Sequence[Photo], batch: int
) -> NDArray[np.float64]:
    """LPIPS (N,) of photographs and their truths alone, as `perceive` takes it with everything else."""
    return perceive(extractor, heads, truths, {"photos": photos}, batch)[1]["photos"].distances


def lpips_name(extractor: Extractor, heads: Heads | None) -> str:
    """`lpips_<extractor>`; ends in `_lin` where linear heads trained on people's judgements weigh the channels."""
    return f"lpips_{extractor.name}" + ("" if heads is None else "_lin")


def distance(levels: Sequence[Tensor], true_levels: Sequence[Tensor], heads: Heads | None) -> Tensor:
    """LPIPS of feature maps (B, C_l, H_l, W_l) to those of the truth -> (B,): Zhang 2018 (1801.03924), equation 1.

    Features of each pixel are scaled to unit length; their squared difference is summed over the channels, weighed by
    `heads` where there are some, and averaged over the pixels. With heads the levels are summed as the paper does;
    without, where all channels weigh 1, they are averaged, so that the number does not grow with the levels: in [0, 4].
    """
    squares = [(_unit(level) - _unit(truth)) ** 2 for level, truth in zip(levels, true_levels, strict=True)]
    if heads is not None:
        return torch.stack([level.mean(dim=(1, 2, 3)) for level in heads(squares)]).sum(dim=0)
    return torch.stack([level.sum(dim=1).mean(dim=(1, 2)) for level in squares]).mean(dim=0)


def measures(
    extractor: Extractor, heads: Heads | None, truth: Seen, perceived: Perceived, labels: Sequence[int | None]
) -> dict[str, float]:
    """Every measure of one set by its name: `lpips_...`, `frechet_...`, `precision_...`, `recall_...`, `f1_...`.

    Classifiers have `class_accuracy_...` (of the photographs with a label; `labels` are indices of classes) and
    `class_agreement_...`, with what the classifier says of the truth. What cannot be said is left out: Fréchet
    distance of one photograph, precision and recall of three or fewer, classes where none is labelled.
    """
    name, seen = extractor.name, perceived.seen
    found = {lpips_name(extractor, heads): float(perceived.distances.mean())}
    if len(seen.pooled) > 1:
        found[f"frechet_{name}"] = frechet(truth.pooled, seen.pooled)
    if len(seen.pooled) > NEIGHBOURS:
        of_three = precision_recall(truth.pooled, seen.pooled, NEIGHBOURS)
        found |= dict(zip((f"precision_{name}", f"recall_{name}", f"f1_{name}"), of_three, strict=True))
    if seen.logits is not None and truth.logits is not None:
        found[f"class_agreement_{name}"] = class_agreement(seen.logits, truth.logits)
        if any(label is not None for label in labels):
            found[f"class_accuracy_{name}"] = class_accuracy(seen.logits, labels)
    return found


def frechet(real: NDArray[np.floating], made: NDArray[np.floating]) -> float:
    """Fréchet distance of two sets of features (N1, D), (N2, D), d squared: Heusel 2017 (1706.08500), eq. 6.

    |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2) of the means and the covariances (unbiased, with N - 1). Where
    C = F^T F, the last trace is the sum of the singular values of F1 F2^T: exact, with no root of a D x D matrix,
    and that product is no larger than N1 x N2. The distance of few photographs is too large by an amount that
    depends on N, so only sets of the same size compare. Raises ValueError where a set has fewer than two.
    """
    _check_widths(real, made, fewest=2)
    factor, made_factor = _covariance_factor(real), _covariance_factor(made)
    means = np.sum((real.mean(0, dtype=np.float64) - made.mean(0, dtype=np.float64)) ** 2)
    common = np.linalg.svd(factor @ made_factor.T, compute_uv=False).sum()
    return max(0.0, float(means + np.sum(factor**2) + np.sum(made_factor**2) - 2 * common))


def precision_recall(
    real: NDArray[np.floating], made: NDArray[np.floating], neighbours: int
) -> tuple[float, float, float]:
    """Improved precision, recall and F1 in [0, 1] of features (N1, D), (N2, D): Kynkäänniemi 2019 (1904.06991).

    Section 3, equations 1 and 2: precision is the share of `made` that lies in a ball around some of `real` as wide
    as that one's distance to its k-th nearest neighbour; recall is the same the other way round; F1 is their harmonic
    mean, 0 where both are. Raises ValueError where a set has no more than `neighbours`.
    """
    _check_widths(real, made, fewest=neighbours + 1)
    between = _distances(real, made)  # (N1, N2)
    precision = float((between <= _radii(real, neighbours)[:, None]).any(axis=0).mean())
    recall = float((between <= _radii(made, neighbours)[None, :]).any(axis=1).mean())
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def hits(logits: NDArray[np.floating], labels: Sequence[int | None]) -> NDArray[np.float64]:
    """1 where the highest of the logits (N, classes) is the label's, 0 where not, NaN where there is no label: (N,)."""
    pairs = zip(logits.argmax(axis=1), labels, strict=True)
    return np.array([np.nan if label is None else float(said == label) for said, label in pairs])


def class_accuracy(logits: NDArray[np.floating], labels: Sequence[int | None]) -> float:
    """Top-1 accuracy in [0, 1] over the photographs that have a label; ValueError where none has."""
    marked = hits(logits, labels)
    if np.isnan(marked).all():
        raise ValueError(f"none of the {len(labels)} photographs has a label; class accuracy needs one")
    return float(np.nanmean(marked))


def class_agreement(logits: NDArray[np.floating], true_logits: NDArray[np.floating]) -> float:
    """Share in [0, 1] of photographs of which the classifier says what it says of the truth; both (N, classes)."""
    return float(np.mean(logits.argmax(axis=1) == true_logits.argmax(axis=1)))


def _unit(level: Tensor) -> Tensor:
    level = level.float()
    return level / (level.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


def _covariance_factor(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """F with F^T F the covariance of (N, D) features: (min(N, D), D)."""
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    scaled = centred / np.sqrt(len(features) - 1)
    return scaled if len(scaled) <= scaled.shape[1] else np.asarray(np.linalg.qr(scaled, mode="r"))


def _radii(features: NDArray[np.floating], neighbours: int) -> NDArray[np.float64]:
    # The nearest of all is the photograph itself, at distance 0.
    return np.partition(_distances(features, features), neighbours, axis=1)[:, neighbours]


def _distances(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    # By differences: by products the distance of equal features is not quite 0, which duplicates would show.
    exact = "donot_use_mm_for_euclid_dist"
    return np.asarray(
        torch.cdist(torch.from_numpy(one).double(), torch.from_numpy(other).double(), compute_mode=exact).numpy()
    )


def _slices(count: int, batch: int) -> Iterator[slice]:
    return (slice(start, start + batch) for start in range(0, count, batch))


def _stack(photos: Sequence[Photo], extractor: Extractor) -> Tensor:
    shapes = sorted({photo.shape for photo in photos})
    if len(shapes) > 1:
        raise ValueError(f"photographs have shapes {shapes[0]} and {shapes[1]}; they must be of one size")
    return torch.stack([to_tensor(photo) for photo in photos]).to(extractor.mean.device)


def _seen(features: Features) -> Seen:
    return Seen(_array(features.pooled), None if features.logits is None else _array(features.logits))


def _joined(parts: Sequence[Seen]) -> Seen:
    logits = [part.logits for part in parts if part.logits is not None]
    return Seen(np.concatenate([part.pooled for part in parts]), np.concatenate(logits) if logits else None)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.cpu().numpy(), np.float32)


def _check_counts(truths: Sequence[Photo], sets: Mapping[str, Sequence[Photo]]) -> None:
    if not truths:
        raise ValueError("there is no photograph to look at")
    for name, photos in sets.items():
        if len(photos) != len(truths):
            raise ValueError(f"{name} has {len(photos)} photographs; it must have {len(truths)}, one for each truth")


def _check_widths(real: NDArray[np.floating], made: NDArray[np.floating], fewest: int) -> None:
    for features in (real, made):
        if features.ndim != 2 or len(features) < fewest or features.shape[1] != real.shape[1]:
            raise ValueError(
                f"features have shapes {real.shape} and {made.shape}; they must be (N, D), with the same D and N at"
                f" least {fewest}"
            )
