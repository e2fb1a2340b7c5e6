import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.task import Task
from serving.job import Job
from serving.loading import Loaded, Loader
from serving.points import Point
from serving.predicting import Memory, Predicting, predicted
from serving.refusal import Refusal
from serving.registry import Registry

ROOMY = Memory(most_bytes=2**40, small_pixels=100)


def loaded_of(archive: Any, cache: Path, task: Task, recipe: str | None = None) -> Loaded:
    registry = Registry(archive.uri, cache)
    version = registry.version(task.model, archive.add(task.model, archive.bundle(task, 1, recipe)))
    assert version is not None
    return Loader(task, registry, "eager").load(version)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def colorizer(archive: Any, cache: Path) -> Loaded:
    return loaded_of(archive, cache, Task.COLORIZE)


@pytest.fixture(scope="module")
def restorer(archive: Any, cache: Path) -> Loaded:
    return loaded_of(archive, cache, Task.RESTORE)


def photo(height: int = 20, width: int = 10, dtype: Any = np.uint8, **rest: Any) -> Job:
    return Job(np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype), **rest)


def answers(loaded: Loaded, jobs: list[Job], memory: Memory = ROOMY) -> list[Job | Exception]:
    return Predicting(lambda: loaded, memory).answers(None, jobs, lambda: True)


def refusal(answer: Job | Exception) -> tuple[int, str]:
    assert isinstance(answer, Refusal)
    return answer.status, answer.message


def test_one_photograph_that_breaks_the_model_fails_alone(colorizer: Loaded) -> None:
    good = photo(made_by={Task.RESTORE: "restorer/3"})
    bad = Job(np.zeros((20, 10), np.uint8))  # no colour channels: the predictor refuses it
    first, broken, last = predicted(colorizer, [good, bad, good])
    assert isinstance(broken, ValueError)
    for answer in (first, last):
        assert isinstance(answer, Job)
        assert answer.made_by == {Task.RESTORE: "restorer/3", Task.COLORIZE: str(colorizer.version)}
        assert answer.pixels.shape == good.pixels.shape
        assert not np.array_equal(answer.pixels, good.pixels)


def test_sixteen_bits_pass_through(colorizer: Loaded) -> None:
    (answer,) = answers(colorizer, [photo(dtype=np.uint16)])
    assert isinstance(answer, Job)
    assert answer.pixels.dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_detector_adds_what_it_finds_to_the_mask(archive: Any, cache: Path, dtype: Any) -> None:
    detector = loaded_of(archive, cache, Task.DETECT)
    job = photo(64, 80, dtype)
    given = np.zeros((64, 80), np.bool_)
    given[:9, :9] = True
    point = Point(x=1, y=1, a=1, b=1)
    found, both = answers(detector, [job, Job(job.pixels, given, (point,))])
    assert isinstance(found, Job)
    assert isinstance(both, Job)
    assert found.mask is not None
    assert both.mask is not None
    assert found.mask.any()
    assert not found.mask.all()
    assert np.array_equal(both.mask, found.mask | given)
    assert both.pixels is job.pixels
    assert both.hints == (point,)
    assert both.made_by == {Task.DETECT: str(detector.version)}


def test_a_restorer_uses_the_mask_up_and_keeps_the_hints(restorer: Loaded) -> None:
    job = photo(mask=np.ones((20, 10), np.bool_), hints=(Point(x=1, y=1, a=1, b=1),))
    (answer,) = answers(restorer, [job])
    assert isinstance(answer, Job)
    assert answer.mask is None
    assert answer.hints == job.hints


def test_hints_need_a_colorizer_that_takes_them(archive: Any, cache: Path, colorizer: Loaded) -> None:
    red = Point(x=5, y=10, a=60, b=40, radius=5)
    plain, hinted = photo(), photo(hints=(red,))
    refused, done = answers(colorizer, [hinted, plain])
    assert refusal(refused)[0] == 422
    assert "is colorgan, which takes no colour hints; a recipe that does is guided" in refusal(refused)[1]
    assert isinstance(done, Job)

    guided = loaded_of(archive, cache, Task.COLORIZE, "guided")
    assert guided.hinted
    without, with_hints = answers(guided, [plain, hinted])
    assert isinstance(without, Job)
    assert isinstance(with_hints, Job)
    assert not np.array_equal(without.pixels, with_hints.pixels)


def test_what_does_not_fit_the_memory_is_refused_before_work(restorer: Loaded) -> None:
    needed = restorer.footprint.needed(200, 100, "uint8", False)
    enough, scarce = Memory(needed, 100), Memory(needed - 1, 100)
    (done,) = answers(restorer, [photo(200, 100)], enough)
    assert isinstance(done, Job)
    small, large = answers(restorer, [photo(10, 10), photo(200, 100)], scarce)
    assert isinstance(small, Job)
    assert refusal(large)[0] == 413
    assert f"photo is 100x200: {restorer.version} needs {needed:,} bytes" in refusal(large)[1]
    assert f"the limit is {needed - 1:,}" in refusal(large)[1]


def test_a_batch_that_fits_only_in_parts_is_done_in_parts(restorer: Loaded) -> None:
    needed = restorer.footprint.needed(100, 100, "uint8", False)
    predicting = Predicting(lambda: restorer, Memory(2 * needed, 100))
    done = predicting.answers(None, [photo(100, 100)] * 5, lambda: True)
    assert [type(answer) for answer in done] == [Job] * 5
    assert predicting.answered == 5


def test_work_stops_when_nobody_waits_any_more(restorer: Loaded) -> None:
    asked: list[None] = []

    def wanted() -> bool:
        asked.append(None)
        return len(asked) < 3

    job = photo(2000, 64)  # 42 tiles, six batches of them
    predicting = Predicting(lambda: restorer, ROOMY)
    (answer,) = predicting.answers(None, [job], wanted)
    assert "nobody waits" in str(answer)
    assert predicting.answered == 0
    assert len(asked) == 3


def test_a_refusal_survives_pickling() -> None:
    refusal = pickle.loads(pickle.dumps(Refusal(503, "no_model", "not ready", 2)))  # noqa: S301
    assert (refusal.status, refusal.code, refusal.message, refusal.retry_after) == (503, "no_model", "not ready", 2)
