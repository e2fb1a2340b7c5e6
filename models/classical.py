"""Restoring without learning: defects found by top-hats, mended by inpainting.

White and black top-hats are the seed papers' classical way of finding scratches and dust. Inpainting is OpenCV's: Telea
2004 (fast marching) and Bertalmio, Bertozzi, Sapiro 2001 (Navier-Stokes). As a recipe it is the baseline that every
restorer must beat; it learns nothing, so it has no phases and no weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor, nn

from models.image import check_photo
from models.recipe import Phase, Prepare, Setting
from models.task import Task

Photo = NDArray[Any]  # (H, W, 3) sRGB, uint8 or uint16
Mask = NDArray[np.bool_]  # (H, W)
Method = Literal["telea", "navier_stokes"]

METHODS = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}
THIN = 0.017  # side of the square that a defect to be found must not hold, as a share of the shorter side
SMALL = 0.03  # the same for one that is known and mended before a network sees it
NOISES = 8.0  # a defect begins this many standard deviations of the top-hat's own noise above its median
LEAST = 20.0  # and never below this many of 255 levels
TEXTURE = 20.0  # and this many times above the other top-hat's mean around it: texture answers to both, a defect to one
AROUND = 5  # sides of the square: how far that mean reaches
FAINT = 0.6  # what touches a defect belongs to it from this part of the threshold on
LONG = 2.0  # sides of the square from which on a defect must be thin
SPARSE = 0.15  # share of their box that lines which cross cover at most
RADIUS = 3  # how far inpainting of small defects looks, pixels


@dataclass(frozen=True)
class ClassicalParams:
    """The numbers of inpainting; what each means stands in params.yaml."""

    method: Method
    radius: Annotated[int, Ge(1)]


class Unchanged(nn.Module):
    """The network of a recipe without one: sRGB (B, 3, H, W) in [0, 1] -> the same."""

    multiple = 1

    def forward(self, rgb: Tensor) -> Tensor:
        """What it was given."""
        return rgb


def network(method: str, radius: int) -> nn.Module:
    """The network of a bundle's keywords: what they say is done before it, in `mend`."""
    return Unchanged()


def mend(photo: Photo, mask: Mask | None, keywords: Mapping[str, Any]) -> tuple[Photo, Mask | None]:
    """The photograph (H, W, 3) with the whole mask (H, W) inpainted, and a mask of which nothing is left.

    Without a mask it is found, and none is given back. `keywords` are those of `network`. ValueError as `inpaint`.
    """
    destroyed = find_defects(photo) if mask is None else mask
    mended = inpaint(photo, destroyed, keywords["method"], keywords["radius"])
    return mended, None if mask is None else np.zeros_like(mask)


def inpaint_small(photo: Photo, mask: Mask | None, keywords: Mapping[str, Any]) -> tuple[Photo, Mask | None]:
    """The photograph (H, W, 3) with small holes and thin scratches inpainted, and the mask (H, W) without them.

    Without a mask they are found, and none is given back. What is large is left to the network behind. `keywords`, that
    network's own, say nothing of it. ValueError as `inpaint`.
    """
    small = find_defects(photo) if mask is None else mask & ~large_parts(mask)
    mended = inpaint(photo, small, "telea", RADIUS, None if mask is None else mask)
    return mended, None if mask is None else mask & ~small


def inpaint(photo: Photo, mask: Mask, method: str, radius: int, unknown: Mask | None = None) -> Photo:
    """The photograph (H, W, 3) sRGB uint8 or uint16 with the pixels of the mask (H, W) filled in from around it.

    Depth is kept, and every other pixel bit for bit. `radius` is how far it looks, in pixels. Where more than the mask
    is destroyed, `unknown` (H, W) says so: nothing is taken from there. ValueError where photograph, mask or method is
    not what it must be, or where nothing is left to fill in from.
    """
    check_photo(photo)
    unknown = mask if unknown is None else mask | unknown
    for name, given in (("mask", mask), ("unknown", unknown)):
        if given.shape != photo.shape[:2] or given.dtype != np.bool_:
            raise ValueError(f"{name} is {given.dtype} {given.shape}; it must be bool {photo.shape[:2]}")
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it must be 'telea' or 'navier_stokes'")
    if not mask.any():
        return photo
    if unknown.all():
        raise ValueError("the mask is the whole photograph; at least one pixel must be left to fill in from")
    channels = [photo] if photo.dtype == np.uint8 else cv2.split(photo)  # OpenCV takes 16 bits one channel at a time
    holes = unknown.astype(np.uint8)
    filled = [cv2.inpaint(channel, holes, radius, METHODS[method]) for channel in channels]
    return np.where(mask[:, :, None], filled[0] if photo.dtype == np.uint8 else cv2.merge(filled), photo)


