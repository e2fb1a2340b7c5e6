"""Colours predicted at working size, joined to the lightness of the full-size photograph.

The eye sees detail in lightness and little of it in colour, so L is never resized and no detail is lost (Zhang 2016 and
everyone after). All is done by bands of rows, so a large photograph needs little beside itself.
"""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.color import fit_to_gamut, lab_to_rgb, rgb_to_lab
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
    high, wide = working_shape(height, width, size, multiple)
    # One axis at a time: a long strip may shrink along one and grow along the other.
    small = cv2.resize(photo, (wide, height), interpolation=cv2.INTER_AREA if wide < width else cv2.INTER_CUBIC)
    small = cv2.resize(small, (wide, high), interpolation=cv2.INTER_AREA if high < height else cv2.INTER_CUBIC)
    return rgb_to_lab(to_tensor(small)[None])[0, :1]


def join_colors(photo: NDArray[Any], ab: NDArray[np.float32]) -> NDArray[Any]:
    """A photograph (H, W, 3) with the colours ab (2, h, w) and its own L, in its own depth."""
    height, width = photo.shape[:2]
    across = cv2.resize(ab.transpose(1, 2, 0), (width, ab.shape[1]), interpolation=cv2.INTER_CUBIC)  # (h, W, 2)
    # Resizing an identity gives the matrix that resizes: any band of rows is then one product away.
    down = cv2.resize(np.eye(ab.shape[1], dtype=np.float32), (ab.shape[1], height), interpolation=cv2.INTER_CUBIC)
    result = np.empty_like(photo)
    step = max(1, BAND // width)
    for top in range(0, height, step):
        rows = slice(top, top + step)
        color = np.tensordot(down[rows], across, axes=1)  # (rows, W, 2)
        lightness = rgb_to_lab(to_tensor(photo[rows])[None])[:, :1]
        lab = torch.cat((lightness, torch.from_numpy(color).permute(2, 0, 1)[None]), dim=1)
        result[rows] = to_photo(lab_to_rgb(fit_to_gamut(lab))[0], photo.dtype)
    return result
