"""Fixed networks whose features measure pictures: each brings its own size and scaling of pixels.

An extractor's name is part of every number it makes. `mobilenet_v2_random` needs no file: random features are poor
judges, but they are the same on every machine and tell a picture from its grey, blurred or noisy self.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.alexnet import AlexNet
from models.inception import InceptionV3
from models.mobilenet import MobileNetV2, randomize
from models.published import WeightsError, load_published

MOBILENET, RANDOM, INCEPTION, ALEXNET = "mobilenet_v2", "mobilenet_v2_random", "inception_v3", "alexnet"
NAMES = (MOBILENET, RANDOM, INCEPTION, ALEXNET)

_SEED = 1907
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's; LPIPS's own constants are the same


@dataclass(frozen=True)
class Features:
    """What a network sees in B pictures; float32."""

    levels: list[Tensor]  # feature maps (B, C_l, H_l, W_l), from fine to coarse
    pooled: Tensor  # (B, D): the last level's mean over its pixels
    logits: Tensor | None  # (B, 1000) in the order of models.imagenet_classes; None where no classifier was trained


class Extractor(nn.Module):
    """A fixed network behind its own resize and scaling. Never learns: frozen, and always in eval mode."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        network: nn.Module,
        classifier: nn.Module | None,
        size: int | None,
        antialias: bool,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.name, self.size, self.antialias = name, size, antialias
        self.network, self.classifier = network, classifier
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode whatever contains it does."""
        return super().train(False)

    def forward(self, rgb: Tensor) -> Features:
        """Features of sRGB (B, 3, H, W) in [0, 1] of any size; gradients reach `rgb`."""
        rgb = rgb.float()
        if self.size is not None:
            size = (self.size, self.size)
            rgb = functional.interpolate(rgb, size, mode="bilinear", align_corners=False, antialias=self.antialias)
        levels: list[Tensor] = self.network((rgb - self.mean) / self.std)
        pooled = levels[-1].mean(dim=(2, 3))
        return Features(levels, pooled, None if self.classifier is None else self.classifier(pooled))


def build_extractor(name: str, weights: str, sha256: str) -> Extractor:
    """The extractor `name` with the weights file `weights`, whose sha256 is checked.

    `mobilenet_v2`: torchvision's, at 224 px; without a file (`weights` is "") it becomes `mobilenet_v2_random`.
    `inception_v3`: the FID network, pytorch-fid's pt_inception-2015-12-05, at 299 px without antialiasing, as FID is
    taken everywhere. `alexnet`: torchvision's, at the picture's own size, as LPIPS takes it. WeightsError where the
    file is missing or another; ValueError where the name is none of these.
    """
    if name not in NAMES:
        raise ValueError(f"the extractor is {name!r}; it must be one of {', '.join(NAMES)}")
    if not weights and name in (MOBILENET, RANDOM):
        return _random()
    if not weights or name == RANDOM:
        raise WeightsError(f"{name} has the weights file {weights!r}; it must have {'none' if weights else 'one'}")
    if name == MOBILENET:
        mobilenet = MobileNetV2()
        load_published(mobilenet, Path(weights), sha256, "torchvision's MobileNetV2")
        return Extractor(MOBILENET, mobilenet, mobilenet.classifier, 224, True, _MEAN, _STD)
    if name == INCEPTION:
        inception = InceptionV3()
        load_published(inception, Path(weights), sha256, "pytorch-fid's Inception v3", left_out=("fc.", "AuxLogits."))
        return Extractor(INCEPTION, inception, None, 299, False, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    alexnet = AlexNet()
    load_published(alexnet, Path(weights), sha256, "torchvision's AlexNet", left_out=("classifier.",))
    return Extractor(ALEXNET, alexnet, None, None, False, _MEAN, _STD)


def _random() -> Extractor:
    network = MobileNetV2()
    randomize(network, _SEED)
    return Extractor(RANDOM, network, None, 224, True, _MEAN, _STD)
