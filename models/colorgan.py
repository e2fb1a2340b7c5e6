"""The colorizer of the IJARCCE 2021 paper: a GAN whose generator is a U-Net on a ResNet18 backbone, L in, ab out.

What the paper says, what is here and why they differ: docs/papers.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional

from models.adversarial import AdversarialPhase, DistancePhase, Gan, View, adam, update
from models.blocks import Norm, Normalization, initialize, norm_layers
from models.color import AB, lab_to_rgb, rgb_to_lab
from models.learner import state_of, take_up
from models.pix2pix import PatchDiscriminator, UNet, check_size
from models.recipe import Batch, Phase, Prepare, Setting, runs_its_epochs
from models.resnet import Classifier, ResNet18, load_backbone
from models.task import Task


@dataclass(frozen=True)
class ColorganParams:
    """colorgan's own numbers; what each means stands in params.yaml."""

    epochs: Annotated[int, Ge(1)]
    generator: Literal["resnet18", "unet"]
    width: Annotated[int, Ge(1)]
    normalization: Normalization
    dropout: Annotated[float, Ge(0), Lt(1)]
    backbone_weights: str
    backbone_sha256: str
    backbone_epochs: Annotated[int, Ge(0)]
    l1_epochs: Annotated[int, Ge(0)]
    l1: Annotated[float, Ge(0)]
    learning_rate: Annotated[float, Gt(0)]
    beta1: Annotated[float, Ge(0), Lt(1)]
    average: Annotated[float, Ge(0), Lt(1)]

    def __post_init__(self) -> None:
        if not self.backbone_weights:
            return
        if self.generator != "resnet18":
            raise ValueError(f"generator is {self.generator}; it must be resnet18 where backbone_weights is given")
        if self.normalization != "batch":
            raise ValueError(f"normalization is {self.normalization}; it must be batch where backbone_weights is given")
        if not self.backbone_sha256:
            raise ValueError("backbone_sha256 is ''; it must be the sha256 of backbone_weights")


class Up(nn.Module):
    """One level up: x (B, inputs, H, W) and a skip (B, skip, 2 H, 2 W) -> (B, outputs, 2 H, 2 W)."""

    def __init__(self, inputs: int, skip: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.rise = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), norm(outputs), nn.ReLU())
        self.join = nn.Sequential(nn.Conv2d(outputs + skip, outputs, 3, 1, 1, bias=False), norm(outputs), nn.ReLU())

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Up, then joined with the skip."""
        joined: Tensor = self.join(torch.cat((self.rise(x), skip), dim=1))
        return joined


class ResNetUNet(nn.Module):
    """U-Net whose encoder is ResNet18: L (B, 1, H, W) in [-1, 1] -> ab (B, 2, H, W) in [-1, 1]; multiples of 32."""

    multiple = 32

    def __init__(self, normalization: str) -> None:
        super().__init__()
        norm = norm_layers(normalization)
        self.decoder = nn.ModuleList(
            [Up(512, 256, 256, norm), Up(256, 128, 128, norm), Up(128, 64, 64, norm), Up(64, 64, 64, norm)]
        )
        self.last = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), norm(32), nn.ReLU(), nn.Conv2d(32, 2, 3, 1, 1)
        )
        initialize(self)
        self.backbone = ResNet18(normalization)

    def forward(self, lightness: Tensor) -> Tensor:
        """Down through ResNet18 and up again past the skips."""
        *skips, x = self.backbone(lightness)
        for layer in self.decoder:
            x = layer(x, skips.pop())
        return torch.tanh(self.last(x))


class Colorizer(nn.Module):
    """A network in [-1, 1] as a colorizer: L (B, 1, H, W) in [0, 100] -> ab (B, 2, H, W) in Lab units."""

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, lightness: Tensor) -> Tensor:
        """The colours of what L shows."""
        ab: Tensor = self.network(lightness / 50 - 1).float() * AB
        return ab


def build_generator(generator: str, width: int, normalization: str, dropout: float) -> ResNetUNet | UNet:
    """The generator of the name `resnet18` or `unet`."""
    if generator == "resnet18":
        return ResNetUNet(normalization)
    if generator == "unet":
        return UNet(1, 2, width, normalization, dropout)
    raise ValueError(f"generator is {generator!r}; it must be 'resnet18' or 'unet'")


def network(generator: str, width: int, normalization: str, dropout: float) -> nn.Module:
    """The colorizer of a bundle's keywords."""
    built = build_generator(generator, width, normalization, dropout)
    return Colorizer(built, built.multiple)


