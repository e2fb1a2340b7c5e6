"""Conditional GAN training that several papers share: one generator, one discriminator, updated in turn.

Isola 2017, section 3: the discriminator sees (source, target) pairs; the generator is asked to fool it and to stay near
the target in L1. Everything here is in the networks' own range, [-1, 1].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from models.distance import psnr
from models.recipe import Batch, Prepare, runs_its_epochs

Network = TypeVar("Network", bound=nn.Module)
FUSED_ADAM = ("cpu", "cuda")  # device types whose fused Adam torch has; on a CPU it is several times the default


@dataclass(frozen=True)
class View:
    """How a task's photographs look to its networks."""

    pair: Callable[[Batch], tuple[Tensor, Tensor]]  # -> source (B, S, H, W) and target (B, T, H, W), both in [-1, 1]
    rgb: Callable[[Tensor, Tensor], Tensor]  # source, output -> sRGB (B, 3, H, W) in [0, 1]


RESTORING = View(lambda batch: (batch.damaged * 2 - 1, batch.clean * 2 - 1), lambda _, output: (output + 1) / 2)


@dataclass(frozen=True)
class Game:
    """What a discriminator's logits (B, 1, h, w) are judged by; each loss is a mean of shape (), in float32."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # of real pairs, of fake ones -> its loss
    generator: Callable[[Tensor], Tensor]  # of fake pairs -> the generator's loss


def adam(network: nn.Module, learning_rate: float, beta1: float, beta2: float = 0.999) -> torch.optim.Adam:
    """Adam over a network's parameters, fused where the device has it. Made after the network is on its device."""
    parameters = list(network.parameters())
    fused = parameters[0].device.type in FUSED_ADAM
    return torch.optim.Adam(parameters, lr=learning_rate, betas=(beta1, beta2), fused=fused)


