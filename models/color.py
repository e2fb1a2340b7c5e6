"""sRGB <-> CIE Lab on tensors: D65 white, 2 degree observer, the numbers of `skimage.color`.

The 3x3 matrices are applied by multiplication and addition, never by a matrix product: autocast and TF32 would round a
product to 8 or 10 bits, and a colour that is off by 1 % is a training target that is off by 1 %.
"""

import torch
from torch import Tensor

RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
XYZ_TO_RGB = tuple(map(tuple, torch.tensor(RGB_TO_XYZ, dtype=torch.float64).inverse().tolist()))
AB = 110.0  # what networks in [-1, 1] call 1 of a or b: sRGB's a lies in [-86, 98] and its b in [-108, 94]
GAMUT_STEPS = 12  # halvings of the interval in which a pixel's largest chroma lies: 1 / 4096 of it
GAMUT_SLACK = 5e-5  # how far outside [0, 1] linear light may be and still count as inside


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Turn sRGB (B, 3, H, W) in [0, 1] into Lab (B, 3, H, W): L in [0, 100], a and b in about [-108, 98]."""
    rgb = rgb.float()
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    x, y, z = _mix(linear, RGB_TO_XYZ).unbind(1)
    fx, fy, fz = (_cube_root(channel / white) for channel, white in zip((x, y, z), WHITE, strict=True))
    return torch.stack((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)), dim=1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Lab (B, 3, H, W) as sRGB (B, 3, H, W), clamped to [0, 1]."""
    linear = _linear_rgb(lab.float()).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, linear * 12.92)


def fit_to_gamut(lab: Tensor) -> Tensor:
    """Lab (B, 3, H, W), with a and b of every pixel that sRGB cannot hold shrunk toward 0 until it can; L untouched.

    Clamping RGB instead would change L, and with it the photograph's own detail. Hue is kept: a and b shrink together.
    """
    pixels = lab.float().movedim(1, -1).reshape(-1, 3)
    outside = ~_in_gamut(pixels)
    if outside.any():
        pixels = pixels.clone()
        pixels[outside] = _shrink(pixels[outside])
    shape = (lab.shape[0], *lab.shape[2:], 3)
    return pixels.reshape(shape).movedim(-1, 1)


def _shrink(pixels: Tensor) -> Tensor:
    """Lab (N, 3) with the largest share of its chroma that sRGB holds, by bisection."""
    low = torch.zeros(len(pixels), 1, device=pixels.device)
    high = torch.ones_like(low)
    for _ in range(GAMUT_STEPS):
        middle = (low + high) / 2
        inside = _in_gamut(_with_chroma(pixels, middle))[:, None]
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return _with_chroma(pixels, low)


def _with_chroma(pixels: Tensor, share: Tensor) -> Tensor:
    return torch.cat((pixels[:, :1], pixels[:, 1:] * share), dim=1)


def _in_gamut(pixels: Tensor) -> Tensor:
    linear = _linear_rgb(pixels)
    return ((linear >= -GAMUT_SLACK) & (linear <= 1 + GAMUT_SLACK)).all(dim=1)


def _linear_rgb(lab: Tensor) -> Tensor:
    """Lab (B, 3, ...) as linear RGB (B, 3, ...), unclamped."""
    lightness, a, b = lab.unbind(1)
    fy = (lightness + 16) / 116
    xyz = [_cube(f) * white for f, white in zip((fy + a / 500, fy, fy - b / 200), WHITE, strict=True)]
    return _mix(torch.stack(xyz, dim=1), XYZ_TO_RGB)


def _mix(channels: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    first, second, third = channels.unbind(1)
    return torch.stack([first * row[0] + second * row[1] + third * row[2] for row in matrix], dim=1)


def _cube_root(t: Tensor) -> Tensor:
    return torch.where(t > 0.008856, t.clamp(min=0.008856) ** (1 / 3), 7.787 * t + 16 / 116)


def _cube(f: Tensor) -> Tensor:
    return torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787)
