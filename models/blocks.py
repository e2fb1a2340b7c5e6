"""Layers and losses' small change that several papers share."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Normalization = Literal["batch", "instance"]
Norm = Callable[[int], nn.Module]


def norm_layers(normalization: str, momentum: float = 0.1) -> Norm:
    """Makes normalisation layers of a number of channels. `instance` makes a photograph's result its own alone.

    `momentum` is how fast batch norm's running statistics, which it uses in eval mode, follow the batches.
    """
    if normalization == "batch":
        return lambda channels: nn.BatchNorm2d(channels, momentum=momentum)
    if normalization == "instance":
        return lambda channels: nn.InstanceNorm2d(channels, affine=True)
    raise ValueError(f"normalization is {normalization!r}; it must be 'batch' or 'instance'")


def initialize(network: nn.Module) -> None:
    """Every convolution N(0, 0.02) and every norm's scale N(1, 0.02), as pix2pix does (Isola 2017, section 6.2)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def down(inputs: int, outputs: int, norm: Norm | None, stride: int = 2) -> nn.Sequential:
    """C of the papers: 4x4 convolution, norm, LeakyReLU 0.2. (B, inputs, H, W) -> (B, outputs, H / 2, W / 2).

    With stride 1 a side shrinks by one pixel. Without a norm the convolution has a bias.
    """
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, stride, 1, bias=norm is None)]
    if norm is not None:
        layers.append(norm(outputs))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))


def up(inputs: int, outputs: int, norm: Norm, dropout: float) -> nn.Sequential:
    """CD of the papers: 4x4 up-convolution, norm, dropout, ReLU. (B, inputs, H, W) -> (B, outputs, 2 H, 2 W)."""
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
    return nn.Sequential(convolution, norm(outputs), nn.Dropout(dropout), nn.ReLU())


def psnr(picture: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each picture, (B, 3, H, W) in [0, 1] -> (B,); 100 where they are equal."""
    error = functional.mse_loss(picture.float().clamp(0, 1), truth.float(), reduction="none").mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp(min=1e-10))
