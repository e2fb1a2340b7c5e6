"""A bundle's network on people's photographs: any size, 8 or 16 bits; the one way of predicting there is.

Evaluation, MLflow, the service and albums all come through here, so the picture a person gets is the picture that was
measured. A Predictor keeps nothing between calls.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import bundle
from models.image import check_photo
from models.joining import join_colors, working_lightness
from models.task import Task
from models.tiling import Tiling

Photo = NDArray[Any]
Mask = NDArray[np.bool_] | None


class Predictor:
    """Restores or colorizes, as its config says."""

    def __init__(self, config: bundle.Config, network: nn.Module, device: str = "cpu", batch: int = 8) -> None:
        if batch < 1:
            raise ValueError(f"batch is {batch}; it must be at least 1")
        self.config = config
        self.network = network.eval().to(device)
        self.device = device
        self.batch = batch

    @classmethod
    def from_bundle(cls, folder: Path, device: str = "cpu", batch: int = 8) -> Self:
        """The predictor of a bundle; BundleError where the folder is none."""
        return cls(*bundle.load(folder), device=device, batch=batch)

    def predict(self, photos: Sequence[Photo], masks: Sequence[Mask]) -> list[Photo]:
        """Each photograph (H, W, 3) uint8 or uint16 sRGB, restored or colorized, in its own size and depth.

        A mask (H, W) is True where a restorer may change the photograph; without one it may everywhere. A colorizer
        has no use for masks and looks at none. ValueError names a photograph or mask that is not what it must be.
        """
        if len(photos) != len(masks):
            raise ValueError(f"there are {len(photos)} photographs and {len(masks)} masks; they must be as many")
        for photo, mask in zip(photos, masks, strict=True):
            check_photo(photo)
            _check_mask(photo, mask)
        with torch.inference_mode():
            if self.config.task is Task.RESTORE:
                return self._restore(photos, masks)
            return self._colorize(photos)

    def _restore(self, photos: Sequence[Photo], masks: Sequence[Mask]) -> list[Photo]:
        tilings = [Tiling(photo, mask, self.config.size) for photo, mask in zip(photos, masks, strict=True)]
        answers = self._run(tile for tiling in tilings for tile in tiling.tiles())
        return [tiling.blend(answers) for tiling in tilings]

    def _colorize(self, photos: Sequence[Photo]) -> list[Photo]:
        multiple = int(getattr(self.network, "multiple", 1))
        inputs = [working_lightness(photo, self.config.size, multiple) for photo in photos]
        # Only pictures of one shape can be stacked: they are run shape by shape and put back in order.
        order = sorted(range(len(photos)), key=lambda i: tuple(inputs[i].shape))
        answers = self._run(inputs[i] for i in order)
        colors = dict(zip(order, answers, strict=True))
        return [join_colors(photo, colors[i].numpy()) for i, photo in enumerate(photos)]

    def _run(self, pictures: Iterable[Tensor]) -> Iterator[Tensor]:
        """The network's answer to each picture (C, H, W), in order, computed in batches of one shape."""
        for group in _runs_of_one_shape(pictures, self.batch):
            yield from self.network(torch.stack(group).to(self.device)).float().cpu()


def _runs_of_one_shape(pictures: Iterable[Tensor], most: int) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    for picture in pictures:
        if group and (len(group) == most or group[0].shape != picture.shape):
            yield group
            group = []
        group.append(picture)
    if group:
        yield group


def _check_mask(photo: Photo, mask: Mask) -> None:
    if mask is None:
        return
    if mask.dtype != np.bool_:
        raise ValueError(f"the mask's type is {mask.dtype}; it must be bool")
    if mask.shape != photo.shape[:2]:
        raise ValueError(f"the mask's shape is {mask.shape}; it must be the photograph's, {photo.shape[:2]}")
