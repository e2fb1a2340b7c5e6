"""Inception v3 as the Fréchet Inception Distance uses it (Szegedy 2015, arXiv 1512.00567; Heusel 2017, 1706.08500).

The layer names are torchvision's and those of the published FID weights, which were TensorFlow's in 2015. That network
differs from torchvision's in its pooling: averages leave the padding out, and the last block takes a maximum.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Size = int | tuple[int, int]
Pool = Callable[[Tensor], Tensor]


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        return torch.relu(self.bn(self.conv(x)))


def _wide(inputs: int, outputs: int) -> Convolution:
    return Convolution(inputs, outputs, (1, 7), padding=(0, 3))


def _high(inputs: int, outputs: int) -> Convolution:
    return Convolution(inputs, outputs, (7, 1), padding=(3, 0))


def _average(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, 1, 1)


class BlockA(nn.Module):
    """At 35 px (figure 5): inputs -> 224 + pooled channels."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 64, 1)
        self.branch5x5_1 = Convolution(inputs, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The four branches, one after another."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_average(x))], dim=1)


class BlockB(nn.Module):
    """From 35 to 17 px (figure 10): inputs -> inputs + 480 channels."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(inputs, 384, 3, 2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The three branches, one after another."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], dim=1)


class BlockC(nn.Module):
    """At 17 px (figure 6, n = 7): 768 -> 768 channels, `narrow` inside."""

    def __init__(self, narrow: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(768, 192, 1)
        self.branch7x7_1 = Convolution(768, narrow, 1)
        self.branch7x7_2 = _wide(narrow, narrow)
        self.branch7x7_3 = _high(narrow, 192)
        self.branch7x7dbl_1 = Convolution(768, narrow, 1)
        self.branch7x7dbl_2 = _high(narrow, narrow)
        self.branch7x7dbl_3 = _wide(narrow, narrow)
        self.branch7x7dbl_4 = _high(narrow, narrow)
        self.branch7x7dbl_5 = _wide(narrow, 192)
        self.branch_pool = Convolution(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The four branches, one after another."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average(x))], dim=1)


class BlockD(nn.Module):
    """From 17 to 8 px: 768 -> 1280 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(768, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, 2)
        self.branch7x7x3_1 = Convolution(768, 192, 1)
        self.branch7x7x3_2 = _wide(192, 192)
        self.branch7x7x3_3 = _high(192, 192)
        self.branch7x7x3_4 = Convolution(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The three branches, one after another."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, functional.max_pool2d(x, 3, 2)], dim=1)


class BlockE(nn.Module):
    """At 8 px (figure 7): inputs -> 2048 channels."""

    def __init__(self, inputs: int, pool: Pool) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 320, 1)
        self.branch3x3_1 = Convolution(inputs, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Convolution(inputs, 192, 1)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """The four branches, two of them forked at the end, one after another."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        forked = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        forked += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *forked, self.branch_pool(self.pool(x))], dim=1)


class InceptionV3(nn.Module):
    """sRGB (B, 3, 299, 299) in [-1, 1] -> four feature maps of 73, 35, 17 and 8 px, the last of 2048 channels."""

    channels = (64, 192, 768, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b = BlockA(192, pooled=32)
        self.Mixed_5c = BlockA(256, pooled=64)
        self.Mixed_5d = BlockA(288, pooled=64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(narrow=128)
        self.Mixed_6c = BlockC(narrow=160)
        self.Mixed_6d = BlockC(narrow=160)
        self.Mixed_6e = BlockC(narrow=192)
        self.Mixed_7a = BlockD()
        self.Mixed_7b = BlockE(1280, _average)
        self.Mixed_7c = BlockE(2048, _maximum)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps of `channels`, from fine to coarse."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        levels = [functional.max_pool2d(x, 3, 2)]
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(levels[0]))
        levels.append(functional.max_pool2d(x, 3, 2))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(levels[1])))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        levels.append(x)
        levels.append(self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))))
        return levels
