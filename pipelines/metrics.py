"""How close a photograph is to the truth, and how colourful it is. Pictures are uint8 sRGB (H, W, 3) of one size."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Photo = NDArray[np.uint8]

PEAK = 255.0
BEST_PSNR = 100.0
_WINDOW = 11
_SIGMA = 1.5


@dataclass(frozen=True)
class Scores:
    """What one photograph got. `psnr_inside` is of the destroyed pixels alone, NaN where none was destroyed."""

    psnr: float
    ssim: float
    colourfulness: float
    psnr_inside: float


def score(photo: Photo, truth: Photo, mask: NDArray[np.bool_]) -> Scores:
    """Every metric of one photograph against its truth; `mask` (H, W) is True where the truth was destroyed."""
    return Scores(
        psnr=psnr(photo, truth),
        ssim=ssim(photo, truth),
        colourfulness=colourfulness(photo),
        psnr_inside=psnr(photo[mask], truth[mask]) if mask.any() else float("nan"),
    )


def psnr(photo: Photo, truth: Photo) -> float:
    """Peak signal-to-noise ratio in dB over all values together; at most 100, which equal pictures get.

    The ceiling keeps a mean over photographs finite; a single value off by one at 256 x 256 is already 101 dB.
    Takes any shape. Raises ValueError where the shapes differ.
    """
    _check_shapes(photo, truth)
    error = np.mean((photo.astype(np.float64) - truth.astype(np.float64)) ** 2)
    return min(BEST_PSNR, float(10 * np.log10(PEAK**2 / error))) if error else BEST_PSNR


def ssim(photo: Photo, truth: Photo) -> float:
    """Structural similarity in [-1, 1], 1 for equal pictures: Wang et al. 2004, section III-B and its settings.

    11 x 11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, each of R, G, B alone and then the mean over the pixels
    whose window lies inside the picture. Raises ValueError where the shapes differ or a side is below 11.
    """
    _check_shapes(photo, truth)
    if min(photo.shape[:2]) < _WINDOW:
        raise ValueError(f"photograph is {photo.shape[1]} x {photo.shape[0]}; SSIM needs {_WINDOW} pixels a side")
    x, y = photo.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    likeness /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    border = _WINDOW // 2
    return float(likeness[border:-border, border:-border].mean())


def colourfulness(photo: Photo) -> float:
    """How colourful a photograph looks: 0 for a grey one, 15 slightly, 45 quite, 82 highly.

    Hasler and Suesstrunk 2003, section 6 (M3): spread plus 0.3 of the mean of the *signed* opponents
    red - green and (red + green) / 2 - blue.
    """
    red, green, blue = np.moveaxis(photo.astype(np.float64), -1, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def _blur(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(picture, (_WINDOW, _WINDOW), _SIGMA), np.float64)


def _check_shapes(photo: Photo, truth: Photo) -> None:
    if photo.shape != truth.shape:
        raise ValueError(f"photograph has shape {photo.shape} and its truth {truth.shape}; they must be the same")
