"""AlexNet (Krizhevsky 2014, arXiv 1404.5997) by torchvision's layer names, and LPIPS's linear heads for it."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from models.published import load_published


class AlexNet(nn.Module):
    """Normalised sRGB (B, 3, H, W), sides from 63 px -> what its five convolutions give after their ReLU."""

    channels = (64, 192, 384, 256, 256)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps of `channels`, from fine to coarse."""
        levels = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                levels.append(x)
        return levels


class Heads(nn.Module):
    """How much each channel of AlexNet's matters to people: Zhang 2018 (arXiv 1801.03924), section 3, "lin"."""

    def __init__(self) -> None:
        super().__init__()
        self.lin0, self.lin1, self.lin2, self.lin3, self.lin4 = (_Head(channels) for channels in AlexNet.channels)

    def forward(self, squares: Sequence[Tensor]) -> list[Tensor]:
        """Squared differences (B, C_l, H_l, W_l) of the five levels -> their weighted sums (B, 1, H_l, W_l)."""
        heads = (self.lin0, self.lin1, self.lin2, self.lin3, self.lin4)
        return [head(square) for head, square in zip(heads, squares, strict=True)]


class _Head(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        # The published file's names count a dropout before the convolution.
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, square: Tensor) -> Tensor:
        weighed: Tensor = self.model(square)
        return weighed


def load_heads(path: Path, sha256: str) -> Heads:
    """The `lpips` package's heads for AlexNet (v0.1/alex.pth), frozen; WeightsError where it is no such file."""
    heads = Heads()
    load_published(heads, path, sha256, "LPIPS's linear heads for AlexNet")
    return heads.eval().requires_grad_(False)
