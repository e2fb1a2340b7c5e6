"""ResNet18 (He 2015, arXiv 1512.03385) with torchvision's layer names, so that its published weights file loads."""

from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.blocks import Norm, norm_layers


class WeightsError(ValueError):
    """A file of published weights that is not what it should be; the message names file and cause."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = norm(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Features of features, as the class says."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


def _layer(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride, norm), BasicBlock(outputs, outputs, 1, norm))


class ResNet18(nn.Module):
    """ResNet18 without its last layer: L (B, 1, H, W) in [-1, 1] -> features at 1/2, 1/4, 1/8, 1/16 and 1/32."""

    channels = (64, 64, 128, 256, 512)

    mean: Tensor
    std: Tensor

    def __init__(self, normalization: str) -> None:
        super().__init__()
        norm = norm_layers(normalization)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = norm(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _layer(64, 64, 1, norm)
        self.layer2 = _layer(64, 128, 2, norm)
        self.layer3 = _layer(128, 256, 2, norm)
        self.layer4 = _layer(256, 512, 2, norm)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, lightness: Tensor) -> list[Tensor]:
        """Five feature maps of `channels`, from fine to coarse."""
        x = ((lightness + 1) / 2 - self.mean) / self.std  # (B, 3, H, W)
        features = [torch.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(features[0])
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features


class Classifier(nn.Module):
    """The whole ResNet18: L (B, 1, H, W) in [-1, 1] -> logits (B, classes)."""

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.fc = nn.Linear(512, classes)

    def forward(self, lightness: Tensor) -> Tensor:
        """One logit for each class."""
        logits: Tensor = self.fc(self.backbone(lightness)[-1].mean(dim=(2, 3)))
        return logits


def load_published(backbone: ResNet18, path: Path, sha256: str) -> None:
    """Loads torchvision's ResNet18 file into the backbone by its own names; `fc` is left out.

    WeightsError where the file is missing, is another file, or lacks a layer or has one too many.
    """
    state = _read(path, sha256)
    expected = set(backbone.state_dict()) - {"mean", "std"}
    given = {name: value for name, value in state.items() if not name.startswith("fc.")}
    # Files from before 2018 have no batch counters; nothing here reads them.
    missing = sorted(name for name in expected - set(given) if not name.endswith("num_batches_tracked"))
    unknown = sorted(set(given) - expected)
    if missing or unknown:
        what = f"lacks the layer {missing[0]}" if missing else f"has the layer {unknown[0]}, which ResNet18 has not"
        raise WeightsError(f"{path} {what}; it must be torchvision's ResNet18")
    try:
        backbone.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{path}: {' '.join(str(error).split())}") from error


def _read(path: Path, sha256: str) -> Mapping[str, Tensor]:
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if found != sha256.lower():
        raise WeightsError(f"{path} has sha256 {found}; it must be {sha256}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{path} is no file of weights: {' '.join(str(error).split())}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}; it must be a mapping of layers to weights")
    return state
