"""The shadow: the challenger works on a copy of a request after its answer, and only the difference is kept."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from models.task import Task
from serving.difference import colorfulness, psnr
from serving.job import Job, Models
from serving.metrics import observe_shadow
from serving.refusal import Refusal
from serving.routing import Routing

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Answered:
    """A request that has its answer."""

    tasks: Sequence[Task]
    asked: Job
    done: Job
    seconds: float  # that the models took


class Shadow:
    """Works on one copy at a time: the others are let go, so that the shadow is never what people wait for."""

    def __init__(self, models: Models, routing: Routing, most_pixels: int) -> None:
        self._models = models
        self._routing = routing
        self._most_pixels = most_pixels
        self._running: asyncio.Task[None] | None = None

    async def follow(self, answered: Answered) -> None:
        """Called when the answer has been sent; returns at once."""
        if self._running is not None and not self._running.done():
            return
        if answered.asked.area > self._most_pixels:
            return
        challengers = self._routing.shadow(answered.tasks)
        if challengers:
            self._running = asyncio.create_task(self._compare(answered, challengers))

    async def _compare(self, answered: Answered, challengers: dict[Task, str]) -> None:
        """One challenger at a time among the followed others, so that a difference is its own."""
        for task, version in challengers.items():
            if answered.done.made_by.get(task) == version:
                continue
            begun = time.perf_counter()
            try:
                other = await self._models.run(answered.tasks, answered.asked, {task: version})
            except Refusal as refusal:
                logger.warning(f"{version} did not answer as a shadow: {refusal.message}")
                continue
            except Exception:
                logger.exception(f"{version} failed as a shadow")
                continue
            seconds = time.perf_counter() - begun
            noise, color = await asyncio.to_thread(_difference, other, answered.done)
            observe_shadow(task, noise, color, seconds, answered.seconds)


def _difference(other: Job, champion: Job) -> tuple[float, float]:
    """PSNR in dB between the two pictures, and how much more colourful the other one is."""
    return psnr(other.pixels, champion.pixels), colorfulness(other.pixels) - colorfulness(champion.pixels)
