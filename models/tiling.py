"""A photograph cut into overlapping tiles and put together again, one band of rows at a time.

Only the bands that tiles still reach are held as floats, so a photograph of any height needs little beside itself.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.image import to_photo, to_tensor

OVERLAP = 4  # neighbouring tiles share at least this part of a side: 1 / 4


class Tiling:
    """The square tiles of one photograph (H, W, 3); one that is smaller than a tile is reflected to fill it.

    Where the tiles are `masked`, the mask lies below each as a fourth channel, where there is a mask. A tile without a
    pixel of `wanted` (H, W) is left out, where `wanted` is given.
    """

    def __init__(
        self,
        photo: NDArray[Any],
        mask: NDArray[np.bool_] | None,
        size: int,
        masked: bool,
        wanted: NDArray[np.bool_] | None = None,
    ) -> None:
        self.photo = photo
        self.mask = mask
        self.size = size
        self.masked = masked
        self.wanted = wanted
        self.tops = starts(photo.shape[0], size)
        self.lefts = starts(photo.shape[1], size)

    def tiles(self) -> Iterator[Tensor]:
        """Tiles (3 or 4, size, size) in [0, 1], row by row, with the masked pixels painted white."""
        height, width = self.photo.shape[:2]
        for top in self.tops:
            rows = reflected(top, self.size, height)[:, None]
            for left in self.lefts:
                if not self._is_wanted(top, left):
                    continue
                columns = reflected(left, self.size, width)
                tile = to_tensor(self.photo[rows, columns])
                if self.mask is None:
                    yield tile
                    continue
                destroyed = torch.from_numpy(self.mask[rows, columns])
                tile.masked_fill_(destroyed, 1.0)
                yield torch.cat((tile, destroyed[None].float())) if self.masked else tile

    def blend(self, answers: Iterator[Tensor]) -> NDArray[Any]:
        """The photograph from its tiles' answers (3, size, size) in [0, 1], in `tiles`' order.

        A pixel that is not wanted may be anything.
        """
        height, width = self.photo.shape[:2]
        across, along = weights(self.lefts, self.size, width), weights(self.tops, self.size, height)
        result = np.empty_like(self.photo)
        band = torch.zeros(3, self.size, width)  # what is known so far of the rows from the current top on
        for top, end, down in zip(self.tops, [*self.tops[1:], height], along, strict=True):
            for left, share in zip(self.lefts, across, strict=True):
                if not self._is_wanted(top, left):
                    continue
                high, wide = len(down), len(share)
                band[:, :high, left : left + wide] += next(answers)[:, :high, :wide] * down[:, None] * share
            result[top:end] = to_photo(band[:, : end - top], self.photo.dtype)
            band = torch.cat((band[:, end - top :], torch.zeros(3, end - top, width)), dim=1)
        return result

    def _is_wanted(self, top: int, left: int) -> bool:
        if self.wanted is None:
            return True
        return bool(self.wanted[top : top + self.size, left : left + self.size].any())


def starts(length: int, size: int) -> list[int]:
    """Where tiles begin along a side: evenly spread, the first at 0, the last ending where the side does."""
    if length <= size:
        return [0]
    count = math.ceil((length - size) / (size - math.ceil(size / OVERLAP))) + 1
    return [round(i * (length - size) / (count - 1)) for i in range(count)]


def weights(starts: list[int], size: int, length: int) -> list[Tensor]:
    """Each tile's share along a side, (min(size, length),): at every pixel the shares add up to 1.

    A share rises and falls along half a wave where there is a neighbour and ends flat where the photograph does. Of a
    tile's outermost pixels a network knows least, for it sees nothing beyond: the wave hardly counts them.
    """
    reach, most = min(size, length), max(1, size // OVERLAP)
    position = torch.arange(1, reach + 1, dtype=torch.float64)
    rising = torch.sin(math.pi / 2 * (position / (most + 1)).clamp(max=1)) ** 2
    falling, flat = rising.flip(0), torch.ones_like(rising)
    heights = [rising if i else flat for i in range(len(starts))]
    heights[:-1] = [torch.minimum(height, falling) for height in heights[:-1]]
    total = torch.zeros(length, dtype=torch.float64)
    for start, height in zip(starts, heights, strict=True):
        total[start : start + reach] += height
    return [(h / total[start : start + reach]).float() for start, h in zip(starts, heights, strict=True)]


def reflected(start: int, size: int, length: int) -> NDArray[np.intp]:
    """The indices start .. start + size of a side, mirrored at its ends as often as need be."""
    if length == 1:
        return np.zeros(size, dtype=np.intp)
    period = 2 * (length - 1)
    place = np.arange(start, start + size) % period
    return np.where(place < length, place, period - place)
