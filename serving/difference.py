"""How two pictures of one photograph differ, for the shadow's metrics; evaluation has its own in pipelines."""

from collections.abc import Iterator
from math import inf, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BAND = 1 << 20  # pixels that are worked on at a time, so that a scan needs little beside itself


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio in dB of two pictures (H, W, 3) of one depth; inf where they are equal."""
    squares = sum(
        float(np.square(a.astype(np.float64) - b).sum()) for a, b in zip(_bands(one), _bands(other), strict=True)
    )
    peak = float(np.iinfo(one.dtype).max)
    return -10 * log10(squares / one.size / peak**2) if squares else inf


def colorfulness(photo: NDArray[Any]) -> float:
    """How colourful a picture (H, W, 3) looks: 0 for a grey one, 15 slightly, 45 quite, 82 highly.

    Hasler and Suesstrunk 2003, section 6 (M3), on a scale of 255: the spread plus 0.3 of the mean of the *signed*
    opponents red - green and (red + green) / 2 - blue.
    """
    sums, squares = np.zeros(2), np.zeros(2)
    for band in _bands(photo):
        red, green, blue = np.moveaxis(band.astype(np.float64), -1, 0) * (255 / np.iinfo(photo.dtype).max)
        for i, opponent in enumerate((red - green, (red + green) / 2 - blue)):
            sums[i] += opponent.sum()
            squares[i] += np.square(opponent).sum()
    pixels = photo.shape[0] * photo.shape[1]
    means = sums / pixels
    variance = np.maximum(squares / pixels - means**2, 0).sum()
    return float(np.sqrt(variance) + 0.3 * np.hypot(*means))


def _bands(photo: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, _BAND // photo.shape[1])
    for top in range(0, photo.shape[0], step):
        yield photo[top : top + step]
