"""Self-attention over the places of a feature map.

Zhang, Goodfellow, Metaxas, Odena 2019 (arXiv 1805.08318), section 3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks import initialize

SHARE = 8  # queries and keys have this part of the channels: 1 / 8
VALUES = 2  # values have this part of them: 1 / 2


class SelfAttention(nn.Module):
    """Every place looks at every other one: features (B, channels, H, W) -> the same shape; `channels` at least 8.

    x + gamma * attention(x), where gamma is learnt and starts at 0: the network relies on what is near first and on
    what is far later. Dot products are not scaled (equation 1). Values have half of the channels and a convolution
    back, as in the authors' released code; unlike there, keys and values are not pooled.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < SHARE:
            raise ValueError(f"channels is {channels}; it must be at least {SHARE}")
        self.query = nn.Conv2d(channels, channels // SHARE, 1, bias=False)  # f of the paper
        self.key = nn.Conv2d(channels, channels // SHARE, 1, bias=False)  # g
        self.value = nn.Conv2d(channels, channels // VALUES, 1, bias=False)  # h
        self.back = nn.Conv2d(channels // VALUES, channels, 1, bias=False)  # v
        self.gamma = nn.Parameter(torch.zeros(()))
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """The features, and gamma times what each place gathers from all of them."""
        query, key, value = (_rows(layer(x)) for layer in (self.query, self.key, self.value))
        seen = functional.scaled_dot_product_attention(query, key, value, scale=1.0)  # (B, 1, H W, channels / 2)
        gathered: Tensor = self.back(seen.squeeze(1).transpose(1, 2).reshape(len(x), -1, *x.shape[2:]))
        return x + self.gamma * gathered


def _rows(features: Tensor) -> Tensor:
    """(B, C, H, W) as one head's rows, (B, 1, H W, C)."""
    return features.flatten(2).transpose(1, 2).unsqueeze(1)
