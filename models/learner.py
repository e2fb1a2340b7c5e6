"""A network that learns by itself: with the running average that is kept of it, and what a checkpoint holds of it."""

from collections.abc import Mapping
from typing import Any, Generic

import torch
from torch import Tensor

from models.adversarial import Network, kept, running_average, update
from models.recipe import Prepare


class Learner(Generic[Network]):
    """A network and its running average; an `average` of 0 keeps none. Optimisers are the recipe's own."""

    def __init__(self, network: Network, average: float) -> None:
        self.network = network
        self.averaged = running_average(network, average) if average else None

    def prepare(self, prepare: Prepare) -> torch.device:
        """Puts the network where it will learn, and its average beside it; the device. Before optimisers are made."""
        self.shared = prepare(self.network)
        device = next(self.network.parameters()).device
        if self.averaged is not None:
            self.averaged.to(device)
        return device

    def descend(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """One update of the network down a loss, and of its average."""
        update(optimizer, loss)
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def kept(self) -> Network:
        """What is kept: the average where there is one."""
        return kept(self.network, self.averaged)

    def parts(self) -> dict[str, Any]:
        """The network and its average, by name."""
        return {"network": self.network} | ({} if self.averaged is None else {"average": self.averaged})


def state_of(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The state of networks, optimisers and averages, by their names: what a checkpoint holds of a recipe."""
    return {name: part.state_dict() for name, part in parts.items()}


def take_up(parts: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Gives `state_of`'s answer back to the parts."""
    for name, part in parts.items():
        part.load_state_dict(state[name])
