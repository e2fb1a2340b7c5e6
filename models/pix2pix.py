"""pix2pix: image-to-image translation with a conditional GAN.

Isola, Zhu, Zhou, Efros 2017 (arXiv 1611.07004), as the IJARCCE 2021 paper builds it to repair photographs: six levels
instead of eight, the discriminator trained alone first. What differs from either, and why: docs/papers.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Interval, Lt
from torch import Tensor, nn

from models.adversarial import RESTORING, AdversarialPhase, DiscriminatorPhase, Gan
from models.blocks import Normalization, down, initialize, norm_layers, up
from models.learner import state_of, take_up
from models.recipe import Phase, Prepare, Setting
from models.task import Task

MOMENTUM = 0.5  # of the discriminator's norms: frozen, it must judge by the statistics it has just learned with
LEVELS = 6  # halvings of the U-Net: a side must be a multiple of 2 ** 6


@dataclass(frozen=True)
class Pix2PixParams:
    """pix2pix's own numbers; what each means stands in params.yaml."""

    epochs: Annotated[int, Ge(1)]
    width: Annotated[int, Ge(1)]
    normalization: Normalization
    dropout: Annotated[float, Ge(0), Lt(1)]
    discriminator_epochs: Annotated[int, Ge(0)]
    l1: Annotated[float, Ge(0)]
    learning_rate: Annotated[float, Gt(0)]
    beta1: Annotated[float, Ge(0), Lt(1)]
    fooled_below: Annotated[float, Interval(ge=0, le=1)]
    average: Annotated[float, Ge(0), Lt(1)]


class UNet(nn.Module):
    """U-Net of six levels: (B, inputs, H, W) in [-1, 1] -> (B, outputs, H, W) in [-1, 1]; sides multiples of 64."""

    multiple = 2**LEVELS

    def __init__(self, inputs: int, outputs: int, width: int, normalization: str, dropout: float) -> None:
        super().__init__()
        norm = norm_layers(normalization)
        w = width
        self.encoder = nn.ModuleList(
            [
                down(inputs, w, None),
                down(w, 2 * w, norm),
                down(2 * w, 4 * w, norm),
                down(4 * w, 8 * w, norm),
                down(8 * w, 8 * w, norm),
                down(8 * w, 8 * w, norm),
            ]
        )
        self.decoder = nn.ModuleList(  # inputs: what comes from below and the skip beside it
            [
                up(8 * w, 8 * w, norm, dropout),
                up(8 * w + 8 * w, 8 * w, norm, dropout),
                up(8 * w + 8 * w, 4 * w, norm, dropout),
                up(4 * w + 4 * w, 2 * w, norm, dropout),
                up(2 * w + 2 * w, w, norm, dropout),
            ]
        )
        self.last = nn.ConvTranspose2d(w + w, outputs, 4, 2, 1)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Down through the encoder and up again past the skips."""
        skips = []
        for layer in self.encoder:
            x = layer(x)
            skips.append(x)
        x = skips.pop()
        for layer in self.decoder:
            x = torch.cat((layer(x), skips.pop()), dim=1)
        return torch.tanh(self.last(x))


class PatchDiscriminator(nn.Module):
    """Says of each patch whether a (source, target) pair is real: (B, inputs, H, W) -> logits (B, 1, h, w).

    The papers' sigmoid is in the loss (`adversarial.verdict`), where it is exact in low precision. A side of 256 gives
    13 patches, 128 gives 5.
    """

    def __init__(self, inputs: int, width: int, normalization: str) -> None:
        super().__init__()
        norm = norm_layers(normalization, MOMENTUM)
        w = width
        self.layers = nn.Sequential(
            down(inputs, w, None),
            down(w, 2 * w, norm),
            down(2 * w, 4 * w, norm),
            down(4 * w, 8 * w, norm),
            down(8 * w, 8 * w, norm, stride=1),
            down(8 * w, 8 * w, norm, stride=1),
            nn.Conv2d(8 * w, 1, 4, 1, 1),
        )
        initialize(self)

    def forward(self, pair: Tensor) -> Tensor:
        """One logit for each patch; above 0 is real."""
        logits: Tensor = self.layers(pair)
        return logits


class Restorer(nn.Module):
    """A network in [-1, 1] as a restorer: sRGB (B, 3, H, W) in [0, 1] -> the same."""

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, rgb: Tensor) -> Tensor:
        """The photograph without its damage."""
        output: Tensor = self.network(rgb * 2 - 1).float()
        return (output + 1) / 2


def network(width: int, normalization: str, dropout: float) -> nn.Module:
    """The restorer of a bundle's keywords."""
    return Restorer(UNet(3, 3, width, normalization, dropout), UNet.multiple)


def check_size(size: int, multiple: int, normalization: str) -> None:
    """ValueError unless the network can work on squares of `size`."""
    # Instance norm of a single value is 0 whatever the value: the bottleneck must be larger than one pixel.
    least = 2 * multiple if normalization == "instance" else multiple
    if size % multiple or size < least:
        raise ValueError(f"size is {size}; it must be a multiple of {multiple}, at least {least}")


class Pix2Pix:
    """The discriminator alone, then generator and discriminator in turn until the discriminator is fooled."""

    task = Task.RESTORE

    def __init__(self, params: Pix2PixParams, setting: Setting) -> None:
        check_size(setting.size, UNet.multiple, params.normalization)
        self.params = params
        self.gan = Gan(
            UNet(3, 3, params.width, params.normalization, params.dropout),
            PatchDiscriminator(6, params.width, params.normalization),
            RESTORING,
            params.learning_rate,
            params.beta1,
            params.average,
        )

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """`discriminator`, then `adversarial`."""
        self.gan.prepare(prepare)
        return (
            DiscriminatorPhase(self.gan, self.params.discriminator_epochs),
            AdversarialPhase(self.gan, self.params.epochs, self.params.l1, self.params.fooled_below),
        )

    def predictor(self) -> nn.Module:
        """The restorer."""
        return Restorer(self.gan.kept(), UNet.multiple)

    def network_config(self) -> dict[str, Any]:
        """Keywords of `network` that build this recipe's predictor."""
        p = self.params
        return {"width": p.width, "normalization": p.normalization, "dropout": p.dropout}

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers and the average."""
        return state_of(self.gan.parts())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s answer."""
        take_up(self.gan.parts(), state)


class Translator(Pix2Pix):
    """The same between any two kinds of pictures that come in pairs (Isola 2017): `damaged` is A, `clean` is B."""

    task = Task.TRANSLATE
