"""Colours that people want at points of a photograph, and those that a training simulates (Zhang 2017, section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.color import AB  # hints lie in [-AB, AB]: the grid of colours that the paper's network knows

PATCH = 9  # the largest simulated hint's side, pixels


@dataclass(frozen=True)
class Hint:
    """One colour at one place. Pixel i of a photograph covers [i, i + 1): (0, 0) is its top left corner."""

    x: float  # columns from the left, pixels of the photograph
    y: float  # rows from the top
    a: float  # Lab units
    b: float
    radius: float  # of the disc that has this colour, pixels of the photograph; 0 is the one point


def hint_tensor(hints: Sequence[Hint], photo_shape: tuple[int, ...], working_shape: tuple[int, ...]) -> Tensor:
    """Hints on a photograph of (H, W) pixels as a network sees them at (h, w): (3, h, w) float32.

    a and b in Lab units and 1.0 where a hint's disc is, zeros elsewhere; a later hint lies over an earlier one. A hint
    covers the working pixels whose centre is in its disc, and always the one that it is in. ValueError names the
    hint that is outside the photograph or is no colour.
    """
    height, width = photo_shape
    high, wide = working_shape
    rows = ((torch.arange(high) + 0.5) * (height / high))[:, None]  # centres of working pixels, in the photograph
    columns = ((torch.arange(wide) + 0.5) * (width / wide))[None, :]
    tensor = torch.zeros(3, high, wide)
    for number, hint in enumerate(hints):
        _check(hint, f"hints[{number}]", height, width)
        covered = (rows - hint.y) ** 2 + (columns - hint.x) ** 2 <= hint.radius**2  # (h, w)
        covered[int(hint.y * high / height), int(hint.x * wide / width)] = True
        tensor[:, covered] = torch.tensor((hint.a, hint.b, 1.0))[:, None]
    return tensor


def _check(hint: Hint, name: str, height: int, width: int) -> None:
    for axis, value, side, sides in (("x", hint.x, width, "width"), ("y", hint.y, height, "height")):
        if not 0 <= value < side:
            raise ValueError(f"{name}.{axis} is {value}; it must be from 0 to below {side}, the photograph's {sides}")
    for channel, value in (("a", hint.a), ("b", hint.b)):
        if not -AB <= value <= AB:
            raise ValueError(f"{name}.{channel} is {value}; it must be from {-AB:g} to {AB:g}")
    if not 0 <= hint.radius < float("inf"):
        raise ValueError(f"{name}.radius is {hint.radius}; it must be 0 or more, pixels of the photograph")


def reveal(ab: Tensor, counts: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
    """So many random hints of each photograph's true ab (B, 2, H, W) in Lab units: (B, 3, H, W), 1.0 where hinted.

    Section 3.2: places are normal around the middle with a quarter of a side, sides uniform from 1 to 9 pixels, and
    a hint is the mean colour of its square. Drawn on the CPU from `generator`, or else from torch's own.
    """
    height, width = ab.shape[2:]
    hints = ab.new_zeros(len(ab), 3, height, width)
    for truth, hint, count in zip(ab, hints, counts, strict=True):
        for _ in range(count):
            side = min(int(torch.randint(1, PATCH + 1, (), generator=generator)), height, width)
            down, across = torch.randn(2, generator=generator).tolist()
            rows, columns = _span(height, side, down), _span(width, side, across)
            hint[:2, rows, columns] = truth[:, rows, columns].mean(dim=(1, 2), keepdim=True)
            hint[2, rows, columns] = 1.0
    return hints


def _span(length: int, side: int, normal: float) -> slice:
    places = length - side + 1
    start = min(max(int(places / 2 + normal * places / 4), 0), places - 1)
    return slice(start, start + side)


def simulate(ab: Tensor, hints: float, revealed: float) -> Tensor:
    """Hints as people might give them, from torch's own generator: ab (B, 2, H, W) in Lab units -> (B, 3, H, W).

    The number of hints is geometric with `hints` as its mean, 0 being the likeliest; a share `revealed` of the
    photographs has its colour everywhere, so that the network learns to copy what it is given (section 3.2).
    """
    counts = torch.empty(len(ab)).geometric_(1 / (1 + hints)).long() - 1
    simulated = reveal(ab, counts.tolist())
    everywhere = (torch.rand(len(ab)) < revealed).to(ab.device)[:, None, None, None]
    return torch.where(everywhere, torch.cat((ab, torch.ones_like(ab[:, :1])), dim=1), simulated)
