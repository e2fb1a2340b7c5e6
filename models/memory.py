"""How much memory a photograph will take, known before any work is done.

The network's own share is measured on its shapes alone: it runs once on torch's meta device, which allocates nothing,
and every storage that it would hold is counted from its making to its end.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.bundle import Config
from models.catalogue import CATALOGUE
from models.image import check_depth
from models.joining import BAND, working_shape
from models.task import Task

# Bytes a pixel that mending before the network takes at its peak, by depth: with a mask, and where it must be found.
FIRST = {np.dtype(np.uint8): (15, 19), np.dtype(np.uint16): (29, 29)}
BAND_COPIES = 150  # bytes a pixel of a band while Lab and sRGB are worked out
SCRATCH = 2  # a convolution holds reordered copies of what it reads and writes
ALLOWANCE = 32 << 20  # the libraries' own, and what the allocator keeps


class Footprint:
    """What one bundle's Predictor takes for a photograph, beside the photograph and its mask; weights not counted."""

    def __init__(self, config: Config, batch: int) -> None:
        with torch.device("meta"):
            self._network = CATALOGUE[config.recipe].network(config.network).eval()
        self._config = config
        self._batch = batch
        self._known: dict[tuple[int, ...], int] = {}  # by shape, batch and channels beside

    def needed(self, height: int, width: int, dtype: DTypeLike, masked: bool) -> int:
        """Bytes that `Predictor.predict` takes at its peak for one photograph (height, width, 3), its answer included.

        `dtype` is the photograph's; `masked` says whether a mask, or a colorizer's hints, come with it. Several
        photographs in one call take no more than the sum of what each takes. ValueError where it can be no photograph.
        """
        depth = np.dtype(dtype)
        check_depth(depth)
        if min(height, width) < 1:
            raise ValueError(f"the photograph is {width}x{height}; neither side may be less than 1")
        work = self._coloring if self._config.task is Task.COLORIZE else self._tiling
        return work(height, width, depth, masked) + ALLOWANCE

    def _tiling(self, height: int, width: int, depth: np.dtype[Any], masked: bool) -> int:
        """Whichever is more: mending before the network, or the tiles with what was mended beside them."""
        answer = height * width * 3 * depth.itemsize
        size = self._config.size
        band = 3 * 4 * 3 * size * max(width, size)  # floats, a band and the next one
        tiles = answer + band + self._activations((3, size, size), self._batch, masked)
        unmasking = answer + height * width * masked
        if CATALOGUE[self._config.recipe].first is None:
            return max(tiles, unmasking)
        mending = height * width * FIRST[depth][0 if masked else 1]
        return max(mending, answer + max(tiles, unmasking))

    def _coloring(self, height: int, width: int, depth: np.dtype[Any], hinted: bool) -> int:
        """Whichever is more: the network, or joining its colours."""
        high, wide = working_shape(height, width, self._config.size, int(getattr(self._network, "multiple", 1)))
        shrunk = 3 * depth.itemsize * height * wide  # the photograph while only one axis is resized
        planes = 3 * 4 * 5 * high * width + 2 * 4 * high * height
        joining = height * width * 3 * depth.itemsize + planes + shrunk + BAND_COPIES * max(BAND, width)
        return max(joining, shrunk + self._activations((1, high, wide), 1, hinted))

    def _activations(self, shape: tuple[int, int, int], batch: int, beside: bool) -> int:
        """The network's peak on a batch of pictures (C, H, W); with its second tensor, where it takes one."""
        more = (getattr(self._network, "masked", False), 1), (getattr(self._network, "hinted", False), 3)
        extra = sum(channels for takes, channels in more if takes and beside)
        key = (*shape, batch, extra)
        if key not in self._known:
            tensors = [torch.empty(batch, count, *shape[1:], device="meta") for count in (shape[0], extra) if count]
            self._known[key] = SCRATCH * peak(self._network, tensors)
        return self._known[key]


def peak(network: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Bytes of the storages that are alive together at most while a network on the meta device answers, inputs too."""
    living = _Living()
    with torch.no_grad(), living:
        network(*[tensor.clone() for tensor in inputs])
    return living.most


class _Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of every storage that operations make, from its making to its end."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._now = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._meet(tensor.untyped_storage())
        return made

    def _meet(self, storage: torch.UntypedStorage) -> None:
        key, size = int(storage._cdata), int(storage.nbytes())
        if key in self._alive:
            return

        def gone(_: object) -> None:
            del self._alive[key]
            self._now -= size

        self._alive[key] = weakref.ref(storage, gone)
        self._now += size
        self.most = max(self.most, self._now)
