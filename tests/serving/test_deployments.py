import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.task import Task
from serving.deployments import Batching, Job, predicted
from serving.follower import Follower, Loaded
from serving.refusal import Refusal
from serving.registry import Registry

BATCHING = Batching(photographs=4, wait_seconds=0.2, pixels=1000)


def job(height: int, width: int) -> Job:
    return Job(np.full((height, width, 3), 90, np.uint8))


def test_a_large_photograph_fills_a_batch_and_small_ones_share_it() -> None:
    assert BATCHING.cost([job(1, 1000)]) == 4
    assert BATCHING.cost([job(1, 1)] * 4) == 4
    assert BATCHING.cost([job(1, 500), job(1, 1)]) == 4
    assert BATCHING.cost([job(50, 50)]) == 4  # never refused for its size: the gateway does that


@pytest.fixture
def loaded(archive: Any, tmp_path: Path) -> Loaded:
    archive.release(Task.COLORIZE, 1)
    follower = Follower(Task.COLORIZE, "champion", Registry(archive.uri, tmp_path), seconds=60)
    follower.look()
    assert follower.current is not None
    return follower.current


def test_one_photograph_that_breaks_the_model_fails_alone(loaded: Loaded) -> None:
    good = Job(np.random.default_rng(0).integers(0, 256, (20, 10, 3), np.uint8), made_by={Task.RESTORE: "restorer/3"})
    bad = Job(np.zeros((20, 10), np.uint8))  # no colour channels: the predictor refuses it
    first, broken, last = predicted(loaded, [good, bad, good])
    assert isinstance(broken, ValueError)
    for answer in (first, last):
        assert isinstance(answer, Job)
        assert answer.made_by == {Task.RESTORE: "restorer/3", Task.COLORIZE: "colorizer/1"}
        assert answer.pixels.shape == good.pixels.shape
        assert not np.array_equal(answer.pixels, good.pixels)


def test_a_refusal_survives_pickling() -> None:
    refusal = pickle.loads(pickle.dumps(Refusal(503, "no_model", "not ready", 2)))  # noqa: S301
    assert (refusal.status, refusal.code, refusal.message, refusal.retry_after) == (503, "no_model", "not ready", 2)