def _pair(batch: Batch) -> tuple[Tensor, Tensor]:
    lab = rgb_to_lab(batch.clean)
    return lab[:, :1] / 50 - 1, lab[:, 1:] / AB


def _rgb(source: Tensor, output: Tensor) -> Tensor:
    return lab_to_rgb(torch.cat(((source + 1) * 50, output * AB), dim=1))


class BackbonePhase:
    """The backbone learns to tell the set's classes from L alone, several of which may be in one photograph."""

    name = "backbone"

    def __init__(
        self, classifier: Classifier, epochs: int, prepare: Prepare, learning_rate: float, beta1: float
    ) -> None:
        self.classifier = classifier
        self.epochs = epochs
        self.shared = prepare(classifier)
        self.optimizer = adam(classifier, learning_rate, beta1)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update by binary cross entropy over the classes."""
        self.classifier.train()
        logits = self.shared(_pair(batch)[0]).float()
        loss = functional.binary_cross_entropy_with_logits(logits, batch.labels)
        update(self.optimizer, loss)
        return {"classes": loss.detach()}

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """The loss, and the share of photographs whose likeliest class is one of their own."""
        logits = self.classifier.eval()(_pair(batch)[0]).float()
        hits = batch.labels.gather(1, logits.argmax(dim=1, keepdim=True))
        loss = functional.binary_cross_entropy_with_logits(logits, batch.labels)
        return {"classes": loss, "accuracy": hits.mean()}

    finished = staticmethod(runs_its_epochs)


class Colorgan:
    """The backbone on classes, the generator by L1, then both networks in turn."""

    task = Task.COLORIZE

    def __init__(self, params: ColorganParams, setting: Setting) -> None:
        self.params = params
        generator = build_generator(params.generator, params.width, params.normalization, params.dropout)
        check_size(setting.size, generator.multiple, params.normalization)
        self.multiple = generator.multiple
        self.classifier = None
        if isinstance(generator, ResNetUNet):
            self.classifier = self._backbone(generator.backbone, setting.classes)
        self.gan = Gan(
            generator,
            PatchDiscriminator(3, params.width, params.normalization),
            View(_pair, _rgb),
            params.learning_rate,
            params.beta1,
            params.average,
        )

    def _backbone(self, backbone: ResNet18, classes: int) -> Classifier | None:
        if self.params.backbone_weights:
            load_backbone(backbone, Path(self.params.backbone_weights), self.params.backbone_sha256)
            return None
        return Classifier(backbone, classes) if classes and self.params.backbone_epochs else None

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """`backbone` where there is one to train and classes to train it on, `l1`, `adversarial`."""
        p = self.params
        self.gan.prepare(prepare)
        self.backbone_phase = None
        if self.classifier is not None:
            self.backbone_phase = BackbonePhase(self.classifier, p.backbone_epochs, prepare, p.learning_rate, p.beta1)
        first = () if self.backbone_phase is None else (self.backbone_phase,)
        return (*first, DistancePhase(self.gan, p.l1_epochs), AdversarialPhase(self.gan, p.epochs, p.l1, 0.0))

    def predictor(self) -> nn.Module:
        """The colorizer."""
        return Colorizer(self.gan.kept(), self.multiple)

    def network_config(self) -> dict[str, Any]:
        """Keywords of `network` that build this recipe's predictor."""
        p = self.params
        return {"generator": p.generator, "width": p.width, "normalization": p.normalization, "dropout": p.dropout}

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers and the average."""
        return state_of(self._parts())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s answer."""
        take_up(self._parts(), state)

    def _parts(self) -> dict[str, Any]:
        if self.backbone_phase is None:
            return self.gan.parts()
        head = {"classes": self.backbone_phase.classifier.fc, "classes_optimizer": self.backbone_phase.optimizer}
        return self.gan.parts() | head
