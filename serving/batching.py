"""Photographs wait here until the model is free, and those of like size are worked on together.

Serve's own `serve.batch` closes a batch while the model is still busy with the one before, lets a large photograph be
overtaken for ever and works on what nobody waits for any more (docs/serving.md).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from serving.job import Job
from serving.metrics import observe_stage


@dataclass(frozen=True)
class Batching:
    """How photographs are put together."""

    photographs: int  # in a batch, at most
    wait_seconds: float  # that a model with nothing to do waits for more than one
    large_pixels: int  # a photograph of more than this is worked on alone

    def size(self, job: Job) -> int | None:
        """The size class: those of one differ by less than a factor of four in area; None is worked on alone."""
        return None if job.area > self.large_pixels else job.area.bit_length() // 2


@dataclass(eq=False)
class Waiting:
    """A job, the model that it is for (None: the one that is followed) and the answer that somebody waits for."""

    job: Job
    model: Any
    size: int | None
    answer: asyncio.Future[Job]
    since: float = field(default_factory=time.monotonic)

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return not self.answer.done()


Wanted = Callable[[], bool]
Work = Callable[[Any, Sequence[Job], Wanted], Sequence[Job | Exception]]


class Line:
    """Jobs in the order they came; `work(model, jobs, wanted)` answers a batch of them in a thread of its own.

    It may ask `wanted()` on its way whether anybody still waits for the batch.
    """

    def __init__(self, batching: Batching, work: Work, changed: Callable[[int], None]) -> None:
        self._batching = batching
        self._work = work
        self._changed = changed  # told how many wait
        self._line: list[Waiting] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many wait for a batch."""
        return len(self._line)

    async def answer(self, job: Job, model: Any = None) -> Job:
        """The job done, or what it raised; who is cancelled while waiting leaves the line and is never worked on."""
        if self._worker is None:
            self._worker = asyncio.create_task(self._serve())
        waiting = Waiting(job, model, self._batching.size(job), asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._arrived.set()
        if len(self._line) >= self._batching.photographs:
            self._full.set()
        self._changed(len(self._line))
        try:
            return await waiting.answer
        finally:
            if waiting in self._line:
                self._line.remove(waiting)
                self._changed(len(self._line))

    async def _serve(self) -> None:
        while True:
            await self._arrived.wait()
            if len(self._line) == 1 and self._batching.photographs > 1 and self._line[0].size is not None:
                await self._gather()
            batch = self._next()
            if batch:
                await self._answer(batch)
            if not self._line:
                self._arrived.clear()

    async def _gather(self) -> None:
        """A moment for others to come: the first of many that are sent at once is not to go alone."""
        self._full.clear()
        try:
            await asyncio.wait_for(self._full.wait(), self._batching.wait_seconds)
        except TimeoutError:
            return

    def _next(self) -> list[Waiting]:
        """Whoever waits longest, and those that can go with it; they leave the line."""
        if not self._line:
            return []
        first = self._line[0]
        most = 1 if first.size is None else self._batching.photographs
        alike = [other for other in self._line if other.size == first.size and other.model is first.model]
        batch = alike[:most]
        self._line = [waiting for waiting in self._line if waiting not in batch]
        self._changed(len(self._line))
        for waiting in batch:
            observe_stage("queue", time.monotonic() - waiting.since)
        return batch

    async def _answer(self, batch: Sequence[Waiting]) -> None:
        jobs = [waiting.job for waiting in batch]
        loop = asyncio.get_running_loop()

        def wanted() -> bool:
            return any(waiting.wanted for waiting in batch)

        try:
            answers = await loop.run_in_executor(self._thread, self._work, batch[0].model, jobs, wanted)
        # Nothing may end the line, and nobody may wait for ever.
        except Exception as error:
            answers = [error] * len(batch)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.wanted:
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
