"""What a way of training is: a recipe is a list of phases, and a phase is one update repeated.

Every paper here trains in stages, so the loop (`pipelines/loop.py`) knows only these two protocols and a paper's
file holds everything that is its own: networks, losses, optimisers and when a phase is over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from models.task import Task

Prepare = Callable[[nn.Module], nn.Module]
"""Puts a network on its device and, where there are several workers, into DistributedDataParallel."""


@dataclass(frozen=True)
class Batch:
    """Photographs as a phase sees them; all pictures are sRGB in [0, 1], on the recipe's device."""

    clean: Tensor  # (B, 3, H, W)
    damaged: Tensor  # (B, 3, H, W); equal to clean where the recipe's data is not damaged
    mask: Tensor  # (B, 1, H, W) 1.0 where the damage destroyed the pixel, else 0.0
    labels: Tensor  # (B, K) multi-hot 0.0 / 1.0 over the training set's sorted class names
    real: Tensor | None = None  # (B, 3, H, W) genuine old photographs, of which no truth is known; None without any


@dataclass(frozen=True)
class Setting:
    """What a recipe is told of the photographs that it will learn from."""

    classes: int  # how many class names they have together
    size: int  # height and width of each, pixels
    palette: Tensor | None = None  # (313,) share of each ab bin in them, adding up to 1; for recipes that ask for it
    real: bool = False  # whether batches will have genuine old photographs beside the damaged ones


class Phase(Protocol):
    """One stage of a paper's training."""

    @property
    def name(self) -> str:
        """The prefix of this phase's metrics, such as `adversarial`."""

    @property
    def epochs(self) -> int:
        """How many epochs it lasts at most; 0 skips it."""

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Make one update from this worker's share of the batch; return its losses, detached, each of shape ()."""

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Measure a held-out batch without learning from it; each value is a per-photograph mean of shape ().

        The loop averages them over batches (weighted by photographs) and workers.
        """

    def finished(self, validation: Mapping[str, float]) -> bool:
        """Whether the phase is over before its epochs are, such as when the discriminator is fooled."""


def runs_its_epochs(validation: Mapping[str, float]) -> bool:
    """`Phase.finished` of a phase that is never over before its epochs are."""
    return False


class Recipe(Protocol):
    """A way of training one network."""

    @property
    def task(self) -> Task:
        """What the trained network will do."""

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """The phases in order. Called once; passes every network that learns through `prepare`."""

    def predictor(self) -> nn.Module:
        """The network that is kept when training ends (with averaged weights where the recipe averages).

        A restorer or translator maps sRGB (B, 3, H, W) in [0, 1] to the same; a colorizer maps L (B, 1, H, W) in
        [0, 100] to ab (B, 2, H, W) in Lab units; a detector maps sRGB (B, 3, H, W) in [0, 1] to the probability
        (B, 1, H, W) that a pixel is destroyed. Any scaling is inside. Its attribute `multiple` is what the sides it
        takes are multiples of. A restorer whose attribute `masked` is True takes a second tensor (B, 1, H, W), 1.0
        where a pixel is known to be destroyed, or None; a colorizer whose `hinted` is True takes a second tensor
        (B, 3, H, W), a and b in Lab units and 1.0 where a person gave a hint, else zeros, or None. It is the bare
        module, never the DDP wrapper, and the caller switches it to `eval()`.
        """

    def network_config(self) -> dict[str, Any]:
        """What `Entry.network` of the catalogue needs to build the predictor again; goes into JSON as it is."""

    def state_dict(self) -> dict[str, Any]:
        """Everything a resume needs (networks, optimisers, averages) as tensors and Python scalars only."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`'s answer; called after `phases`."""
