"""How near pictures are to the truth, as the phases of a training measure it; evaluation has `pipelines/metrics.py`."""

import torch
from torch import Tensor
from torch.nn import functional

from models.color import AB, lab_to_rgb, rgb_to_lab


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each picture, (B, 3, H, W) in [0, 1] -> (B,); 100 where they are equal."""
    error = functional.mse_loss(picture.float().clamp(0, 1), truth.float(), reduction="none").mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp(min=1e-10))


def color_distances(ab: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """How near colours ab (B, 2, H, W) in Lab units are to those of the photographs (B, 3, H, W), sRGB in [0, 1].

    `l1` in units of 110, as networks in [-1, 1] have it; `psnr` in dB of the pictures with the truth's own L. Each is
    the photographs' mean, of shape ().
    """
    lab = rgb_to_lab(truth)
    picture = lab_to_rgb(torch.cat((lab[:, :1], ab.float()), dim=1))
    return {"l1": functional.l1_loss(ab.float(), lab[:, 1:]) / AB, "psnr": psnr(picture, truth).mean()}
