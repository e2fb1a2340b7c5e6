"""User-guided colorization: a U-Net that is given L and whatever colours a person has set, and fills in the rest.

Zhang, Zhu, Isola, Geng, Lin, Yu, Efros 2017 (arXiv 1705.02999), the local hints network. Layers have the names of the
published siggraph17 weights (richzhang/colorization), so that the file loads. What differs, and why: docs/papers.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Interval, Lt
from torch import Tensor, nn
from torch.nn import functional

from models.adversarial import adam
from models.color import AB, rgb_to_lab
from models.distance import color_distances
from models.hints import reveal, simulate
from models.learner import Learner, state_of, take_up
from models.pix2pix import check_size
from models.published import load_published
from models.recipe import Batch, Phase, Prepare, Setting, runs_its_epochs
from models.task import Task

PUBLISHED_WIDTH = 64
STEP = 10.0  # between neighbours of the grid of colours, Lab units
SIDE = 23  # colours along a and along b: -110, -100, ... 110
CLASS_STRIDE = 4  # the classes are told at a quarter of the size
BETA1 = 0.9
HELD_OUT_HINTS = 10  # for each held-out photograph, always at the same places
HELD_OUT_SEED = 1907


@dataclass(frozen=True)
class GuidedParams:
    """guided's own numbers; what each means stands in params.yaml."""

    epochs: Annotated[int, Ge(1)]
    classification_epochs: Annotated[int, Ge(0)]
    width: Annotated[int, Ge(1)]
    hints: Annotated[float, Gt(0)]
    revealed: Annotated[float, Interval(ge=0, le=1)]
    learning_rate: Annotated[float, Gt(0)]
    classification_learning_rate: Annotated[float, Gt(0)]
    average: Annotated[float, Ge(0), Lt(1)]
    weights: str
    weights_sha256: str

    def __post_init__(self) -> None:
        if not self.weights:
            return
        if self.width != PUBLISHED_WIDTH:
            raise ValueError(f"width is {self.width}; it must be {PUBLISHED_WIDTH} where weights is given")
        if not self.weights_sha256:
            raise ValueError("weights_sha256 is ''; it must be the sha256 of weights")


def _convolutions(inputs: int, outputs: int, count: int, dilation: int = 1) -> list[nn.Module]:
    """Convolutions 3x3 with ReLU, then batch norm; sides stay."""
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [nn.Conv2d(inputs, outputs, 3, 1, dilation, dilation), nn.ReLU()]
        inputs = outputs
    return [*layers, nn.BatchNorm2d(outputs)]


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1))


def _short(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1))


class LocalHints(nn.Module):
    """The paper's U-Net over (B, 4, H, W) as `stack` makes it; sides multiples of 8. `width` is 64 in the paper."""

    multiple = 8

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.model1 = nn.Sequential(*_convolutions(4, w, 2))
        self.model2 = nn.Sequential(*_convolutions(w, 2 * w, 2))
        self.model3 = nn.Sequential(*_convolutions(2 * w, 4 * w, 3))
        self.model4 = nn.Sequential(*_convolutions(4 * w, 8 * w, 3))
        self.model5 = nn.Sequential(*_convolutions(8 * w, 8 * w, 3, dilation=2))
        self.model6 = nn.Sequential(*_convolutions(8 * w, 8 * w, 3, dilation=2))
        self.model7 = nn.Sequential(*_convolutions(8 * w, 8 * w, 3))
        self.model8up, self.model3short8 = _up(8 * w, 4 * w), _short(4 * w, 4 * w)
        self.model8 = nn.Sequential(nn.ReLU(), *_convolutions(4 * w, 4 * w, 2))
        self.model9up, self.model2short9 = _up(4 * w, 2 * w), _short(2 * w, 2 * w)
        self.model9 = nn.Sequential(nn.ReLU(), *_convolutions(2 * w, 2 * w, 1))
        self.model10up, self.model1short10 = _up(2 * w, 2 * w), _short(w, 2 * w)
        self.model10 = nn.Sequential(nn.ReLU(), nn.Conv2d(2 * w, 2 * w, 3, 1, 1), nn.LeakyReLU(0.2))
        self.model_class = nn.Sequential(nn.Conv2d(4 * w, SIDE * SIDE, 1))
        self.model_out = nn.Sequential(nn.Conv2d(2 * w, 2, 1), nn.Tanh())
        self._initialize()

    def _initialize(self) -> None:
        """He's weights, which keep their scale at any width; both answers start near nothing said."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for head in (self.model_class[0], self.model_out[0]):
            nn.init.normal_(head.weight, 0.0, 0.02)  # type: ignore[arg-type]

    def features(self, x: Tensor) -> list[Tensor]:
        """(B, w, H, W), (B, 2 w, H / 2, W / 2) and, having seen the whole picture, (B, 4 w, H / 4, W / 4)."""
        fine = self.model1(x)
        middle = self.model2(fine[:, :, ::2, ::2])
        coarse = self.model3(middle[:, :, ::2, ::2])
        deep = self.model7(self.model6(self.model5(self.model4(coarse[:, :, ::2, ::2]))))
        return [fine, middle, self.model8(self.model8up(deep) + self.model3short8(coarse))]

    def colors(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Features as ab (B, 2, H, W) in [-1, 1], Tanh's 1 being 110 Lab units."""
        x = self.model9(self.model9up(coarse) + self.model2short9(middle))
        ab: Tensor = self.model_out(self.model10(self.model10up(x) + self.model1short10(fine)))
        return ab

    def forward(self, x: Tensor, classes_lead: bool) -> tuple[Tensor, Tensor]:
        """Logits (B, 529, H / 4, W / 4) over the grid of colours, and ab (B, 2, H, W) in [-1, 1].

        The one that leads teaches the features; the other learns from them as they are, as in both stages of the
        authors' training code. So every weight has a gradient in either case.
        """
        features = self.features(x)
        followed = [feature.detach() for feature in features]
        for_classes, for_colors = (features, followed) if classes_lead else (followed, features)
        return self.model_class(for_classes[-1]), self.colors(*for_colors)