def large_parts(mask: Mask) -> Mask:
    """What of a mask (H, W) holds a square of 3% of the shorter side, with its rim; the rest is thin or small."""
    side = _side(mask.shape, SMALL)
    core = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    return cv2.dilate(core, np.ones((side, side), np.uint8)).view(np.bool_) & mask


def find_defects(photo: Photo) -> Mask:
    """Where thin scratches and small specks are, brighter or darker than what is around them.

    Photograph (H, W, 3) sRGB uint8 or uint16 -> (H, W). The thresholds come from the photograph's own noise (the
    median absolute deviation of the top-hat) and from the texture around; large defects are not found. ValueError
    where the photograph is none.
    """
    check_photo(photo)
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    if grey.dtype == np.uint16:
        grey = cv2.convertScaleAbs(grey, alpha=1 / 257)
    side = _side(grey.shape, THIN)
    square = np.ones((side, side), np.uint8)
    white, black = (
        np.asarray(cv2.morphologyEx(grey, hat, square, borderType=cv2.BORDER_REFLECT), np.uint8)
        for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)
    )
    found = _defects(white, black, side) | _defects(black, white, side)
    return cv2.dilate(found.view(np.uint8), np.ones((3, 3), np.uint8)).view(np.bool_)  # edges are soft


def _side(shape: tuple[int, ...], share: float) -> int:
    return max(3, 2 * round(share * min(shape[:2]) / 2) + 1)


def _defects(response: NDArray[np.uint8], other: NDArray[np.uint8], side: int) -> Mask:
    """What stands out of one top-hat's response (H, W), and of the other's around it, and has a defect's shape."""
    median, deviation = _spread(response)
    around = cv2.blur(other, (AROUND * side, AROUND * side), borderType=cv2.BORDER_REFLECT).astype(np.float32)
    threshold = np.maximum(TEXTURE * around, max(LEAST, median + NOISES * deviation))
    strong = response > threshold
    faint = (response > FAINT * threshold).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(faint, connectivity=8)
    seeded = np.bincount(labels[strong], minlength=count) > 0
    return np.asarray((seeded & _shaped(stats, side))[labels])


def _spread(response: NDArray[np.uint8]) -> tuple[float, float]:
    """Median and standard deviation of the noise, from the median absolute deviation (1.4826 of a normal's)."""
    counts = np.bincount(response.ravel(), minlength=256)
    levels = np.arange(256)
    median = int(np.searchsorted(np.cumsum(counts), response.size / 2))
    distances = np.bincount(np.abs(levels - median), weights=counts, minlength=256)
    return median, 1.4826 * int(np.searchsorted(np.cumsum(distances), response.size / 2))


def _shaped(stats: NDArray[np.int32], side: int) -> Mask:
    """Which components are small, or thin for their length, or a sparse net of lines that cross; the first is none."""
    width, height, area = (stats[:, of] for of in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    length = np.hypot(width, height)
    shaped = (length <= LONG * side) | (area <= length * side / 2) | (area <= SPARSE * width * height)
    shaped[0] = False  # the background
    return np.asarray(shaped)


class Classical:
    """Nothing to learn: no phases, and a network that changes nothing behind `mend`."""

    task = Task.RESTORE

    def __init__(self, params: ClassicalParams, setting: Setting) -> None:
        self.params = params

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """None."""
        return ()

    def predictor(self) -> nn.Module:
        """What is behind `mend`."""
        return Unchanged()

    def network_config(self) -> dict[str, Any]:
        """Keywords of `network` and `mend`."""
        return {"method": self.params.method, "radius": self.params.radius}

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to continue from."""
