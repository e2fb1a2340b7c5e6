"""Hypercolumns: a pixel's colour is read from every layer of a VGG-16 at its place, as histograms of hue and chroma.

Larsson, Maire, Shakhnarovich 2016 (arXiv 1603.06668), section 3, 'Neural network architecture and training';
the histograms are `models/histograms.py`. What differs from the paper, and why: docs/papers.md.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional

from models.adversarial import adam
from models.color import rgb_to_lab
from models.distance import color_distances
from models.histograms import ChromaFrom, HistogramLoss, decode
from models.learner import Learner, state_of, take_up
from models.pix2pix import check_size
from models.recipe import Batch, Phase, Prepare, Setting, runs_its_epochs
from models.task import Task

BLOCKS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))  # VGG-16's convolutions, in widths; each block halves after
TOP = 64  # widths of conv6 and conv7, VGG's fully connected layers as convolutions
DETAIL = 2  # colours are predicted for one pixel in 2 along each side, as the authors' program does for one in 4


@dataclass(frozen=True)
class HypercolumnParams:
    """hypercolumn's own numbers; what each means stands in params.yaml."""

    epochs: Annotated[int, Ge(1)]
    width: Annotated[int, Ge(1)]
    hidden: Annotated[int, Ge(1)]
    samples: Annotated[int, Ge(1)]
    bins: Annotated[int, Ge(2)]
    window: Annotated[int, Ge(1)]
    hue: Annotated[float, Ge(0)]
    chroma_from: ChromaFrom
    learning_rate: Annotated[float, Gt(0)]
    beta1: Annotated[float, Ge(0), Lt(1)]
    average: Annotated[float, Ge(0), Lt(1)]

    def __post_init__(self) -> None:
        if self.window % 2 == 0:
            raise ValueError(f"window is {self.window}; it must be odd, to have a pixel in its middle")


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Trunk(nn.Module):
    """VGG-16 with batch norm, fully convolutional, on L (B, 1, H, W) in [-1, 1]; sides multiples of 32.

    Gives all that a hypercolumn is made of, finest first: L, 13 convolutions at strides 1 to 16, conv6 and conv7 at 32.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.channels = [1]
        for block in BLOCKS:
            layers = nn.ModuleList()
            for widths in block:
                layers.append(_convolution(self.channels[-1], widths * width, 3))
                self.channels.append(widths * width)
            self.blocks.append(layers)
        top = TOP * width
        self.top = nn.ModuleList([_convolution(self.channels[-1], top, 7), _convolution(top, top, 1)])
        self.channels += [top, top]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features (B, channels[i], h, w)."""
        features = [x]
        for block in self.blocks:
            for layer in block:  # type: ignore[attr-defined]
                x = layer(x)
                features.append(x)
            x = functional.max_pool2d(x, 2)
        for layer in self.top:
            x = layer(x)
            features.append(x)
        return features


class Hypercolumns(nn.Module):
    """The paper's network: L (B, 1, H, W) in [-1, 1] -> logits of hue's and chroma's bins; sides multiples of 32.

    A linear layer over a concatenation is the sum of linear layers over its parts, so each layer of the trunk is read
    by a 1x1 convolution of its own and no hypercolumn is ever put together.
    """

    multiple = 32

    def __init__(self, width: int, hidden: int, bins: int) -> None:
        super().__init__()
        self.trunk = Trunk(width)
        self.reads = nn.ModuleList([nn.Conv2d(channels, hidden, 1, bias=False) for channels in self.trunk.channels])
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.hue = nn.Conv2d(hidden, bins, 1)
        self.chroma = nn.Conv2d(hidden, bins, 1)
        # Together the readers are one layer, and its inputs are the whole hypercolumn's channels.
        std = math.sqrt(2 / sum(self.trunk.channels))
        for read in self.reads:
            nn.init.normal_(read.weight, 0.0, std)  # type: ignore[arg-type]
        for head in (self.hue, self.chroma):
            nn.init.xavier_uniform_(head.weight)
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Sparse, for training: logits (B, bins, S) at places (B, S, 2), rows and columns of pixels."""
        sides = torch.tensor(x.shape[2:], device=x.device)
        grid = ((2 * places + 1) / sides - 1).flip(2)[:, None]  # (B, 1, S, 2), x before y as grid_sample wants it
        sampled = (
            functional.grid_sample(features.float(), grid, padding_mode="border", align_corners=False)
            for features in self.trunk(x)
        )
        read = [reader(features).float() for reader, features in zip(self.reads, sampled, strict=True)]
        hue, chroma = self._histograms(read)
        return hue[:, :, 0], chroma[:, :, 0]

    def dense(self, x: Tensor, detail: int) -> tuple[Tensor, Tensor]:
        """For prediction: logits (B, bins, H / detail, W / detail), each in the middle of detail x detail pixels."""
        shape = (x.shape[2] // detail, x.shape[3] // detail)
        summed: dict[int, Tensor] = {}  # what layers of one height add together; resizing a sum is one resizing
        for reader, features in zip(self.reads, self.trunk(x), strict=True):
            # Reading and resizing commute: whichever leaves less to do comes first.
            small = _resized(features, shape) if features.shape[2] > shape[0] else features
            height = small.shape[2]
            read = reader(small).float()
            summed[height] = summed[height] + read if height in summed else read
        return self._histograms(_resized(read, shape) for read in summed.values())

    def _histograms(self, read: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        summed = self.bias[:, None, None]
        for part in read:
            summed = summed + part
        hidden = functional.relu(summed)
        return self.hue(hidden), self.chroma(hidden)


def _resized(features: Tensor, shape: tuple[int, int]) -> Tensor:
    if features.shape[2:] == shape:
        return features.float()
    return functional.interpolate(features.float(), shape, mode="bilinear", align_corners=False)


class Colorizer(nn.Module):
    """L (B, 1, H, W) in [0, 100] -> ab (B, 2, H, W) in Lab units."""

    multiple = Hypercolumns.multiple

    def __init__(self, network: nn.Module, chroma_from: str) -> None:
        super().__init__()
        self.network = network
        self.chroma_from = chroma_from

    def forward(self, lightness: Tensor) -> Tensor:
        """The colours of what L shows, predicted for one pixel in DETAIL and resized bilinearly."""
        hue, chroma = self.network.dense(lightness / 50 - 1, DETAIL)  # type: ignore[operator]
        return _resized(decode(hue, chroma, self.chroma_from), (lightness.shape[2], lightness.shape[3]))


def network(width: int, hidden: int, bins: int, chroma_from: str) -> nn.Module:
    """The colorizer of a bundle's keywords."""
    return Colorizer(Hypercolumns(width, hidden, bins), chroma_from)


