"""Colours as 313 classes: the ab plane in steps of 10 Lab units, as far as sRGB reaches.

Zhang, Isola, Efros 2016 (arXiv 1603.08511), sections 2.1 to 2.3. The bins are those of the paper's release, in its
order, for published networks answer by number: the corners of all 10 x 10 cells that hold an sRGB colour (309), and
(40, 90), (100, -90), (100, -10) and (100, 0), which lie outside.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

STEP = 10  # Lab units between neighbouring bins
ROWS = (  # a, first b, last b: what lies between them in steps of 10 is a bin too
    *((-90, 50, 90), (-80, 20, 90), (-70, 0, 90), (-60, -20, 90), (-50, -30, 100), (-40, -40, 100), (-30, -50, 100)),
    *((-20, -50, 100), (-10, -60, 100), (0, -70, 100), (10, -80, 90), (20, -80, 90), (30, -90, 90), (40, -100, 90)),
    *((50, -100, 80), (60, -110, 80), (70, -110, 80), (80, -110, 70), (90, -110, 70), (100, -90, 0)),
)
BINS = sum((last - first) // STEP + 1 for _, first, last in ROWS)
SIGMA = 5.0  # Lab units: of the soft code and of the palette's smoothing
CELL, REACH = 5, 120  # the table of candidates: squares of 5 x 5 Lab units, from -120 to 120


def points(device: torch.device | str = "cpu") -> Tensor:
    """A and b of every bin in Lab units, (313, 2) float32."""
    bins = [(a, b) for a, first, last in ROWS for b in range(first, last + 1, STEP)]
    return torch.tensor(bins, dtype=torch.float32, device=device)


def nearest(ab: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """The nearest bins of ab (B, 2, H, W) in Lab units: which, and their squared distances, nearest first.

    Each is (B, neighbours, H, W). What lies outside [-120, 120], where sRGB has no colours, is moved to its edge.
    """
    flat = ab.float().movedim(1, -1).clamp(-REACH, REACH)  # (B, H, W, 2)
    cells = ((flat + REACH) / CELL).long().clamp(max=2 * REACH // CELL - 1)
    candidates = _candidates(neighbours).to(ab.device)[cells[..., 0], cells[..., 1]]  # (B, H, W, K)
    distances = (points(ab.device)[candidates] - flat[..., None, :]).square().sum(-1)
    found, order = distances.topk(neighbours, dim=-1, largest=False)
    return candidates.gather(-1, order).movedim(-1, 1), found.movedim(-1, 1)


@cache
def _candidates(neighbours: int) -> Tensor:
    """The bins among which the nearest `neighbours` of each cell's colours are, (48, 48, K)."""
    low = torch.arange(-REACH, REACH, CELL, dtype=torch.float32, device="cpu")[:, None]
    bins = points().T[:, None]  # (2, 1, 313)
    shortest = torch.maximum(low - bins, bins - low - CELL).clamp(min=0).square()  # (2, 48, 313)
    longest = torch.maximum((low - bins).abs(), (low + CELL - bins).abs()).square()
    closest = shortest[0][:, None] + shortest[1]  # (48, 48, 313) from the cell's nearest colour
    farthest = longest[0][:, None] + longest[1]
    bound = farthest.kthvalue(neighbours, dim=-1, keepdim=True).values
    most = int((closest <= bound).sum(-1).max())
    return closest.topk(most, dim=-1, largest=False).indices


def soft_encode(ab: Tensor, neighbours: int = 5, sigma: float = SIGMA) -> tuple[Tensor, Tensor]:
    """Ab (B, 2, H, W) in Lab units as its nearest bins, nearest first, and the share of each (section 2.1).

    Both are (B, neighbours, H, W). Shares are Gaussian in the distance, of width `sigma`, and add up to 1.
    """
    indices, distances = nearest(ab, neighbours)
    return indices, (-distances / (2 * sigma**2)).softmax(1)


def soft_cross_entropy(logits: Tensor, indices: Tensor, shares: Tensor) -> Tensor:
    """Cross entropy of logits (B, 313, H, W) against `soft_encode`'s code, for each pixel (B, H, W); equation 2."""
    return -(functional.log_softmax(logits.float(), 1).gather(1, indices) * shares).sum(1)


def annealed_mean(logits: Tensor, temperature: float = 0.38) -> Tensor:
    """One colour out of each distribution: logits (B, 313, H, W) -> ab (B, 2, H, W) in Lab units (section 2.3).

    Temperature 1 gives the mean; toward 0 it becomes the mode. ValueError where it is not above 0.
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0")
    shares = (logits.float() / temperature).softmax(1)
    a, b = points(logits.device).unbind(1)
    return torch.stack([(shares * channel[:, None, None]).sum(1) for channel in (a, b)], dim=1)


def histogram(ab: Tensor) -> Tensor:
    """How many pixels of ab (B, 2, H, W) in Lab units are nearest to each bin, (313,) int64."""
    return nearest(ab, 1)[0].flatten().bincount(minlength=BINS)


def rebalancing(palette: Tensor, mix: float = 0.5, sigma: float = SIGMA) -> Tensor:
    """What a pixel of each bin weighs in the loss, (313,) float32: rare colours weigh more (section 2.2, equation 4).

    `palette` (313,) is each bin's share of all pixels. It is smoothed by a Gaussian of `sigma` Lab units and mixed with
    the uniform distribution, of which `mix` is the share; weights are the reciprocal, scaled so that a pixel drawn
    from `palette` weighs 1 on average. ValueError where `palette` is no distribution over the bins.
    """
    if palette.shape != (BINS,):
        raise ValueError(f"the palette's shape is {tuple(palette.shape)}; it must be ({BINS},)")
    shares = palette.double()
    if (shares < 0).any() or abs(float(shares.sum()) - 1) > 1e-4:
        raise ValueError(f"the palette adds up to {float(shares.sum()):g}; it must be shares that add up to 1")
    weights = 1 / ((1 - mix) * _smoothed(shares, sigma) + mix / BINS)
    return (weights / (shares * weights).sum()).float()


def _smoothed(shares: Tensor, sigma: float) -> Tensor:
    """Each bin's share spread over the bins around it; what sRGB cannot hold gets nothing, so the sum stays."""
    bins = points(shares.device).double()
    distances = (bins[:, None] - bins[None]).square().sum(-1)
    kernel = (-distances / (2 * sigma**2)).softmax(0)  # a column is where one bin's share goes
    return (kernel * shares).sum(1)
