"""What Ray Serve runs: the model replicas, one class for both tasks, and the gateway in front of them."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from models.task import Task
from serving.follower import Follower, Loaded
from serving.gateway import Limits, api
from serving.refusal import Refusal
from serving.registry import Registry
from serving.state import ModelState

_RETRY_AFTER = 2  # seconds; a replica is back in about four


@dataclass(frozen=True)
class Job:
    """Pixels on their way through the models: what a model replica takes is what it gives."""

    pixels: NDArray[np.uint8]  # (H, W, 3) sRGB
    mask: NDArray[np.bool_] | None = None  # (H, W) True where the photograph is destroyed
    made_by: dict[Task, str] = field(default_factory=dict)  # such as {restore: "restorer/3"}


@dataclass(frozen=True)
class Following:
    """Where a replica finds its model."""

    alias: str
    registry: str  # MLflow address
    cache: Path
    seconds: float


@dataclass(frozen=True)
class Batching:
    """How photographs are put together: a photograph of `pixels` pixels fills a batch alone, small ones share it."""

    photographs: int
    wait_seconds: float
    pixels: int

    def cost(self, jobs: Sequence[Job]) -> int:
        """How many of the batch's places these photographs take; never more than all for one of them."""
        return sum(min(self.photographs, 1 + self._area(job) * self.photographs // self.pixels) for job in jobs)

    @staticmethod
    def _area(job: Job) -> int:
        height, width = job.pixels.shape[:2]
        return int(height * width)


class ModelDeployment:
    """One task's model, as the registry's alias names it, answering in batches."""

    def __init__(self, task: Task, following: Following, batching: Batching, threads: int) -> None:
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
        self._task = task
        registry = Registry(following.registry, following.cache)
        self._follower = Follower(task, following.alias, registry, following.seconds)
        self._follower.start()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self._answer = serve.batch(
            max_batch_size=batching.photographs,
            batch_wait_timeout_s=batching.wait_seconds,
            batch_size_fn=batching.cost,
        )(self._answer_batch)

    async def __call__(self, job: Job) -> Job:
        """The job done; raises Refusal 503 where there is no model, and what the model raises for this photograph."""
        answer: Job | Exception = await self._answer(job)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def state(self) -> ModelState:
        """What this replica serves."""
        return self._follower.state()

    async def check_health(self) -> None:
        """Serve calls this on the event loop: a loop that is blocked does not answer, and the replica is replaced."""

    async def _answer_batch(self, jobs: list[Job]) -> list[Job | Exception]:
        loaded = self._follower.current
        if loaded is None:
            return [self._refusal() for _ in jobs]
        return await asyncio.get_running_loop().run_in_executor(self._thread, predicted, loaded, jobs)

    def _refusal(self) -> Refusal:
        error = self._follower.state().error
        return Refusal(503, "no_model", f"the {self._task.model} is not ready: {error}", _RETRY_AFTER)


def predicted(loaded: Loaded, jobs: Sequence[Job]) -> list[Job | Exception]:
    """The jobs done in one batch; a photograph that breaks the model gets its exception, and the others are done."""
    try:
        pictures = loaded.predictor.predict([job.pixels for job in jobs], [job.mask for job in jobs])
    except Exception as error:
        if len(jobs) == 1:
            return [error]
        return [answer for job in jobs for answer in predicted(loaded, [job])]
    task = loaded.predictor.config.task
    return [
        Job(picture, made_by=job.made_by | {task: str(loaded.version)})
        for job, picture in zip(jobs, pictures, strict=True)
    ]


@serve.ingress()
class Gateway:
    """HTTP in front of the models; the routes are `serving.gateway`'s."""

    def __init__(self, restorer: DeploymentHandle[Any], colorizer: DeploymentHandle[Any], limits: Limits) -> None:
        # By reference: through the object store, whatever RAY_SERVE_USE_GRPC_BY_DEFAULT says (and THROUGHPUT_OPTIMIZED
        # says it). gRPC refuses messages over 4 MB, a photograph of 1.4 megapixels, and copies through the gateway.
        self._handles = {
            task: handle.options(_by_reference=True)
            for task, handle in ((Task.RESTORE, restorer), (Task.COLORIZE, colorizer))
        }
        self._limits = limits

    def __serve_build_asgi_app__(self) -> FastAPI:
        return api(self, self._limits)

    async def run(
        self, tasks: Sequence[Task], pixels: NDArray[np.uint8], mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.uint8], dict[Task, str]]:
        """The picture after the tasks, and what made it; a response is passed on unawaited from model to model."""
        responses: list[Any] = []  # DeploymentResponse, whose types Ray leaves open
        job: Any = Job(pixels, mask)
        for task in tasks:
            job = self._handles[task].remote(job)
            responses.append(job)
        try:
            with _losses_refused():
                done: Job = await responses[-1]
        except asyncio.CancelledError:
            for response in responses:
                response.cancel()
            raise
        return done.pixels, done.made_by

    async def states(self) -> dict[Task, list[ModelState]]:
        """What every replica of every model serves."""
        with _losses_refused():
            answers = await asyncio.gather(
                *(handle.broadcast("state").results_async() for handle in self._handles.values())
            )
        return dict(zip(self._handles, answers, strict=True))


@contextmanager
def _losses_refused() -> Iterator[None]:
    """Serve's own troubles as Refusal 503: the client can try again."""
    try:
        yield
    except BackPressureError as error:
        raise Refusal(503, "overloaded", "too many photographs are waiting; try again", _RETRY_AFTER) from error
    except (RayActorError, DeploymentUnavailableError, ReplicaUnavailableError) as error:
        raise Refusal(503, "interrupted", "the model has no running process now; try again", _RETRY_AFTER) from error
