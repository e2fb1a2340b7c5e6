"""The models behind Ray Serve's handles, as `serving.job.Models`."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle

from models.task import Task
from serving.job import Job
from serving.refusal import Refusal
from serving.state import ModelState

RETRY_AFTER = 2  # seconds; a replica is back in about four
_SMALL = 2 * 1024**2  # bytes: with a mask of its size it stays below the 4 MB that Serve's gRPC takes


class Handles:
    """Model deployments by task. A photograph of more than `large_pixels` is a minute's work."""

    def __init__(self, handles: Mapping[Task, DeploymentHandle[Any]], large_pixels: int) -> None:
        self._large_pixels = large_pixels
        # By reference is through Ray's object store, by value in a message of gRPC: that takes 10 ms less of processor,
        # but refuses over 4 MB, and copies through the gateway what one model hands to the next.
        self._by_reference = {task: handle.options(_by_reference=True) for task, handle in handles.items()}
        self._by_value = {task: handle.options(_by_reference=False) for task, handle in handles.items()}

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        """The job after the tasks; a response is passed on unawaited from model to model."""
        if job.area > self._large_pixels:
            await self._weigh(tasks[1:], job)
        handles = self._by_value if job.pixels.nbytes <= _SMALL else self._by_reference
        responses: list[Any] = []  # DeploymentResponse, whose types Ray leaves open
        following: Any = job
        for task in tasks:
            handle = handles[task]
            if task in versions:
                handle = handle.options(multiplexed_model_id=versions[task])
            following = handle.remote(following)
            responses.append(following)
        try:
            with losses_refused():
                done: Job = await responses[-1]
        except asyncio.CancelledError:
            for response in responses:
                response.cancel()
            raise
        return done

    async def _weigh(self, tasks: Sequence[Task], job: Job) -> None:
        """Raises Refusal 413 where a later model could not take what the first ones had worked on for long."""
        height, width = job.pixels.shape[:2]
        with losses_refused():
            await asyncio.gather(
                *(self._by_value[task].weigh.remote(height, width, job.pixels.dtype.name) for task in tasks)
            )

    async def find(self, task: Task, alias: str) -> str | None:
        """Asked of a replica, which has MLflow in memory."""
        with losses_refused():
            version: str | None = await self._by_value[task].find.remote(alias)
        return version

    async def states(self, tasks: Sequence[Task]) -> dict[Task, list[ModelState]]:
        """What every replica of every model serves."""
        return dict(zip(tasks, await asyncio.gather(*(self._states(task) for task in tasks)), strict=True))

    async def _states(self, task: Task) -> list[ModelState]:
        try:
            states: list[ModelState] = await self._by_value[task].broadcast("state").results_async()
        except (RayActorError, DeploymentUnavailableError, ReplicaUnavailableError):
            return []
        return states


@contextmanager
def losses_refused() -> Iterator[None]:
    """Serve's own troubles as Refusal 503: the client can try again."""
    try:
        yield
    except BackPressureError as error:
        raise Refusal(503, "overloaded", "too many photographs are waiting; try again", RETRY_AFTER) from error
    # RayServeException: a model further down the line waits for one whose process died.
    except (RayActorError, RayServeException, DeploymentUnavailableError, ReplicaUnavailableError) as error:
        raise Refusal(503, "interrupted", "the model has no running process now; try again", RETRY_AFTER) from error
