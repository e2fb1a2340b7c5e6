"""A batch of jobs through a loaded model; a photograph that breaks it fails alone."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.hints import Hint
from models.scratches import SURE
from models.task import Task
from serving.batching import Wanted
from serving.job import Job
from serving.loading import AbandonedError, Loaded
from serving.metrics import Stage, observe_batch, observe_stage
from serving.refusal import Refusal

_STAGES: dict[Task, Stage] = {Task.RESTORE: "restore", Task.COLORIZE: "colorize", Task.DETECT: "detect"}


@dataclass(frozen=True)
class Memory:
    """What a batch may take. What small photographs take is not estimated: it is the network's, whatever their size."""

    most_bytes: int
    small_pixels: int

    def needed(self, loaded: Loaded, height: int, width: int, dtype: str, beside: bool) -> int:
        """Bytes that this model takes for such a photograph; `beside` is a mask or hints with it."""
        if height * width <= self.small_pixels:
            return 0
        return loaded.footprint.needed(height, width, dtype, beside)

    def check(self, loaded: Loaded, height: int, width: int, dtype: str, beside: bool) -> None:
        """Raises Refusal 413 where it is too much."""
        needed = self.needed(loaded, height, width, dtype, beside)
        if needed > self.most_bytes:
            sizes = f"photo is {width}x{height}: {loaded.version} needs {needed:,} bytes of memory for it"
            raise Refusal(413, "too_much_memory", f"{sizes}; the limit is {self.most_bytes:,}")


class Predicting:
    """Answers batches with the model that they are for, or with the one that `followed` gives."""

    def __init__(self, followed: Callable[[], Loaded], memory: Memory) -> None:
        self.answered = 0  # photographs so far
        self._followed = followed
        self._memory = memory

    def answers(self, model: Loaded | None, jobs: Sequence[Job], wanted: Wanted) -> list[Job | Exception]:
        """Each job done, or why it is not, in order."""
        try:
            loaded = model or self._followed()
        except Refusal as refusal:
            return [refusal for _ in jobs]
        refusals = [self._refusal(loaded, job) for job in jobs]
        taken = [job for job, refusal in zip(jobs, refusals, strict=True) if refusal is None]
        loaded.network.wanted = wanted
        done = iter([answer for group in self._fitting(loaded, taken) for answer in self._timed(loaded, group)])
        return [refusal or next(done) for refusal in refusals]

    def _refusal(self, loaded: Loaded, job: Job) -> Refusal | None:
        """Why this model does not take this job, seen before any work."""
        if job.hints and loaded.task is Task.COLORIZE and not loaded.hinted:
            recipe = loaded.version.recipe
            message = f"{loaded.version} is {recipe}, which takes no colour hints; a recipe that does is guided"
            return Refusal(422, "hints", message)
        try:
            self._memory.check(loaded, *_size(job))
        except Refusal as refusal:
            return refusal
        return None

    def _fitting(self, loaded: Loaded, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        """The jobs in groups whose photographs fit the memory together."""
        group: list[Job] = []
        total = 0
        for job in jobs:
            needed = self._memory.needed(loaded, *_size(job))
            if group and total + needed > self._memory.most_bytes:
                yield group
                group, total = [], 0
            group.append(job)
            total += needed
        if group:
            yield group

    def _timed(self, loaded: Loaded, jobs: Sequence[Job]) -> list[Job | Exception]:
        begun = time.perf_counter()
        done = predicted(loaded, jobs)
        observe_stage(_STAGES[loaded.task], time.perf_counter() - begun)
        observe_batch(loaded.task, len(jobs))
        self.answered += sum(isinstance(answer, Job) for answer in done)
        return done


def predicted(loaded: Loaded, jobs: Sequence[Job]) -> list[Job | Exception]:
    """The jobs done in one batch; a photograph that breaks the model gets its exception, and the others are done."""
    hints = [_hints(job) if loaded.hinted else () for job in jobs]
    try:
        pictures = loaded.predictor.predict([job.pixels for job in jobs], [job.mask for job in jobs], hints)
    except AbandonedError as error:
        return [error for _ in jobs]
    except Exception as error:
        if len(jobs) == 1:
            return [error]
        return [answer for job in jobs for answer in predicted(loaded, [job])]
    return [_done(loaded, job, picture) for job, picture in zip(jobs, pictures, strict=True)]


def _size(job: Job) -> tuple[int, int, str, bool]:
    height, width = job.pixels.shape[:2]
    return height, width, job.pixels.dtype.name, job.mask is not None or bool(job.hints)


def _done(loaded: Loaded, job: Job, picture: NDArray[Any]) -> Job:
    made_by = job.made_by | {loaded.task: str(loaded.version)}
    if loaded.task is Task.DETECT:
        found = picture[..., 0] >= SURE * np.iinfo(picture.dtype).max
        return replace(job, mask=found if job.mask is None else job.mask | found, made_by=made_by)
    return Job(picture, hints=job.hints, made_by=made_by)


def _hints(job: Job) -> list[Hint]:
    return [Hint(point.x, point.y, point.a, point.b, point.radius) for point in job.hints]
