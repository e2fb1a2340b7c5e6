"""A discriminator that judges pictures or latents by themselves, with the least-squares loss that `latent` uses."""

import torch
from torch import Tensor
from torch.nn import functional

from models.adversarial import adam, update
from models.latent_networks import LatentDiscriminator
from models.pix2pix import PatchDiscriminator
from models.recipe import Prepare


class Judge:
    """A discriminator with the least-squares loss (Mao 2017, arXiv 1611.04076): real is 1, fake is 0."""

    def __init__(self, network: PatchDiscriminator | LatentDiscriminator) -> None:
        self.network = network

    def prepare(self, prepare: Prepare, learning_rate: float, beta1: float) -> None:
        """Puts the network where it will learn and makes its optimiser."""
        self.shared = prepare(self.network)
        self.optimizer = adam(self.network, learning_rate, beta1)

    def learn(self, real: Tensor, fake: Tensor) -> Tensor:
        """One update by real and fake pictures or latents, (B, C, H, W) each; the loss, detached, of shape ()."""
        self.network.train()
        scores = self.shared(torch.cat((real, fake.to(real.dtype))).detach())
        loss = (_off(scores[: len(real)], 1.0) + _off(scores[len(real) :], 0.0)) / 2
        update(self.optimizer, loss)
        return loss.detach()

    def fooling(self, fake: Tensor) -> Tensor:
        """How far fakes (B, C, H, W) are from passing as real, of shape (); the network is frozen."""
        return _off(self._features(fake)[-1], 1.0)

    def confusion(self, real: Tensor, fake: Tensor) -> Tensor:
        """How far real and fake are from passing as each other, of shape (); the network is frozen."""
        scores = self._features(torch.cat((real, fake)))[-1]
        return (_off(scores[: len(real)], 0.0) + _off(scores[len(real) :], 1.0)) / 2

    def matching(self, made: Tensor, truth: Tensor) -> Tensor:
        """The L1 distance of two pictures' features, each layer's mean added up, of shape (); the network is frozen."""
        features = [layer.float().chunk(2) for layer in self._features(torch.cat((made, truth)))[:-1]]
        return torch.stack([functional.l1_loss(mine, its) for mine, its in features]).sum()

    def _features(self, x: Tensor) -> list[Tensor]:
        """What each layer makes of x, the scores last; weights and running statistics stay as they are."""
        self.network.eval().requires_grad_(False)
        features = []
        for layer in self.network.layers:
            x = layer(x)
            features.append(x)
        self.network.requires_grad_(True)
        return features


def _off(scores: Tensor, target: float) -> Tensor:
    return ((scores.float() - target) ** 2).mean()
