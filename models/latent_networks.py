"""The networks of Wan et al. 2020 (arXiv 2004.09484): two autoencoders and the mapping between their latent spaces.

Layers are those of the paper's table of network structures, whose 64 channels are `width`; latents have a quarter of
the photograph's side. The autoencoders have no norms: a photograph's brightness and contrast must come through. The
mapping has: without them it diverged. Photographs are sRGB in [-1, 1] except where `LatentRestorer` meets the world.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks import Norm, down, initialize, norm_layers
from models.partial import PartialNonLocal
from models.pix2pix import MOMENTUM
from models.scratches import SURE, Detector

SCALE = 4  # a photograph's side over its latent's
CERTAIN = -4.0  # log variance that latents start with
QUIET = 0.1  # share of He's weights that a last layer starts with, where what it gives should begin small
SLOPE = 0.2  # of LeakyReLU below 0


class ResidualBlock(nn.Module):
    """x + two 3x3 convolutions, norm (where there is one) and LeakyReLU between: (B, channels, H, W) -> the same."""

    def __init__(self, channels: int, norm: Norm | None) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(channels, channels, 3, norm=norm), nn.Conv2d(channels, channels, 3, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The input and what the block adds."""
        added: Tensor = self.layers(x)
        return x + added


def _residual(channels: int, blocks: int, norm: Norm | None = None) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels, norm) for _ in range(blocks)))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, norm: Norm | None = None) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2)
    return nn.Sequential(convolution, *([] if norm is None else [norm(outputs)]), nn.LeakyReLU(SLOPE))


def _rise(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(channels, channels, 4, 2, 1), nn.LeakyReLU(SLOPE))


