"""A restorer that looks at the whole photograph: a U-Net and a discriminator with self-attention.

Zhang, Goodfellow, Metaxas, Odena 2019 (arXiv 1805.08318): self-attention, spectral norm on both sides, hinge loss, two
learning rates. The paper makes pictures out of noise; how it became a restorer: docs/papers.md. Small holes and thin
scratches are mended without learning first (`classical.inpaint_small`, the catalogue's `first`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from models.adversarial import HINGE, RESTORING, AdversarialPhase, Gan
from models.attention import SelfAttention
from models.blocks import Normalization, down, folded, initialize, normalize_spectrally
from models.learner import state_of, take_up
from models.pix2pix import Restorer, UNet, check_size
from models.recipe import Phase, Prepare, Setting
from models.task import Task

ATTENTIVE = 2  # of the U-Net's layers from either end of the photograph: the 1/8 level, 32 px of 256
BETA2 = 0.9  # the paper's


@dataclass(frozen=True)
class SaganParams:
    """sagan's own numbers; what each means stands in params.yaml."""

    epochs: Annotated[int, Ge(1)]
    width: Annotated[int, Ge(2)]
    normalization: Normalization
    l1: Annotated[float, Ge(0)]
    generator_rate: Annotated[float, Gt(0)]
    discriminator_rate: Annotated[float, Gt(0)]
    beta1: Annotated[float, Ge(0), Lt(1)]
    average: Annotated[float, Ge(0), Lt(1)]


def build_generator(width: int, normalization: str) -> UNet:
    """pix2pix's U-Net, attentive at its 1/8 level on the way down and up: (B, 3, H, W) in [-1, 1] -> the same."""
    unet = UNet(3, 3, width, normalization, 0.0)
    for layers, place in ((unet.encoder, ATTENTIVE), (unet.decoder, len(unet.decoder) - 1 - ATTENTIVE)):
        layers[place] = nn.Sequential(layers[place], SelfAttention(4 * width))
    return unet


class Discriminator(nn.Module):
    """Says of each patch whether a (source, target) pair is real: (B, 6, H, W) -> logits (B, 1, h, w).

    pix2pix's discriminator with self-attention at the 1/8 level and, as the paper has it, no norm but the spectral one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.layers = nn.Sequential(
            down(6, w, None),
            down(w, 2 * w, None),
            down(2 * w, 4 * w, None),
            SelfAttention(4 * w),
            down(4 * w, 8 * w, None),
            down(8 * w, 8 * w, None, stride=1),
            down(8 * w, 8 * w, None, stride=1),
            nn.Conv2d(8 * w, 1, 4, 1, 1),
        )
        initialize(self)

    def forward(self, pair: Tensor) -> Tensor:
        """One logit for each patch; above 0 is real."""
        logits: Tensor = self.layers(pair)
        return logits


def network(width: int, normalization: str) -> nn.Module:
    """The restorer of a bundle's keywords; its convolutions hold the spectrally normalised weights."""
    return Restorer(build_generator(width, normalization), UNet.multiple)


class Sagan:
    """Generator and discriminator in turn, from the first step to the last."""

    task = Task.RESTORE

    def __init__(self, params: SaganParams, setting: Setting) -> None:
        check_size(setting.size, UNet.multiple, params.normalization)
        self.params = params
        generator, discriminator = build_generator(params.width, params.normalization), Discriminator(params.width)
        normalize_spectrally(generator)
        normalize_spectrally(discriminator)
        self.gan = Gan(
            generator,
            discriminator,
            RESTORING,
            params.generator_rate,
            params.beta1,
            params.average,
            HINGE,
            params.discriminator_rate,
            BETA2,
        )

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """`adversarial`."""
        self.gan.prepare(prepare)
        return (AdversarialPhase(self.gan, self.params.epochs, self.params.l1, fooled_below=0.0),)

    def predictor(self) -> nn.Module:
        """The restorer, a copy with plain convolutions."""
        with torch.device("meta"):  # shapes only, and no random numbers: training goes on after this
            plain = build_generator(self.params.width, self.params.normalization)
        return Restorer(folded(self.gan.kept(), plain), UNet.multiple)

    def network_config(self) -> dict[str, Any]:
        """Keywords of `network` that build this recipe's predictor."""
        return {"width": self.params.width, "normalization": self.params.normalization}

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers and the average."""
        return state_of(self.gan.parts())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s answer."""
        take_up(self.gan.parts(), state)
