"""Colours as histograms of hue and chroma: what they are of a photograph, their loss, and one colour out of them.

Larsson, Maire, Shakhnarovich 2016 (arXiv 1603.06668), section 3, 'Color spaces', 'Loss' and 'Inference'. Hue and chroma
are the polar coordinates of Lab's ab plane here: the paper's bicone has a lightness of its own, and a photograph's L
must come out as it went in.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

CHROMA = 110.0  # chroma's 1 in Lab units: 1 pixel in 100,000 of real photographs has more
FADING = 0.03  # the paper's eta: where hue is less certain than this, chroma fades

ChromaFrom = Literal["median", "expectation"]


def hue_and_chroma(ab: Tensor) -> tuple[Tensor, Tensor]:
    """Hue and chroma, each (B, H, W) in [0, 1], of ab (B, 2, H, W) in Lab units; hue 0 is +a, hue 0.25 is +b."""
    a, b = ab.float().unbind(1)
    return torch.atan2(b, a) / (2 * math.pi) % 1, torch.hypot(a, b) / CHROMA


def local_histograms(values: Tensor, places: Tensor, bins: int, window: int) -> Tensor:
    """What share of the `window` x `window` pixels around each place falls in each bin (section 3, 'Loss').

    values (B, H, W) in [0, 1], places (B, S, 2) whole rows and columns -> (B, bins, S), adding up to 1 over the bins.
    Beyond an edge the edge's pixels are counted again.
    """
    height, width = values.shape[1:]
    offsets = torch.arange(window, device=places.device) - window // 2
    rows = (places[:, :, :1] + offsets).clamp(0, height - 1)
    columns = (places[:, :, 1:] + offsets).clamp(0, width - 1)
    around = (rows[:, :, :, None] * width + columns[:, :, None, :]).flatten(2)  # (B, S, window * window)
    binned = (values * bins).long().clamp(0, bins - 1).flatten(1)
    found = binned.gather(1, around.flatten(1)).view_as(around)
    shares = torch.zeros(*around.shape[:2], bins, device=values.device)
    shares.scatter_add_(2, found, torch.full(found.shape, 1 / window**2, device=values.device))
    return shares.transpose(1, 2)


def decode(hue: Tensor, chroma: Tensor, chroma_from: str) -> Tensor:
    """Two sets of logits (B, K, h, w) as ab (B, 2, h, w) in Lab units (section 3, 'Inference').

    Hue is the angle of the complex expectation z of a point on the circle; chroma, the median or the expectation of
    its bins, fades where |z| is under FADING: there the hue is not known.
    """
    hues, chromas = hue.float().softmax(1), chroma.float().softmax(1)
    angles = 2 * math.pi * _centres(hues)
    z = torch.stack(((hues * angles.cos()).sum(1), (hues * angles.sin()).sum(1)), dim=1)
    strength = z.square().sum(1, keepdim=True).sqrt().clamp(min=FADING)
    return CHROMA * _middle(chromas, chroma_from) * z / strength


def _middle(shares: Tensor, chroma_from: str) -> Tensor:
    """(B, K, h, w) -> (B, 1, h, w) in [0, 1]."""
    if chroma_from == "expectation":
        return (shares * _centres(shares)).sum(1, keepdim=True)
    if chroma_from != "median":
        raise ValueError(f"chroma_from is {chroma_from!r}; it must be 'median' or 'expectation'")
    bins = shares.shape[1]
    summed = shares.cumsum(1)
    middle = (summed < 0.5).sum(1, keepdim=True).clamp(max=bins - 1)
    inside = shares.gather(1, middle)
    below = summed.gather(1, middle) - inside
    return (middle + (0.5 - below) / inside) / bins


def _centres(shares: Tensor) -> Tensor:
    bins = shares.shape[1]
    return ((torch.arange(bins, device=shares.device) + 0.5) / bins)[:, None, None]


@dataclass(frozen=True)
class HistogramLoss:
    """Kullback-Leibler divergence from the true histograms around sampled pixels (section 3, 'Loss')."""

    bins: int
    window: int
    hue: float  # lambda_H: hue's weight is this times the pixel's chroma, because a grey pixel has no hue

    def __call__(self, predicted: tuple[Tensor, Tensor], ab: Tensor, places: Tensor) -> dict[str, Tensor]:
        """Both terms and `histograms`, their sum, as means over all places.

        Logits of hue and of chroma (B, bins, S) at places (B, S, 2); the true ab (B, 2, H, W) in Lab units.
        """
        hues, chromas = hue_and_chroma(ab)
        at = (places[:, :, 0] * ab.shape[3] + places[:, :, 1]).long()
        weight = self.hue * chromas.flatten(1).gather(1, at)
        hue = (weight * self._divergence(predicted[0], hues, places)).mean()
        chroma = self._divergence(predicted[1], chromas, places).mean()
        return {"histograms": hue + chroma, "hue": hue, "chroma": chroma}

    def _divergence(self, logits: Tensor, values: Tensor, places: Tensor) -> Tensor:
        truth = local_histograms(values, places, self.bins, self.window)
        return functional.kl_div(logits.float().log_softmax(1), truth, reduction="none").sum(1)
