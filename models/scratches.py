"""The scratch detector: a U-Net that finds what an old photograph's damage destroyed.

Wan, Zhang, Chen et al. 2020 (arXiv 2004.09484), section 3.4, and its longer form of 2022 (arXiv 2009.07047): weighted
cross entropy and focal loss on lightness alone. What differs from them, and why: docs/papers.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional

from models.adversarial import adam
from models.blocks import Norm, initialize, norm_layers
from models.learner import Learner, state_of, take_up
from models.pix2pix import check_size
from models.recipe import Batch, Phase, Prepare, Setting, runs_its_epochs
from models.task import Task

LEVELS = 4  # halvings of the U-Net: a side must be a multiple of 2 ** 4
FOCUS = 2.0  # gamma of the focal loss
FOCAL = 1.0  # weight of the focal loss beside cross entropy
RARE = 0.001  # a class with a smaller share of a photograph than this weighs less than the other one
BETA1 = 0.5  # the paper's
SURE = 0.5  # the probability from which on a pixel counts as destroyed


@dataclass(frozen=True)
class ScratchesParams:
    """The detector's own numbers; what each means stands in params.yaml."""

    epochs: Annotated[int, Ge(1)]
    width: Annotated[int, Ge(1)]
    learning_rate: Annotated[float, Gt(0)]
    average: Annotated[float, Ge(0), Lt(1)]


def _convolutions(inputs: int, outputs: int, norm: Norm) -> nn.Sequential:
    """Two 3x3 convolutions, each with norm and ReLU: (B, inputs, H, W) -> (B, outputs, H, W)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
        norm(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        norm(outputs),
        nn.ReLU(),
    )


class Detector(nn.Module):
    """U-Net of four halvings: sRGB (B, 3, H, W) in [0, 1] -> logits (B, 1, H, W); sides multiples of 16.

    It sees the luma of Rec. 601 only, as the authors' released detector does: no colour to learn by heart, and a
    black-and-white photograph looks like any other.
    """

    multiple = 2**LEVELS

    def __init__(self, width: int) -> None:
        super().__init__()
        norm = norm_layers("batch")
        w = width
        self.encoder = nn.ModuleList(
            [
                _convolutions(1, w, norm),
                _convolutions(w, 2 * w, norm),
                _convolutions(2 * w, 4 * w, norm),
                _convolutions(4 * w, 8 * w, norm),
                _convolutions(8 * w, 8 * w, norm),
            ]
        )
        self.decoder = nn.ModuleList(  # inputs: what comes from below and the skip beside it
            [
                _convolutions(8 * w + 8 * w, 4 * w, norm),
                _convolutions(4 * w + 4 * w, 2 * w, norm),
                _convolutions(2 * w + 2 * w, w, norm),
                _convolutions(w + w, w, norm),
            ]
        )
        self.last = nn.Conv2d(w, 1, 1)
        initialize(self)

    def forward(self, rgb: Tensor) -> Tensor:
        """One logit for each pixel; above 0 is destroyed."""
        red, green, blue = rgb.chunk(3, dim=1)
        x = (0.299 * red + 0.587 * green + 0.114 * blue) * 2 - 1
        skips = []
        for level, layer in enumerate(self.encoder):
            x = layer(x if level == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        x = skips.pop()
        for layer in self.decoder:
            above = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = layer(torch.cat((above, skips.pop()), dim=1))
        logits: Tensor = self.last(x)
        return logits


class Finder(nn.Module):
    """A detector's answer as people take it: sRGB (B, 3, H, W) in [0, 1] -> probability (B, 1, H, W) in float32."""

    multiple = Detector.multiple

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, rgb: Tensor) -> Tensor:
        """How likely each pixel is destroyed."""
        return torch.sigmoid(self.detector(rgb).float())


def network(width: int) -> nn.Module:
    """The finder of a bundle's keywords."""
    return Finder(Detector(width))


