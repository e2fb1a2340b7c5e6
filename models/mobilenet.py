"""MobileNetV2 (Sandler 2018, arXiv 1801.04381) with torchvision's layer names, so that its published weights load."""

import math

import numpy as np
import torch
from torch import Tensor, nn

# Table 2 of the paper: expansion, channels, how many blocks, the first one's stride.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_LEVELS = (1, 3, 6, 13, 17, 18)  # the last layer at 1/2, 1/4, 1/8, 1/16 and 1/32, and the last of all


class InvertedResidual(nn.Module):
    """Wide inside, narrow outside (section 3.3): (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers = [] if expansion == 1 else [_convolution(inputs, wide, 1)]
        layers.append(_convolution(wide, wide, 3, stride, groups=wide))
        self.conv = nn.Sequential(*layers, nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Features of features, as the class says."""
        made: Tensor = self.conv(x)
        return x + made if self.adds else made


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


class MobileNetV2(nn.Module):
    """Normalised sRGB (B, 3, H, W) -> six feature maps at 1/2, 1/4, 1/8, 1/16, 1/32 and 1/32, the last of 1280."""

    channels = (16, 24, 32, 96, 320, 1280)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(3, 32, 3, 2)]
        inputs = 32
        for expansion, outputs, blocks, stride in _STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(inputs, outputs, 1 if block else stride, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers, _convolution(inputs, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps of `channels`, from fine to coarse."""
        levels = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _LEVELS:
                levels.append(x)
        return levels


def randomize(network: MobileNetV2, seed: int) -> None:
    """Weights that are a function of `seed` alone: He 2015 (arXiv 1502.01852), eq. 10, gain 1 where no ReLU follows.

    By fan-in, that of a depthwise layer being its 3 x 3, so that no level vanishes or grows beyond the next: random
    features still tell colour from grey and sharp from blurred. From numpy, whose streams are alike on all machines.
    """
    stream = np.random.default_rng(seed)
    linear = {block.conv[-2] for block in network.modules() if isinstance(block, InvertedResidual)}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            gain, inputs = (1.0 if layer in linear else math.sqrt(2)), layer.weight[0].numel()
            drawn = stream.standard_normal(tuple(layer.weight.shape), np.float32) * np.float32(gain / math.sqrt(inputs))
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(drawn))
