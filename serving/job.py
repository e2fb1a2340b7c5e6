"""What travels between the gateway and the models, and what the gateway asks of them. Knows no Ray and no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.task import Task
from serving.points import Point
from serving.state import ModelState


@dataclass(frozen=True)
class Job:
    """A photograph on its way through the models: what a model replica takes is what it gives."""

    pixels: NDArray[Any]  # (H, W, 3) sRGB, uint8 or uint16
    mask: NDArray[np.bool_] | None = None  # (H, W) True where the photograph is destroyed
    hints: tuple[Point, ...] = ()  # what a person wants to be of which colour
    made_by: dict[Task, str] = field(default_factory=dict)  # such as {restore: "restorer/3"}

    @property
    def area(self) -> int:
        """Pixels of the photograph."""
        return int(self.pixels.shape[0] * self.pixels.shape[1])


class Models(Protocol):
    """What answers behind the gateway."""

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        """The job after the tasks in order, with the version that did each; raises Refusal.

        A detector adds what it finds to the job's mask, a restorer uses the mask up. `versions` are exact versions,
        such as `colorizer/3`, for the tasks that the followed alias is not to answer.
        """

    async def find(self, task: Task, alias: str) -> str | None:
        """The exact version that an alias of the task's model names now, None without one; raises Refusal."""

    async def states(self, tasks: Sequence[Task]) -> dict[Task, list[ModelState]]:
        """What every replica of each task's model serves; an empty list where it has none now."""
