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
from models.catalogue import CATALOGUE
from models.hints import Hint, hint_tensor
from models.image import check_photo
from models.joining import join_colors, working_lightness
from models.task import Task
from models.tiling import Tiling

Photo = NDArray[Any]
Mask = NDArray[np.bool_] | None


class Predictor:
    """Restores, colorizes, finds damage or translates, as its config says."""

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

    def predict(
        self, photos: Sequence[Photo], masks: Sequence[Mask], hints: Sequence[Sequence[Hint]] | None = None
    ) -> list[Photo]:
        """Each photograph (H, W, 3) uint8 or uint16 sRGB, restored or colorized, in its own size and depth.

        A detector's answer is a picture that is white where the photograph is destroyed, grey where it may be.
        A mask (H, W) is True where a restorer may change the photograph; without one it may everywhere. The others
        have no use for masks and look at none. Hints are colours that people want at points of each photograph; only
        a colorizer whose network takes them may be given any. ValueError names what is not what it must be.
        """
        if len(photos) != len(masks):
            raise ValueError(f"there are {len(photos)} photographs and {len(masks)} masks; they must be as many")
        for photo, mask in zip(photos, masks, strict=True):
            check_photo(photo)
            _check_mask(photo, mask)
        hints = self._checked(hints, len(photos))
        with torch.inference_mode():
            if self.config.task is Task.RESTORE:
                return self._restore(photos, masks)
            return self._colorize(photos, hints) if self.config.task is Task.COLORIZE else self._tiled(photos)

    def _checked(self, hints: Sequence[Sequence[Hint]] | None, photographs: int) -> Sequence[Sequence[Hint]]:
        hints = hints or [()] * photographs
        if len(hints) != photographs:
            raise ValueError(f"there are {photographs} photographs and {len(hints)} lists of hints; give as many")
        if any(hints) and not getattr(self.network, "hinted", False):
            raise ValueError(f"{self.config.recipe} takes no colour hints; a recipe that does is guided")
        return hints

    def _restore(self, photos: Sequence[Photo], masks: Sequence[Mask]) -> list[Photo]:
        """What the recipe mends before its network is mended first; the network sees what is left of the mask.

        Tiles in which nothing may change are not worked on.
        """
        masked = bool(getattr(self.network, "masked", False))
        tilings = [
            Tiling(*self._first(photo, mask), self.config.size, masked, wanted=mask)
            for photo, mask in zip(photos, masks, strict=True)
        ]
        answers = self._run(tile for tiling in tilings for tile in tiling.tiles())
        restored = [tiling.blend(answers) for tiling in tilings]
        for result, photo, mask in zip(restored, photos, masks, strict=True):
            if mask is not None:
                np.copyto(result, photo, where=~mask[:, :, None])
        return restored

    def _first(self, photo: Photo, mask: Mask) -> tuple[Photo, Mask]:
        first = CATALOGUE[self.config.recipe].first
        return (photo, mask) if first is None else first(photo, mask, self.config.network)

    def _tiled(self, photos: Sequence[Photo]) -> list[Photo]:
        tilings = [Tiling(photo, None, self.config.size, masked=False) for photo in photos]
        answers = self._run(tile for tiling in tilings for tile in tiling.tiles())
        pictures = (answer.expand(3, -1, -1) for answer in answers)  # a detector has one channel to say
        return [tiling.blend(pictures) for tiling in tilings]

    def _colorize(self, photos: Sequence[Photo], hints: Sequence[Sequence[Hint]]) -> list[Photo]:
        multiple = int(getattr(self.network, "multiple", 1))
        inputs = [
            _hinted(working_lightness(photo, self.config.size, multiple), photo, own)
            for photo, own in zip(photos, hints, strict=True)
        ]
        # Only pictures of one shape can be stacked: they are run shape by shape and put back in order.
        order = sorted(range(len(photos)), key=lambda i: tuple(inputs[i].shape))
        answers = self._run(inputs[i] for i in order)
        colors = dict(zip(order, answers, strict=True))
        return [join_colors(photo, colors[i].numpy()) for i, photo in enumerate(photos)]

    def _run(self, pictures: Iterable[Tensor]) -> Iterator[Tensor]:
        """The network's answer to each picture (C, H, W), in order, computed in batches of one shape.

        Channels beyond the picture's own (3 of a photograph, 1 of its lightness) are the network's second tensor.
        """
        own = 1 if self.config.task is Task.COLORIZE else 3
        for group in _runs_of_one_shape(pictures, self.batch):
            batch = torch.stack(group).to(self.device)
            beside = (batch[:, own:],) if batch.shape[1] > own else ()
            yield from self.network(batch[:, :own], *beside).float().cpu()


def _hinted(lightness: Tensor, photo: Photo, hints: Sequence[Hint]) -> Tensor:
    """L (1, h, w) with the hints' three channels below it, where there are hints."""
    if not hints:
        return lightness
    return torch.cat((lightness, hint_tensor(hints, photo.shape[:2], tuple(lightness.shape[1:]))))


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
