"""ResNet18 (He 2015, arXiv 1512.03385) with torchvision's layer names, so that its published weights file loads."""

from pathlib import Path

import torch
from torch import Tensor, nn

from models.blocks import Norm, norm_layers
from models.published import load_published


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


def load_backbone(backbone: ResNet18, path: Path, sha256: str) -> None:
    """Loads torchvision's ResNet18 file into the backbone; `fc` is left out. WeightsError where it is no such file."""
    load_published(backbone, path, sha256, "torchvision's ResNet18", ours={"mean", "std"}, left_out=("fc.",))