def running_average(network: nn.Module, decay: float) -> AveragedModel:
    """A copy whose weights follow the network's slowly (EMA); norms' running statistics are copied as they are.

    The decay grows to its value with the number of updates, (1 + n) / (10 + n) at most: a young average would
    otherwise consist of the untrained weights.
    """

    @torch.no_grad()
    def follow(averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor) -> None:
        n = int(updates)
        torch._foreach_lerp_(list(averaged), list(current), 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(network, multi_avg_fn=follow)  # type: ignore[arg-type]


def kept(network: Network, averaged: AveragedModel | None) -> Network:
    """What is kept of a network: its running average where there is one."""
    return network if averaged is None else cast(Network, averaged.module)


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down a loss."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    # Within one autocast region the bfloat16 copies of weights are kept: the next forward must see the new weights.
    torch.clear_autocast_cache()


def verdict(logits: Tensor, real: bool) -> Tensor:
    """Binary cross entropy of patch logits (B, 1, h, w) against all-real or all-fake, as a mean of shape ()."""
    logits = logits.float()
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def _hinge(real: Tensor, made: Tensor) -> Tensor:
    return (functional.relu(1 - real.float()) + functional.relu(1 + made.float())).mean()


CROSS_ENTROPY = Game(  # Isola 2017: halved for the discriminator, which else would be quicker than the generator
    lambda real, made: (verdict(real, real=True) + verdict(made, real=False)) / 2,
    lambda made: verdict(made, real=True),
)
HINGE = Game(_hinge, lambda made: -made.float().mean())  # Zhang 2019, equation 4


class Gan:
    """A generator and a discriminator with their optimisers and the generator's running average.

    `discriminator_rate` is the discriminator's own learning rate (Heusel 2017); without one both learn at the same.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        view: View,
        learning_rate: float,
        beta1: float,
        average: float,
        game: Game = CROSS_ENTROPY,
        discriminator_rate: float | None = None,
        beta2: float = 0.999,
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.view = view
        self.learning_rate = learning_rate
        self.discriminator_rate = learning_rate if discriminator_rate is None else discriminator_rate
        self.betas = (beta1, beta2)
        self.game = game
        self.averaged = running_average(generator, average) if average else None

    def prepare(self, prepare: Prepare) -> None:
        """Puts both networks where they will learn and makes their optimisers."""
        self.shared_generator = prepare(self.generator)
        self.shared_discriminator = prepare(self.discriminator)
        self.generator_optimizer = adam(self.generator, self.learning_rate, *self.betas)
        self.discriminator_optimizer = adam(self.discriminator, self.discriminator_rate, *self.betas)
        if self.averaged is not None:
            self.averaged.to(next(self.generator.parameters()).device)

    def kept(self) -> nn.Module:
        """The generator that is kept: the averaged one where there is an average."""
        return kept(self.generator, self.averaged)

    def fake(self, source: Tensor) -> Tensor:
        """The generator's output while it learns: (B, S, H, W) -> (B, T, H, W)."""
        self.generator.train()
        output: Tensor = self.shared_generator(source)
        return output

    def frozen_fake(self, source: Tensor) -> Tensor:
        """The generator's output while it is frozen: nothing to differentiate, so no wrapper and no graph."""
        self.generator.train()
        with torch.no_grad():
            output: Tensor = self.generator(source)
        return output

    def update_discriminator(self, source: Tensor, target: Tensor, fake: Tensor) -> Tensor:
        """One update of the discriminator alone; its loss, detached.

        Real and fake pairs pass in one forward: batch norm then normalises by what both have in common, which is also
        what its running statistics hold, and DistributedDataParallel allows only one forward per backward.
        """
        self.discriminator.train()
        pairs = torch.cat((torch.cat((source, target), 1), torch.cat((source, fake.detach().to(target.dtype)), 1)))
        real, made = self.shared_discriminator(pairs).chunk(2)
        loss = self.game.discriminator(real, made)
        update(self.discriminator_optimizer, loss)
        return loss.detach()

    def update_generator(self, source: Tensor, target: Tensor, fake: Tensor, l1: float) -> dict[str, Tensor]:
        """One update of the generator with the discriminator frozen, weights and running statistics alike."""
        distance = functional.l1_loss(fake.float(), target)
        self.discriminator.eval().requires_grad_(False)
        fooling = self.game.generator(self.discriminator(torch.cat((source, fake.to(source.dtype)), 1)))
        self.discriminator.requires_grad_(True)
        self.descend(fooling + l1 * distance)
        return {"generator": fooling.detach(), "l1": distance.detach()}

    def descend(self, loss: Tensor) -> None:
        """One update of the generator down a loss, and of its average."""
        update(self.generator_optimizer, loss)
        if self.averaged is not None:
            self.averaged.update_parameters(self.generator)

    @torch.no_grad()
    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """What the kept generator makes of held-out photographs: `l1` in [-1, 1] units and `psnr` in dB."""
        source, target = self.view.pair(batch)
        output = self.kept().eval()(source).float()
        return {
            "l1": functional.l1_loss(output, target),
            "psnr": psnr(self.view.rgb(source, output), batch.clean).mean(),
        }

    @torch.no_grad()
    def judge(self, batch: Batch) -> dict[str, Tensor]:
        """The share of held-out patches that the discriminator sees for what they are, real and fake apart.

        The fakes are those of the generator that learns: the averaged one, which the discriminator has never met,
        would pass as real from the first epoch on.
        """
        source, target = self.view.pair(batch)
        output = self.generator.eval()(source).float()
        self.discriminator.eval()
        real = self.discriminator(torch.cat((source, target), 1)) > 0
        fake = self.discriminator(torch.cat((source, output), 1)) <= 0
        return {
            "discriminator_accuracy_real": real.float().mean(),
            "discriminator_accuracy_fake": fake.float().mean(),
        }

    def parts(self) -> dict[str, Any]:
        """Everything that a resume needs, by name."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        } | ({} if self.averaged is None else {"average": self.averaged})


@dataclass(frozen=True)
class DiscriminatorPhase:
    """The discriminator learns alone; the generator is frozen."""

    gan: Gan
    epochs: int
    name: str = "discriminator"

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the discriminator."""
        source, target = self.gan.view.pair(batch)
        return {"discriminator": self.gan.update_discriminator(source, target, self.gan.frozen_fake(source))}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """The discriminator's accuracies."""
        return self.gan.judge(batch)

    finished = staticmethod(runs_its_epochs)


@dataclass(frozen=True)
class DistancePhase:
    """The generator learns alone, by L1."""

    gan: Gan
    epochs: int
    name: str = "l1"

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the generator."""
        source, target = self.gan.view.pair(batch)
        loss = functional.l1_loss(self.gan.fake(source).float(), target)
        self.gan.descend(loss)
        return {"l1": loss.detach()}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """The generator's distance from the truth."""
        return self.gan.measure(batch)

    finished = staticmethod(runs_its_epochs)


@dataclass(frozen=True)
class AdversarialPhase:
    """Discriminator and generator learn in turn; whichever does not is frozen."""

    gan: Gan
    epochs: int
    l1: float
    fooled_below: float  # accuracy on held-out fakes below which the discriminator is fooled; 0.0 for never
    name: str = "adversarial"

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of each. The generator runs once: the discriminator's update does not change what it made."""
        source, target = self.gan.view.pair(batch)
        fake = self.gan.fake(source)
        loss = self.gan.update_discriminator(source, target, fake)
        return {"discriminator": loss, **self.gan.update_generator(source, target, fake, self.l1)}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """The generator's distance from the truth and the discriminator's accuracies."""
        return self.gan.measure(batch) | self.gan.judge(batch)

    def finished(self, validation: Mapping[str, float]) -> bool:
        """Whether the discriminator is fooled on held-out pairs."""
        return validation["discriminator_accuracy_fake"] < self.fooled_below
