"""Colorful Image Colorization: every pixel's colour as one of 313 classes, rare ones weighing more in the loss.

Zhang, Isola, Efros 2016 (arXiv 1603.08511), known as eccv16 after its release, whose layer names these are. What
differs from the paper, and why: docs/papers.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Interval, Le, Lt
from torch import Tensor, nn
from torch.nn import functional

from models import bins
from models.adversarial import FUSED_ADAM
from models.color import rgb_to_lab
from models.distance import color_distances
from models.learner import Learner, state_of, take_up
from models.pix2pix import check_size
from models.published import load_published
from models.recipe import Batch, Phase, Prepare, Setting, runs_its_epochs
from models.task import Task

PUBLISHED_WIDTH = 64
BETAS = (0.9, 0.99)  # of Adam, as the release's solver has them
REDUCTION = 4  # classes are told at 1/4 of a photograph's height and width
FIRST_GUESS = 0.001  # of the last layer's weights: an untrained network finds every class as likely as the others


@dataclass(frozen=True)
class ColorfulParams:
    """colorful's own numbers; what each means stands in params.yaml."""

    epochs: Annotated[int, Ge(0)]
    width: Annotated[int, Ge(1)]
    weights: str
    weights_sha256: str
    uniform: Annotated[float, Interval(ge=0, le=1)]
    temperature: Annotated[float, Gt(0), Le(1)]
    learning_rate: Annotated[float, Gt(0)]
    weight_decay: Annotated[float, Ge(0)]
    average: Annotated[float, Ge(0), Lt(1)]

    def __post_init__(self) -> None:
        if not self.weights:
            if self.epochs == 0:
                raise ValueError("epochs is 0; it must be at least 1 where no weights are given")
            return
        if self.width != PUBLISHED_WIDTH:
            raise ValueError(f"width is {self.width}; it must be {PUBLISHED_WIDTH} where weights are given")
        if not self.weights_sha256:
            raise ValueError("weights_sha256 is ''; it must be the sha256 of weights")


