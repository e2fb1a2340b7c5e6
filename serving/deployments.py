"""What Ray Serve runs behind the gateway: the model replicas, one class for all tasks."""

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from ray import serve

from models.acceleration import Choice
from models.task import Task
from serving.batching import Batching, Line
from serving.follower import Follower
from serving.handles import RETRY_AFTER
from serving.job import Job
from serving.loading import Loaded, Loader
from serving.metrics import set_queue
from serving.predicting import Memory, Predicting
from serving.refusal import Refusal
from serving.registry import Registry, RegistryError
from serving.state import ModelState

logger = logging.getLogger("ray.serve")

OTHERS = 2  # versions in memory beside the one that is followed
_PAUSE = 60.0  # seconds before a version that could not be loaded is tried again


@dataclass(frozen=True)
class Following:
    """Where a replica finds its model."""

    alias: str
    registry: str  # MLflow address
    cache: Path
    seconds: float


@dataclass(frozen=True)
class Machine:
    """What a replica may use."""

    threads: int  # 0: all cores
    engine: Choice
    memory_bytes: int


class ModelDeployment:
    """One task's model, as the registry's alias names it, answering in batches; other versions where asked for."""

    def __init__(self, task: Task, following: Following, batching: Batching, machine: Machine) -> None:
        torch.set_num_threads(machine.threads or len(os.sched_getaffinity(0)))
        self._task = task
        self._loader = Loader(task, Registry(following.registry, following.cache), machine.engine)
        self._follower = Follower(self._loader, following.alias, following.seconds)
        self._follower.start()
        self._memory = Memory(machine.memory_bytes, batching.large_pixels)
        self._predicting = Predicting(self._followed, self._memory)
        self._line = Line(batching, self._predicting.answers, lambda waiting: set_queue(task, waiting))
        self._failed: dict[str, tuple[Refusal, float]] = {}  # what is known of versions that could not be loaded

    async def __call__(self, job: Job) -> Job:
        """The job done; raises Refusal, and what the model raises for this photograph."""
        wanted = serve.get_multiplexed_model_id()
        return await self._line.answer(job, await self._exactly(wanted) if wanted else None)

    async def weigh(self, height: int, width: int, dtype: str) -> None:
        """Raises Refusal 413 where such a photograph is too much for this model: told before others work on it."""
        await asyncio.to_thread(self._memory.check, self._followed(), height, width, dtype, True)

    async def find(self, alias: str) -> str | None:
        """The exact version that an alias names now; raises Refusal 503 where the registry cannot be asked."""
        try:
            found = await asyncio.to_thread(self._loader.registry.find, self._task.model, alias)
        except RegistryError as error:
            raise Refusal(503, "registry", str(error), RETRY_AFTER) from error
        return str(found) if found else None

    async def state(self) -> ModelState:
        """What this replica serves."""
        numbers = {"waiting": self._line.waiting, "answered": self._predicting.answered}
        return self._follower.state().model_copy(update=numbers)

    async def check_health(self) -> None:
        """Serve calls this on the event loop: a loop that is blocked does not answer, and the replica is replaced."""
        set_queue(self._task, self._line.waiting)  # again: Ray's agents forget a gauge that is not set for some seconds

    def _followed(self) -> Loaded:
        loaded = self._follower.current
        if loaded is None:
            error = self._follower.state().error
            raise Refusal(503, "no_model", f"the {self._task.model} is not ready: {error}", RETRY_AFTER)
        return loaded

    async def _exactly(self, wanted: str) -> Loaded:
        """The version of this name; one that failed is not fetched again for every request."""
        refusal, until = self._failed.get(wanted, (None, 0.0))
        if refusal is not None and time.monotonic() < until:
            raise refusal
        try:
            loaded: Loaded = await self._other(wanted)
        except Refusal as error:
            if len(self._failed) > 100:
                self._failed.clear()
            self._failed[wanted] = (error, time.monotonic() + _PAUSE)
            raise
        return loaded

    @serve.multiplexed(max_num_models_per_replica=OTHERS)  # type: ignore[untyped-decorator]
    async def _other(self, wanted: str) -> Loaded:
        """Serve keeps what this gives, sends requests to replicas that have it, and forgets the least used one."""
        return await asyncio.to_thread(self._loaded, wanted)

    def _loaded(self, wanted: str) -> Loaded:
        current = self._follower.current
        if current is not None and str(current.version) == wanted:
            return current
        model, _, number = wanted.partition("/")
        try:
            version = self._loader.registry.version(model, number)
            if version is None:
                raise Refusal(404, "no_version", f"there is no version {wanted} of {model}")
            return self._loader.load_quickly(version)
        except Refusal:
            raise
        # Whatever goes wrong with this version, the followed one goes on serving.
        except Exception as error:
            logger.warning(f"{wanted} cannot be served: {error}")
            raise Refusal(503, "no_model", f"{wanted} cannot be served: {error}", RETRY_AFTER) from error
