"""Colours predicted at working size, joined to the lightness of the full-size photograph.

The eye sees detail in lightness and little of it in colour, so L is never resized and no detail is lost (Zhang 2016 and
everyone after). All is done by bands of rows, so a large photograph needs little beside itself.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.color import fit_to_gamut, lab_to_rgb, rgb_to_lab
from models.guided_filter import slopes
from models.image import to_photo, to_tensor

LONGEST = 3  # the long side is worked on at no more than this many times the short one
BAND = 1 << 18  # pixels of a photograph that are converted at a time


def working_shape(height: int, width: int, size: int, multiple: int) -> tuple[int, int]:
    """The shape a photograph is coloured at: short side `size`, aspect kept, both multiples of `multiple`."""
    scale = size / min(height, width)
    sides = (min(height * scale, LONGEST * size), min(width * scale, LONGEST * size))
    high, wide = (max(multiple, round(side / multiple) * multiple) for side in sides)
    return high, wide


def working_lightness(photo: NDArray[Any], size: int, multiple: int) -> Tensor:
    """L (1, h, w) in [0, 100] of a photograph (H, W, 3), at its working shape."""
    height, width = photo.shape[:2]
    return _lightness_at(photo, *working_shape(height, width, size, multiple))


def join_colors(photo: NDArray[Any], ab: NDArray[np.float32]) -> NDArray[Any]:
    """A photograph (H, W, 3) with the colours ab (2, h, w) and its own L, in its own depth.

    Colours of the photograph's own size are taken as they are. Others are enlarged, and where the full-size L differs
    from the enlarged L of their size, at edges, they change with it: see `_enlarged`.
    """
    height, width = photo.shape[:2]
    color_of = _as_given(ab) if ab.shape[1:] == (height, width) else _enlarged(photo, ab)
    result = np.empty_like(photo)
    step = max(1, BAND // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        lightness = rgb_to_lab(to_tensor(photo[rows])[None])[:, :1]
        color = color_of(rows, lightness[0, 0].numpy())
        lab = torch.cat((lightness, torch.from_numpy(color).permute(2, 0, 1)[None]), dim=1)
        result[rows] = to_photo(lab_to_rgb(fit_to_gamut(lab))[0], photo.dtype)
    return result


ColorOf = Callable[[slice, NDArray[np.float32]], NDArray[np.float32]]
"""The colours (rows, W, 2) of a band of rows, whose L is (rows, W)."""


def _as_given(ab: NDArray[np.float32]) -> ColorOf:
    return lambda rows, lightness: np.ascontiguousarray(ab[:, rows].transpose(1, 2, 0))


def _enlarged(photo: NDArray[Any], ab: NDArray[np.float32]) -> ColorOf:
    """Colours for every pixel: ab enlarged, plus slope times what enlarging L loses of it.

    That is the fast guided filter (slopes found at the small size, enlarged, applied to the full-size L) with its
    residual given back: the filter alone blurs what the network predicted, and is further from true colours than
    bicubic enlarging is (docs/big-scans.md).
    """
    height, width = photo.shape[:2]
    small = ab.transpose(1, 2, 0)  # (h, w, 2)
    lightness = _lightness_at(photo, *ab.shape[1:])[0].numpy()
    planes = np.dstack((small, slopes(lightness, small), lightness))  # (h, w, 5)
    across = cv2.resize(planes, (width, len(planes)), interpolation=cv2.INTER_CUBIC)  # (h, W, 5)
    # Resizing an identity gives the matrix that resizes: any band of rows is then one product away.
    down = cv2.resize(np.eye(len(planes), dtype=np.float32), (len(planes), height), interpolation=cv2.INTER_CUBIC)

    def color_of(rows: slice, lightness: NDArray[np.float32]) -> NDArray[np.float32]:
        taken = np.flatnonzero(down[rows].any(axis=0))
        used = slice(taken[0], taken[-1] + 1)
        enlarged = np.tensordot(down[rows, used], across[used], axes=1)  # (rows, W, 5)
        lost = lightness - enlarged[:, :, 4]
        return np.asarray(enlarged[:, :, :2] + enlarged[:, :, 2:4] * lost[:, :, None], np.float32)

    return color_of


def _lightness_at(photo: NDArray[Any], high: int, wide: int) -> Tensor:
    """L (1, high, wide) in [0, 100] of a photograph (H, W, 3) resized."""
    height, width = photo.shape[:2]
    # One axis at a time: a long strip may shrink along one and grow along the other.
    small = cv2.resize(photo, (wide, height), interpolation=cv2.INTER_AREA if wide < width else cv2.INTER_CUBIC)
    small = cv2.resize(small, (wide, high), interpolation=cv2.INTER_AREA if high < height else cv2.INTER_CUBIC)
    return rgb_to_lab(to_tensor(small)[None])[0, :1]
