"""Layers and losses' small change that several papers share."""

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

Normalization = Literal["batch", "instance"]
Norm = Callable[[int], nn.Module]
SETTLING = 15  # power iterations before the first step, as torch's own spectral norm makes


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


class SpectralNorm(nn.Module):
    """A convolution's weight divided by its largest singular value (Miyato 2018, arXiv 1802.05957, section 2.1).

    The weight counts as a matrix of (outputs, everything else). Each forward while it trains makes one power iteration
    from where the last one ended. Torch's own keeps a second vector and multiplies in autocast's bfloat16; this one
    works in the weight's own precision.
    """

    left: Tensor

    def __init__(self, weight: Tensor, transposed: bool) -> None:
        super().__init__()
        self.transposed = transposed
        matrix = self._matrix(weight.detach())
        left = functional.normalize(torch.randn_like(matrix[:, 0]), dim=0)
        for _ in range(SETTLING):
            left = _iterated(matrix, left)
        self.register_buffer("left", left)  # (outputs,) the left singular vector of the largest singular value

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight, of the same shape."""
        matrix = self._matrix(weight)
        left = self.left
        with torch.autocast(weight.device.type, enabled=False):
            if self.training:
                left = _iterated(matrix.detach(), left)
                self.left.copy_(left)
            largest: Tensor = torch.mv(matrix.t(), left).norm()
            return weight / largest

    def _matrix(self, weight: Tensor) -> Tensor:
        return (weight.transpose(0, 1) if self.transposed else weight).flatten(1)


def _iterated(matrix: Tensor, left: Tensor) -> Tensor:
    return functional.normalize(torch.mv(matrix, functional.normalize(torch.mv(matrix.t(), left), dim=0)), dim=0)


def normalize_spectrally(network: nn.Module) -> None:
    """Puts spectral norm on every convolution of a network. Called once, after `initialize`."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    for convolution in convolutions:
        norm = SpectralNorm(convolution.weight, isinstance(convolution, nn.ConvTranspose2d))
        parametrize.register_parametrization(convolution, "weight", norm)


def folded(network: nn.Module, plain: nn.Module) -> nn.Module:
    """`plain` with the weights of `network`, the same but for spectral norms: they are folded into its convolutions.

    `plain` may be on the meta device; what it gets are copies, and it computes what `network` does in eval mode.
    """
    frozen = copy.deepcopy(network).eval()  # in train mode each look at a weight is a power iteration
    state = {name: value for name, value in frozen.state_dict().items() if ".parametrizations." not in f".{name}"}
    for name, module in frozen.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight.detach()
    plain.load_state_dict(state, assign=True)
    return plain
