"""The wall between people's pictures (H, W, 3 integers) and the networks' tensors (3, H, W floats)."""

from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

DEPTHS = (np.dtype(np.uint8), np.dtype(np.uint16))


def to_tensor(photo: NDArray[Any]) -> Tensor:
    """(H, W, 3) uint8 or uint16 sRGB as (3, H, W) float32 in [0, 1]; ValueError for anything else."""
    check_photo(photo)
    scaled = photo.astype(np.float32) / np.float32(np.iinfo(photo.dtype).max)
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))


def to_photo(tensor: Tensor, dtype: DTypeLike) -> NDArray[Any]:
    """(3, H, W) sRGB as (H, W, 3) of `dtype` (uint8 or uint16): clamped to [0, 1], then rounded to nearest."""
    check_depth(np.dtype(dtype))
    top = int(np.iinfo(np.dtype(dtype)).max)
    scaled = (tensor.detach().float().clamp(0, 1) * top).round()
    return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy().astype(dtype))


def check_photo(photo: NDArray[Any]) -> None:
    """ValueError unless the photograph is (H, W, 3) uint8 or uint16 with at least one pixel."""
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.size == 0:
        raise ValueError(f"the photograph's shape is {photo.shape}; it must be (height, width, 3), neither of them 0")
    check_depth(photo.dtype)


def check_depth(dtype: np.dtype[Any]) -> None:
    """ValueError unless `dtype` is uint8 or uint16."""
    if dtype not in DEPTHS:
        raise ValueError(f"the photograph's depth is {dtype}; it must be uint8 or uint16")