class Classes(nn.Module):
    """The paper's network: L (B, 1, H, W) in [0, 100] -> logits (B, 313, H / 4, W / 4); sides multiples of 8.

    Eight blocks at 1/2, 1/4 and then 1/8; the fifth and sixth see far by dilation instead of a smaller scale.
    """

    multiple = 8

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.model1 = _block(1, w, convolutions=2, stride=2)
        self.model2 = _block(w, 2 * w, convolutions=2, stride=2)
        self.model3 = _block(2 * w, 4 * w, convolutions=3, stride=2)
        self.model4 = _block(4 * w, 8 * w, convolutions=3)
        self.model5 = _block(8 * w, 8 * w, convolutions=3, dilation=2)
        self.model6 = _block(8 * w, 8 * w, convolutions=3, dilation=2)
        self.model7 = _block(8 * w, 8 * w, convolutions=3)
        self.model8 = nn.Sequential(
            nn.ConvTranspose2d(8 * w, 4 * w, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(4 * w, 4 * w, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(4 * w, 4 * w, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(4 * w, bins.BINS, 1),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.model8[-1].weight, 0.0, FIRST_GUESS)  # type: ignore[arg-type]

    def forward(self, lightness: Tensor) -> Tensor:
        """One logit for each bin of `bins.points`, in its order."""
        x = (lightness - 50) / 100
        for block in (self.model1, self.model2, self.model3, self.model4, self.model5, self.model6, self.model7):
            x = block(x)
        logits: Tensor = self.model8(x)
        return logits


def _block(inputs: int, outputs: int, convolutions: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3x3 convolutions, each with ReLU, the last one with the stride; then batch norm."""
    layers: list[nn.Module] = []
    for number in range(1, convolutions + 1):
        step = stride if number == convolutions else 1
        layers += [nn.Conv2d(inputs, outputs, 3, step, padding=dilation, dilation=dilation), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs))


class Colorizer(nn.Module):
    """The network with its decoding: L (B, 1, H, W) in [0, 100] -> ab (B, 2, H, W) in Lab units; multiples of 8."""

    multiple = Classes.multiple

    def __init__(self, classes: nn.Module, temperature: float) -> None:
        super().__init__()
        self.classes = classes
        self.temperature = temperature

    def forward(self, lightness: Tensor) -> Tensor:
        """The annealed mean of every pixel's classes, enlarged to the size of L."""
        return decode(self.classes(lightness), self.temperature)


def decode(logits: Tensor, temperature: float) -> Tensor:
    """Logits (B, 313, h, w) as ab (B, 2, 4 h, 4 w) in Lab units (section 2.3)."""
    ab = bins.annealed_mean(logits, temperature)
    return functional.interpolate(ab, scale_factor=REDUCTION, mode="bilinear")


def network(width: int, temperature: float) -> nn.Module:
    """The colorizer of a bundle's keywords."""
    return Colorizer(Classes(width), temperature)


def class_losses(logits: Tensor, ab: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """The paper's loss `classes`, and `classes_plain`, which counts all colours alike; each a mean of shape ().

    logits (B, 313, h, w) against the averages of ab (B, 2, 4 h, 4 w) in Lab units, softly encoded; a pixel weighs what
    `weights` (313,) says of its nearest bin (equations 2 and 3).
    """
    indices, shares = bins.soft_encode(functional.avg_pool2d(ab.float(), REDUCTION))
    losses = bins.soft_cross_entropy(logits, indices, shares)  # (B, h, w)
    return {"classes": (weights[indices[:, 0]] * losses).mean(), "classes_plain": losses.mean()}


@dataclass
class ClassesPhase:
    """The network learns the classes of every pixel."""

    epochs: int
    learner: Learner[Classes]
    optimizer: torch.optim.Optimizer
    weights: Tensor  # (313,) of the classes, on the network's device
    temperature: float
    name: str = "classes"

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update by the rebalanced loss; both losses, detached."""
        lab = rgb_to_lab(batch.clean)
        self.learner.network.train()
        losses = class_losses(self.learner.shared(lab[:, :1]), lab[:, 1:], self.weights)
        self.learner.descend(losses["classes"], self.optimizer)
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Both losses of the kept network, and its colours' distance: `l1` in [-1, 1] units, `psnr` in dB."""
        lab = rgb_to_lab(batch.clean)
        logits = self.learner.kept().eval()(lab[:, :1])
        distances = color_distances(decode(logits, self.temperature), batch.clean)
        return class_losses(logits, lab[:, 1:], self.weights) | distances

    finished = staticmethod(runs_its_epochs)


class Colorful:
    """One phase: classes of colour, from nothing or from the published weights."""

    task = Task.COLORIZE

    def __init__(self, params: ColorfulParams, setting: Setting) -> None:
        check_size(setting.size, Classes.multiple, "batch")
        if setting.palette is None:
            raise ValueError("palette is None; run `python -m pipelines.palette colorful`, which measures it")
        self.params = params
        self.weights = bins.rebalancing(setting.palette, params.uniform)
        classes = Classes(params.width)
        if params.weights:
            load_classes(classes, Path(params.weights), params.weights_sha256)
        self.learner = Learner(classes, params.average)

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """`classes` alone."""
        p = self.params
        device = self.learner.prepare(prepare)
        self.optimizer = torch.optim.Adam(
            self.learner.network.parameters(),
            p.learning_rate,
            BETAS,
            weight_decay=p.weight_decay,
            fused=device.type in FUSED_ADAM,
        )
        return (ClassesPhase(p.epochs, self.learner, self.optimizer, self.weights.to(device), p.temperature),)

    def predictor(self) -> nn.Module:
        """The colorizer."""
        return Colorizer(self.learner.kept(), self.params.temperature)

    def network_config(self) -> dict[str, Any]:
        """Keywords of `network` that build this recipe's predictor."""
        return {"width": self.params.width, "temperature": self.params.temperature}

    def state_dict(self) -> dict[str, Any]:
        """The network, its optimiser and its average."""
        return state_of(self._parts())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s answer."""
        take_up(self._parts(), state)

    def _parts(self) -> dict[str, Any]:
        return self.learner.parts() | {"optimizer": self.optimizer}


def load_classes(classes: Classes, path: Path, sha256: str) -> None:
    """Loads the release's eccv16 file; WeightsError where it is no such file.

    Its `model_out`, which turns shares of the bins into their mean colour, is left out: `bins.annealed_mean` does it.
    """
    load_published(classes, path, sha256, "richzhang/colorization's eccv16", left_out=("model_out.",))
