"""Which version deserves to be served: a verdict from numbers alone, with every number that led to it.

A candidate must be better than doing nothing, than what works without learning, and than the present champion. Better
means nearer to the truth as people would see it, on the same photographs, by more than chance: the interval of the
mean difference, from resampled photographs, lies below 0 as a whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.params import Register

Kind = Literal["nothing", "classical", "champion"]


@dataclass(frozen=True)
class Measured:
    """One way of answering the frozen photographs."""

    name: str
    distances: NDArray[np.float64]  # (N,) of each photograph from its truth, 0 at best; in the frozen set's order
    frechet: float | None  # of all of them together; None where it is not measured


@dataclass(frozen=True)
class Rival:
    """What the candidate must be better than."""

    kind: Kind
    measured: Measured


@dataclass(frozen=True)
class Comparison:
    """Candidate against one rival; `low` to `high` is the interval of `difference` (candidate's minus rival's)."""

    name: str
    kind: Kind
    distance: float  # the rival's mean
    difference: float
    low: float
    high: float
    frechet: float | None  # the rival's
    better: bool


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is better than each of its rivals, and by how much."""

    distance: float  # the candidate's mean
    frechet: float | None
    photographs: int
    confidence: float
    resamples: int
    seed: int
    against: list[Comparison]

    @property
    def passed(self) -> bool:
        """Better than every rival."""
        return all(one.better for one in self.against)

    def sentence(self) -> str:
        """Such as `better than damaged (-0.050, 95 % from -0.060 to -0.040), not than telea (...)`."""
        said = [
            f"{'better' if one.better else 'not better'} than {one.name} ({', '.join(self._numbers(one))})"
            for one in self.against
        ]
        return ", ".join(said)

    def numbers(self) -> dict[str, Any]:
        """Everything, for gate.json."""
        rounded = [
            {key: round(value, 6) if type(value) is float else value for key, value in asdict(one).items()}
            for one in self.against
        ]
        return {
            "passed": self.passed,
            "distance": round(self.distance, 6),
            "frechet": None if self.frechet is None else round(self.frechet, 6),
            "photographs": self.photographs,
            "confidence": self.confidence,
            "resamples": self.resamples,
            "seed": self.seed,
            "against": rounded,
        }

    def _numbers(self, one: Comparison) -> Iterator[str]:
        yield f"{one.difference:+.4f}, {100 * self.confidence:g} % from {one.low:+.4f} to {one.high:+.4f}"
        if one.kind != "champion" and one.frechet is not None and self.frechet is not None:
            yield f"Fréchet {self.frechet:.4g} against {one.frechet:.4g}"


def judge(candidate: Measured, rivals: Sequence[Rival], params: Register) -> Verdict:
    """The candidate beside each rival; ValueError where one was measured on another number of photographs.

    Of the champion the distances decide alone; of the others the Fréchet distance must be below theirs too, where both
    have one. Against the champion it would be noise: that of few photographs has no interval.
    """
    return Verdict(
        distance=float(candidate.distances.mean()),
        frechet=candidate.frechet,
        photographs=len(candidate.distances),
        confidence=params.confidence,
        resamples=params.resamples,
        seed=params.seed,
        against=[_compare(candidate, rival, params) for rival in rivals],
    )


def interval(differences: NDArray[np.float64], resamples: int, confidence: float, seed: int) -> tuple[float, float]:
    """The bootstrap interval of the mean of (N,): percentiles of the means of N photographs drawn with repetition.

    Efron and Tibshirani 1993, section 13.3. A function of its arguments; that of one photograph has no width.
    """
    stream, count = np.random.default_rng(seed), len(differences)
    means = [differences[stream.integers(0, count, count)].mean() for _ in range(resamples)]
    outside = (1 - confidence) / 2
    low, high = np.quantile(means, [outside, 1 - outside])
    return float(low), float(high)


def _compare(candidate: Measured, rival: Rival, params: Register) -> Comparison:
    other = rival.measured
    if candidate.distances.shape != other.distances.shape:
        raise ValueError(
            f"{candidate.name} was measured on {len(candidate.distances)} photographs and {other.name} on"
            f" {len(other.distances)}; they must be the same"
        )
    differences = candidate.distances - other.distances
    low, high = interval(differences, params.resamples, params.confidence, params.seed)
    return Comparison(
        name=other.name,
        kind=rival.kind,
        distance=float(other.distances.mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        frechet=other.frechet,
        better=high < 0 and (rival.kind == "champion" or _nearer(candidate, other)),
    )


def _nearer(candidate: Measured, other: Measured) -> bool:
    """As a set; True where it is not known of both."""
    return candidate.frechet is None or other.frechet is None or candidate.frechet < other.frechet
