"""How colour follows lightness around every pixel: the local linear model of the guided filter.

He, Sun, Tang 2010 (Guided image filtering), equations 5 and 6; solved at a small size and carried up to a large one as
in He and Sun 2015 (Fast guided filter, arXiv 1505.00996).
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# The best of radius 1, 2, 4 and edge 2, 4, 8, 16 on photographs' own colours made small: docs/big-scans.md.
RADIUS = 1  # pixels around one that its line is fitted to: a square of 3
EDGE = 16.0  # a step in L from which on it counts as an edge: the square root of the filter's epsilon


def slopes(lightness: NDArray[np.float32], colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much a and b (h, w, 2) change with L (h, w) around each pixel, (h, w, 2) Lab units a unit of L.

    The filter's coefficient a, averaged over the squares that a pixel is in; toward 0 where L is flat.
    """
    mean = _around(lightness)
    variance = np.maximum(_around(lightness * lightness) - mean * mean, 0)
    covariance = _around(lightness[:, :, None] * colors) - mean[:, :, None] * _around(colors)
    return _around(covariance / (variance + np.float32(EDGE) ** 2)[:, :, None])


def _around(values: NDArray[Any]) -> NDArray[np.float32]:
    side = 2 * RADIUS + 1
    return np.asarray(cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)