def stack(lightness: Tensor, hints: Tensor | None) -> Tensor:
    """L (B, 1, H, W) in [0, 100] and hints (B, 3, H, W) in Lab units, or none, as the network's (B, 4, H, W).

    The mask stays 0 and 1, as the published siggraph17's forward has it; the authors' training code takes 0.5 off.
    """
    if hints is None:
        hints = torch.zeros_like(lightness).expand(-1, 3, -1, -1)
    return torch.cat(((lightness - 50) / 100, hints[:, :2] / AB, hints[:, 2:]), dim=1)


class GuidedColorizer(nn.Module):
    """The network as a colorizer: L in [0, 100], and hints in Lab units or None -> ab (B, 2, H, W) in Lab units."""

    hinted = True
    multiple = LocalHints.multiple

    def __init__(self, network: LocalHints) -> None:
        super().__init__()
        self.network = network

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """The colours of what L (B, 1, H, W) shows and hints (B, 3, H, W) ask for."""
        ab: Tensor = self.network.colors(*self.network.features(stack(lightness, hints))).float() * AB
        return ab


def network(width: int) -> nn.Module:
    """The colorizer of a bundle's keywords."""
    return GuidedColorizer(LocalHints(width))


def classes(ab: Tensor) -> Tensor:
    """The nearest colour of the grid at every fourth pixel: ab (B, 2, H, W) in Lab units -> (B, H / 4, W / 4) int64."""
    a, b = ((ab[:, :, ::CLASS_STRIDE, ::CLASS_STRIDE] + AB) / STEP).round().long().unbind(1)
    return a * SIDE + b


@dataclass(frozen=True)
class GuidedPhase:
    """The network learns classes of colour and colours; one of them teaches its features."""

    name: str
    epochs: int
    learner: Learner[LocalHints]
    optimizer: torch.optim.Optimizer
    hints: Callable[[Tensor], Tensor] | None  # ab (B, 2, H, W) in Lab units -> hints (B, 3, H, W); None gives none
    classes_lead: bool

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update by cross entropy and by Huber's loss of ab in Lab units with delta 1, as in the paper."""
        self.learner.network.train()
        lightness, ab = _pair(batch)
        hints = None if self.hints is None else self.hints(ab)
        logits, output = self.learner.shared(stack(lightness, hints), self.classes_lead)
        told = functional.cross_entropy(logits.float(), classes(ab))
        huber = functional.huber_loss(output.float() * AB, ab, delta=1.0)
        # The two reach no weight in common, and Adam asks for no balance between them.
        self.learner.descend(told + huber, self.optimizer)
        return {"classes": told.detach(), "huber": huber.detach()}

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """`classes`, `l1` in [-1, 1] units and `psnr` in dB without hints; `psnr_hinted` with ten, if any are learned.

        Those ten are at the same places each time, so that epochs and runs compare.
        """
        network = self.learner.kept().eval()
        lightness, ab = _pair(batch)
        logits, output = network(stack(lightness, None), self.classes_lead)
        found = {"classes": functional.cross_entropy(logits.float(), classes(ab))}
        found |= color_distances(output.float() * AB, batch.clean)
        if self.hints is None:
            return found
        hints = reveal(ab, [HELD_OUT_HINTS] * len(ab), torch.Generator().manual_seed(HELD_OUT_SEED))
        _, output = network(stack(lightness, hints), self.classes_lead)
        return found | {"psnr_hinted": color_distances(output.float() * AB, batch.clean)["psnr"]}

    finished = staticmethod(runs_its_epochs)


def _pair(batch: Batch) -> tuple[Tensor, Tensor]:
    lab = rgb_to_lab(batch.clean)
    return lab[:, :1], lab[:, 1:]


class Guided:
    """Classes of colour without hints first, then colours with simulated hints."""

    task = Task.COLORIZE

    def __init__(self, params: GuidedParams, setting: Setting) -> None:
        check_size(setting.size, LocalHints.multiple, "batch")
        self.params = params
        network = LocalHints(params.width)
        if params.weights:
            load_published(network, Path(params.weights), params.weights_sha256, "siggraph17 of Zhang 2017")
        self.learner = Learner(network, params.average)

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """`classification`, then `regression`."""
        p = self.params
        self.learner.prepare(prepare)
        self.optimizers = {
            "classification": adam(self.learner.network, p.classification_learning_rate, BETA1),
            "regression": adam(self.learner.network, p.learning_rate, BETA1),
        }

        def phase(name: str, epochs: int, hints: Callable[[Tensor], Tensor] | None) -> GuidedPhase:
            return GuidedPhase(name, epochs, self.learner, self.optimizers[name], hints, classes_lead=hints is None)

        return (
            phase("classification", p.classification_epochs, None),
            phase("regression", p.epochs, lambda ab: simulate(ab, p.hints, p.revealed)),
        )

    def predictor(self) -> nn.Module:
        """The colorizer."""
        return GuidedColorizer(self.learner.kept())

    def network_config(self) -> dict[str, Any]:
        """Keywords of `network` that build this recipe's predictor."""
        return {"width": self.params.width}

    def state_dict(self) -> dict[str, Any]:
        """Network, optimisers and the average."""
        return state_of(self._parts())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s answer."""
        take_up(self._parts(), state)

    def _parts(self) -> dict[str, Any]:
        return self.learner.parts() | self.optimizers