def random_places(photographs: int, samples: int, height: int, width: int) -> Tensor:
    """(B, S, 2) rows and columns drawn by torch's CPU generator, so that every device trains on the same ones."""
    rows = torch.randint(height, (photographs, samples))
    return torch.stack((rows, torch.randint(width, (photographs, samples))), dim=2)


def even_places(photographs: int, samples: int, height: int, width: int) -> Tensor:
    """(B, S, 2) the same rows and columns for every photograph, spread evenly; at most `samples` of them."""
    side = max(1, math.isqrt(samples))
    rows, columns = (((torch.arange(side) + 0.5) * length / side).long() for length in (height, width))
    return torch.cartesian_prod(rows, columns).expand(photographs, -1, -1)


class HistogramPhase:
    """The network learns the histograms around pixels drawn at random."""

    name = "histograms"

    def __init__(self, learner: Learner[Hypercolumns], params: HypercolumnParams, prepare: Prepare) -> None:
        self.learner = learner
        self.params = params
        self.epochs = params.epochs
        self.loss = HistogramLoss(params.bins, params.window, params.hue)
        learner.prepare(prepare)
        self.optimizer = adam(learner.network, params.learning_rate, params.beta1)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update from `samples` pixels of each photograph."""
        self.learner.network.train()
        lab = rgb_to_lab(batch.clean)
        places = random_places(len(lab), self.params.samples, *lab.shape[2:]).to(lab.device)
        losses = self.loss(self.learner.shared(lab[:, :1] / 50 - 1, places), lab[:, 1:], places)
        self.learner.descend(losses["histograms"], self.optimizer)
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """The losses at the same places every time; `l1` and `psnr` of the colours."""
        network = self.learner.kept().eval()
        lab = rgb_to_lab(batch.clean)
        lightness, ab = lab[:, :1], lab[:, 1:]
        places = even_places(len(lab), self.params.samples, *lab.shape[2:]).to(lab.device)
        losses = self.loss(network(lightness / 50 - 1, places), ab, places)
        output = Colorizer(network, self.params.chroma_from)(lightness)
        return losses | color_distances(output, batch.clean)

    finished = staticmethod(runs_its_epochs)


class Hypercolumn:
    """One phase: histograms."""

    task = Task.COLORIZE

    def __init__(self, params: HypercolumnParams, setting: Setting) -> None:
        check_size(setting.size, Hypercolumns.multiple, "batch")
        self.params = params
        self.learner = Learner(Hypercolumns(params.width, params.hidden, params.bins), params.average)

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """`histograms`."""
        self.phase = HistogramPhase(self.learner, self.params, prepare)
        return (self.phase,)

    def predictor(self) -> nn.Module:
        """The colorizer."""
        return Colorizer(self.learner.kept(), self.params.chroma_from)

    def network_config(self) -> dict[str, Any]:
        """Keywords of `network` that build this recipe's predictor."""
        p = self.params
        return {"width": p.width, "hidden": p.hidden, "bins": p.bins, "chroma_from": p.chroma_from}

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser and average."""
        return state_of(self._parts())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s answer."""
        take_up(self._parts(), state)

    def _parts(self) -> dict[str, Any]:
        return self.learner.parts() | {"optimizer": self.phase.optimizer}
