"""How close a photograph is to the truth, and how colourful it is. Pictures are uint8 sRGB (H, W, 3) of one size."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Photo = NDArray[np.uint8]

PEAK = 255.0
BEST_PSNR = 100.0
_WINDOW = 11
_SIGMA = 1.5
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang 2003, section 3.2: from fine to coarse


@dataclass(frozen=True)
class Scores:
    """What one photograph got. `..._inside` is of the destroyed pixels alone, NaN where none was destroyed.

    `ms_ssim` is over as many scales as the size allows (`ms_ssim_name`).
    """

    psnr: float
    ssim: float
    ms_ssim: float
    colourfulness: float
    psnr_inside: float
    ssim_inside: float


def score(photo: Photo, truth: Photo, mask: NDArray[np.bool_]) -> Scores:
    """Every metric of one photograph against its truth; `mask` (H, W) is True where the truth was destroyed."""
    likeness = _ssim_map(photo, truth)
    return Scores(
        psnr=psnr(photo, truth),
        ssim=float(likeness.mean()),
        ms_ssim=ms_ssim(photo, truth),
        colourfulness=colourfulness(photo),
        psnr_inside=psnr(photo[mask], truth[mask]) if mask.any() else float("nan"),
        ssim_inside=_mean_inside(likeness, mask),
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
    return float(_ssim_map(photo, truth).mean())


def ssim_inside(photo: Photo, truth: Photo, mask: NDArray[np.bool_]) -> float:
    """The mean of the SSIM map over the pixels where `mask` (H, W) is True; as `ssim` in all else.

    NaN where none of them is 5 pixels or more from the edge: nearer, no window lies inside the picture.
    """
    return _mean_inside(_ssim_map(photo, truth), mask)


def ms_ssim(photo: Photo, truth: Photo) -> float:
    """Multi-scale structural similarity in [0, 1], 1 for equal pictures: Wang 2003, section 3, by torchmetrics.

    The five scales need sides of 176 pixels; smaller pictures get as many as `scales` says, the paper's weights of
    those made to sum to 1, which is another measure: `ms_ssim_name` names it. R, G and B alone, then the mean. Windows
    lie inside the picture but for the coarsest scale, where torchmetrics reflects it. In float32, which is seven times
    as fast as float64: off by 4e-5 at most on photographs, by 1e-3 on flat bright ones that differ by one level.
    Raises ValueError where the shapes differ or a side is below 11.
    """
    # Three seconds, which only who measures pictures should wait for: every stage imports this file.
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    _check_shapes(photo, truth)
    weights = _SCALE_WEIGHTS[: scales(*photo.shape[:2])]
    likeness = multiscale_structural_similarity_index_measure(
        _channels(photo),
        _channels(truth),
        sigma=_SIGMA,
        data_range=PEAK,
        betas=tuple(weight / sum(weights) for weight in weights),
        normalize="relu",  # a scale with negative likeness would have no real power
    )
    return float(likeness)


def scales(height: int, width: int) -> int:
    """How many scales of MS-SSIM, 1 to 5, torchmetrics takes of a picture: 176 pixels for 5, 99 for 4, 44 for 3."""
    side = min(height, width)
    if side < _WINDOW:
        raise ValueError(f"photograph is {width} x {height}; MS-SSIM needs {_WINDOW} pixels a side")
    fitting = [n for n in range(1, 6) if side // max(2 ** (n - 1), (n - 1) ** 2) >= _WINDOW]
    return fitting[-1]


def ms_ssim_name(height: int, width: int) -> str:
    """`ms_ssim`, or `ms_ssim_3_scales` and the like where the picture is too small for five."""
    count = scales(height, width)
    return "ms_ssim" if count == len(_SCALE_WEIGHTS) else f"ms_ssim_{count}_scales"


def colourfulness(photo: Photo) -> float:
    """How colourful a photograph looks: 0 for a grey one, 15 slightly, 45 quite, 82 highly.

    Hasler and Suesstrunk 2003, section 6 (M3): spread plus 0.3 of the mean of the *signed* opponents
    red - green and (red + green) / 2 - blue.
    """
    red, green, blue = np.moveaxis(photo.astype(np.float64), -1, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def _ssim_map(photo: Photo, truth: Photo) -> NDArray[np.float64]:
    """(H, W, 3) twice -> (H - 10, W - 10, 3): of the pixels whose window lies inside the picture."""
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
    return np.asarray(likeness[border:-border, border:-border])


def _mean_inside(likeness: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    border = _WINDOW // 2
    inside = mask[border:-border, border:-border]
    return float(likeness[inside].mean()) if inside.any() else float("nan")


def _channels(photo: Photo) -> Tensor:
    """(H, W, 3) -> (3, 1, H, W) float32: each channel a picture of its own."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(photo, -1, 0)[:, None], np.float32))


def _blur(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(picture, (_WINDOW, _WINDOW), _SIGMA), np.float64)


def _check_shapes(photo: Photo, truth: Photo) -> None:
    if photo.shape != truth.shape:
        raise ValueError(f"photograph has shape {photo.shape} and its truth {truth.shape}; they must be the same")