def _start(network: nn.Module) -> None:
    """He's weights (arXiv 1502.01852): without norms, too, every layer keeps the variance of what it is given."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, SLOPE)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        if isinstance(module, nn.ConvTranspose2d):
            with torch.no_grad():
                module.weight.mul_(2)  # with stride 2 a pixel is made by a quarter of the kernel
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            _quieten(module.layers[-1])


def _quieten(layer: nn.Module) -> None:
    with torch.no_grad():
        layer.weight.mul_(QUIET)  # type: ignore[operator]


class Encoder(nn.Module):
    """sRGB (B, 3, H, W) in [-1, 1] -> mean and log variance of the latent, each (B, width, H / 4, W / 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.layers = nn.Sequential(
            _convolution(3, w, 7), _convolution(w, w, 4, 2), _convolution(w, w, 4, 2), _residual(w, 4)
        )
        self.last = nn.Conv2d(w, 2 * w, 1)
        _start(self)
        # With the variance of 1 that zeros mean, the decoder would have nothing but noise to begin with.
        nn.init.constant_(self.last.bias[w:], CERTAIN)  # type: ignore[index]

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Where the photograph lies in the latent space."""
        mean, log_variance = self.last(self.layers(picture)).float().chunk(2, dim=1)
        return mean, log_variance


class Decoder(nn.Module):
    """Latent (B, width, H / 4, W / 4) -> sRGB (B, 3, H, W) in [-1, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.layers = nn.Sequential(_residual(w, 4), _rise(w), _rise(w))
        self.last = nn.Conv2d(w, 3, 7, 1, 3)
        _start(self)
        _quieten(self.last)

    def forward(self, latent: Tensor) -> Tensor:
        """The photograph that lies there."""
        return torch.tanh(self.last(self.layers(latent)).float())


class Autoencoder(nn.Module):
    """A variational autoencoder: sRGB (B, 3, H, W) in [-1, 1] -> the same, with the latent's mean and log variance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        self.decoder = Decoder(width)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Through a latent drawn from its distribution; the mean itself in eval mode."""
        mean, log_variance = self.encoder(picture)
        latent = mean
        if self.training:
            latent = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        return self.decoder(latent), mean, log_variance


class Mapping(nn.Module):
    """Latents of old photographs (B, width, h, w) and mask (B, 1, h, w) of 0.0 and 1.0 -> latents of clean ones.

    Two branches see the features, and each answers for its own places (equation 9): a local one of residual blocks
    where they are sound, a global one that first fills them by the partial non-local block where they are destroyed.
    """

    def __init__(self, width: int, normalization: str, blocks: int) -> None:
        super().__init__()
        norm = norm_layers(normalization)
        w = width
        self.before = nn.Sequential(
            _convolution(w, 2 * w, 3, norm=norm),
            _convolution(2 * w, 4 * w, 3, norm=norm),
            _convolution(4 * w, 8 * w, 3, norm=norm),
        )
        self.filled = _residual(8 * w, 2, norm)
        self.local = _residual(8 * w, 2, norm)
        self.after = nn.Sequential(
            _residual(8 * w, blocks, norm),
            _convolution(8 * w, 4 * w, 3, norm=norm),
            _convolution(4 * w, 2 * w, 3, norm=norm),
            nn.Conv2d(2 * w, w, 3, 1, 1),
        )
        _start(self)
        _quieten(self.after[-1])
        self.partial = PartialNonLocal(8 * w)  # its softmax would be sharp from the start with He's weights

    def forward(self, latent: Tensor, mask: Tensor) -> Tensor:
        """Where the photograph would lie if it were clean: the change from where it lies, where that means anything."""
        features = self.before(latent)
        both = torch.where(mask > 0, self.filled(self.partial(features, mask)), self.local(features))
        change: Tensor = self.after(both).float()
        return torch.where(mask > 0, 0.0, latent) + change


class LatentDiscriminator(nn.Module):
    """Tells real old photographs from synthetic by their latents: (B, width, h, w) -> (B, 1, h / 4 - 1, w / 4 - 1)."""

    def __init__(self, width: int, normalization: str) -> None:
        super().__init__()
        norm = norm_layers(normalization, MOMENTUM)
        w = width
        self.layers = nn.Sequential(down(w, 2 * w, None), down(2 * w, 4 * w, norm), nn.Conv2d(4 * w, 1, 4, 1, 1))
        initialize(self)

    def forward(self, latent: Tensor) -> Tensor:
        """One score for each patch; towards 1 is real, towards 0 is synthetic."""
        scores: Tensor = self.layers(latent)
        return scores


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of Gaussians (B, C, h, w) from N(0, 1), in nats; the mean of all, of shape ()."""
    return (mean**2 + log_variance.exp() - 1 - log_variance).mean() / 2


def latent_mask(mask: Tensor) -> Tensor:
    """A photograph's mask (B, 1, H, W) of 0.0 and 1.0 for its latents: (B, 1, H / 4, W / 4).

    A latent is destroyed where any of its pixels is, or a neighbour of one: damage has soft edges, and the encoder's
    kernels reach over them.
    """
    return functional.max_pool2d(functional.max_pool2d(mask, 3, 1, 1), SCALE)


def found(detector: nn.Module, rgb: Tensor) -> Tensor:
    """The detector's marks on sRGB (B, 3, H, W) in [0, 1] as a mask (B, 1, H, W) of 0.0 and 1.0."""
    return (torch.sigmoid(detector.eval()(rgb).float()) >= SURE).float()


class LatentRestorer(nn.Module):
    """What is kept: sRGB (B, 3, H, W) in [0, 1], and a mask (B, 1, H, W), 1.0 where destroyed, or None -> sRGB.

    Without a mask the detector's marks are the mask. Latents are means: the same photograph, the same answer.
    """

    multiple = Detector.multiple
    masked = True

    def __init__(self, detector: nn.Module, encoder: nn.Module, mapping: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.detector = detector
        self.encoder = encoder
        self.mapping = mapping
        self.decoder = decoder

    def forward(self, rgb: Tensor, mask: Tensor | None = None) -> Tensor:
        """The photograph without its damage."""
        if mask is None:
            mask = found(self.detector, rgb)
        latent, _ = self.encoder(rgb * 2 - 1)
        output: Tensor = self.decoder(self.mapping(latent, latent_mask(mask)))
        return (output + 1) / 2


def network(width: int, normalization: str, blocks: int) -> nn.Module:
    """The restorer of a bundle's keywords."""
    return LatentRestorer(Detector(width), Encoder(width), Mapping(width, normalization, blocks), Decoder(width))