def focal_loss(logits: Tensor, mask: Tensor, focus: float = FOCUS) -> Tensor:
    """Cross entropy that hardly counts pixels which are already right: (1 - p) ** focus of it, p of the true side.

    Logits and mask (0.0 or 1.0) are (B, 1, H, W); the mean over photographs and pixels is of shape (). Lin 2017 (arXiv
    1708.02002), section 3.2.
    """
    toward_truth = torch.where(mask > 0, logits.float(), -logits.float())
    return (torch.sigmoid(-toward_truth) ** focus * functional.softplus(-toward_truth)).mean()


def weighted_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy in which each photograph's destroyed pixels weigh together as much as its sound ones: half.

    Logits and mask (0.0 or 1.0) are (B, 1, H, W); the mean over photographs is of shape (). The paper weighs by the
    classes' shares too, without making up for how few destroyed pixels there are (Wan 2022, on scratch detection).
    """
    destroyed = mask.mean(dim=(1, 2, 3), keepdim=True)
    weight = 0.5 / torch.where(mask > 0, destroyed, 1 - destroyed).clamp(min=RARE)
    return functional.binary_cross_entropy_with_logits(logits.float(), mask, weight)


class DetectorPhase:
    """A detector learns masks: the input is `batch.damaged`, the truth `batch.mask`."""

    name = "scratches"

    def __init__(
        self,
        learner: Learner[Detector],
        epochs: int,
        prepare: Prepare,
        learning_rate: float,
    ) -> None:
        self.learner = learner
        self.epochs = epochs
        learner.prepare(prepare)
        self.optimizer = adam(learner.network, learning_rate, BETA1)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update by both losses."""
        self.learner.network.train()
        logits = self.learner.shared(batch.damaged)
        focal, entropy = focal_loss(logits, batch.mask), weighted_cross_entropy(logits, batch.mask)
        self.learner.descend(entropy + FOCAL * focal, self.optimizer)
        return {"focal": focal.detach(), "cross_entropy": entropy.detach()}

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """The focal loss, and how right the pixels are that the kept detector marks; see `agreement`."""
        logits = self.learner.kept().eval()(batch.damaged).float()
        return {"focal": focal_loss(logits, batch.mask), **agreement(torch.sigmoid(logits) >= SURE, batch.mask > 0)}

    finished = staticmethod(runs_its_epochs)


def agreement(marked: Tensor, destroyed: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 of marks (B, 1, H, W) bool against the truth, each the photographs' mean, of shape ().

    A photograph with no mark has precision 1, one with no damage has recall 1, one with neither has F1 1.
    """
    hits = (marked & destroyed).sum(dim=(1, 2, 3)).float()
    marks, truth = marked.sum(dim=(1, 2, 3)).float(), destroyed.sum(dim=(1, 2, 3)).float()
    return {
        "precision": _share(hits, marks).mean(),
        "recall": _share(hits, truth).mean(),
        "f1": _share(2 * hits, marks + truth).mean(),
    }


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=1), 1.0)


class Scratches:
    """One phase: the detector on synthetic damage."""

    task = Task.DETECT

    def __init__(self, params: ScratchesParams, setting: Setting) -> None:
        check_size(setting.size, Detector.multiple, "batch")
        self.params = params
        self.learner = Learner(Detector(params.width), params.average)

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """`scratches`."""
        p = self.params
        self.phase = DetectorPhase(self.learner, p.epochs, prepare, p.learning_rate)
        return (self.phase,)

    def predictor(self) -> nn.Module:
        """The finder."""
        return Finder(self.learner.kept())

    def network_config(self) -> dict[str, Any]:
        """Keywords of `network` that build this recipe's predictor."""
        return {"width": self.params.width}

    def state_dict(self) -> dict[str, Any]:
        """Network, optimiser and average."""
        return state_of(self._parts())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s answer."""
        take_up(self._parts(), state)

    def _parts(self) -> dict[str, Any]:
        return self.learner.parts() | {"optimizer": self.phase.optimizer}
