import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from serving.batching import Batching, Line, Wanted
from serving.job import Job

BATCHING = Batching(photographs=4, wait_seconds=0.01, large_pixels=1000)


def job(height: int, width: int) -> Job:
    return Job(np.full((height, width, 3), 90, np.uint8))


class Model:
    """Answers with the jobs themselves, once it may; keeps the sizes of what it was given."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[int]] = []
        self.waiting: list[int] = []
        self.wanted: list[Wanted] = []

    def work(self, model: Any, jobs: Sequence[Job], wanted: Wanted) -> Sequence[Job | Exception]:
        self.batches.append([job.area for job in jobs])
        self.wanted.append(wanted)
        self.begun.set()
        assert self.may.wait(60)
        return [ValueError("thirteen") if job.area == 13 else job for job in jobs]

    def line(self) -> Line:
        return Line(BATCHING, self.work, self.waiting.append)

    async def busy(self, line: Line) -> asyncio.Task[Job]:
        """A first photograph that the model is busy with until it may go on."""
        task = asyncio.create_task(line.answer(job(1, 2000)))
        await asyncio.to_thread(self.begun.wait, 60)
        return task


def run(test: Callable[[Model, Line], Awaitable[None]]) -> Model:
    model = Model()

    async def running() -> None:
        await test(model, model.line())

    asyncio.run(running())
    return model


def test_size_classes() -> None:
    size = BATCHING.size
    assert size(job(1, 1001)) is None
    assert size(job(20, 20)) == size(job(40, 10)) == size(job(19, 21))
    assert size(job(4, 4)) != size(job(20, 20))


def test_what_waits_while_the_model_is_busy_goes_together_by_size_and_in_turn() -> None:
    async def test(model: Model, line: Line) -> None:
        first = await model.busy(line)
        sizes = [(20, 20), (3, 3), (20, 21), (1, 3000), (3, 3), (21, 20), (20, 20), (22, 20)]
        others = [asyncio.create_task(line.answer(job(*size))) for size in sizes]
        await asyncio.sleep(0)
        assert line.waiting == 8
        model.may.set()
        answers = await asyncio.gather(first, *others)
        assert [answer.pixels.shape[:2] for answer in answers] == [(1, 2000), *sizes]

    model = run(test)
    assert model.batches == [[2000], [400, 420, 420, 400], [9, 9], [3000], [440]]
    assert model.waiting[-1] == 0


def test_photographs_for_different_models_never_share_a_batch() -> None:
    async def test(model: Model, line: Line) -> None:
        first = await model.busy(line)
        challenger = object()
        others = [asyncio.create_task(line.answer(job(20, 20), which)) for which in (None, challenger, None)]
        await asyncio.sleep(0)
        model.may.set()
        await asyncio.gather(first, *others)

    assert run(test).batches == [[2000], [400, 400], [400]]


def test_one_that_fails_fails_alone() -> None:
    async def test(model: Model, line: Line) -> None:
        model.may.set()
        answers = await asyncio.gather(*(line.answer(job(1, width)) for width in (12, 13, 14)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Job, ValueError, Job]

    run(test)


def test_who_has_gone_is_never_worked_on() -> None:
    async def test(model: Model, line: Line) -> None:
        first = await model.busy(line)
        gone, stays = (asyncio.create_task(line.answer(job(*size))) for size in ((20, 20), (20, 21)))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert line.waiting == 1
        model.may.set()
        await asyncio.gather(first, stays)

    assert run(test).batches == [[2000], [420]]


def test_who_leaves_while_the_model_is_at_work_disturbs_nobody() -> None:
    async def test(model: Model, line: Line) -> None:
        first = await model.busy(line)
        stays = asyncio.create_task(line.answer(job(20, 20)))
        assert model.wanted[0]()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not model.wanted[0]()  # the model may stop
        model.may.set()
        assert (await stays).area == 400

    run(test)


def test_a_model_that_raises_ends_no_line() -> None:
    async def test(model: Model, line: Line) -> None:
        def failing(which: Any, jobs: Sequence[Job], wanted: Wanted) -> Sequence[Job | Exception]:
            raise MemoryError

        broken = Line(BATCHING, failing, model.waiting.append)
        for _ in range(2):
            with pytest.raises(MemoryError):
                await broken.answer(job(20, 20))

    run(test)
