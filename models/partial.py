"""The partial non-local block: destroyed places are filled from every sound place of the photograph.

Wan, Zhang, Chen et al. 2020 (arXiv 2004.09484), section 3.2, equations 6 to 8; attention is Wang 2018's embedded
Gaussian (arXiv 1711.07971) with the weights of destroyed places at zero.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PartialNonLocal(nn.Module):
    """Features x (B, C, H, W) and mask (B, 1, H, W), 1.0 where they are destroyed, else 0.0 -> (B, C, H, W).

    A sound place keeps its features. A destroyed one gets nu of the sum over all sound places j of s_ij mu(x_j), where
    s_ij is the softmax over j of theta(x_i) . phi(x_j); theta, phi, mu and nu are 1x1 convolutions. So what a destroyed
    place holds can reach no other. A photograph without a sound place is given back as it is.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.mu = nn.Conv2d(channels, inner, 1)
        self.nu = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The features with the destroyed ones replaced."""
        sound = mask == 0
        some = sound.flatten(1).any(dim=1).view(-1, 1, 1, 1)
        # Chosen, not multiplied: a destroyed place may hold inf, and inf * 0 is NaN, also backward.
        known = torch.where(sound, x, 0.0)
        attended = functional.scaled_dot_product_attention(
            _rows(self.theta(x)),
            _rows(self.phi(known)),
            _rows(self.mu(known)),
            # Where all is destroyed the softmax would be over nothing; its result is not used.
            attn_mask=_rows(sound | ~some).transpose(2, 3),
            scale=1.0,
        )
        filled = self.nu(attended.squeeze(1).transpose(1, 2).reshape(len(x), -1, *x.shape[2:]))
        return torch.where(sound | ~some, x, filled.to(x.dtype))


def _rows(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H * W, C), as attention with one head takes it."""
    return x.flatten(2).transpose(1, 2).unsqueeze(1)
