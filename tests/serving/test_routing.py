"""X-Model, the canary and the shadow, through the gateway's routes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.task import Task
from serving import shadow
from serving.difference import colorfulness, psnr
from serving.job import Job
from serving.limits import Limits
from serving.refusal import Refusal
from serving.routing import Trial
from serving.state import ModelState
from tests.serving.bare import gateway

LIMITS = Limits(upload_bytes=100_000, pixels=10_000, seconds=60, seconds_per_megapixel=0, large_pixels=1000)


class Models:
    """Restorers add 1 to red, colorizers their version's number to blue; `aliases` are those beside champion (1)."""

    def __init__(self, aliases: Mapping[tuple[Task, str], str], broken: str = "") -> None:
        self.aliases = aliases
        self.broken = broken
        self.found: list[tuple[Task, str]] = []
        self.ran: list[dict[Task, str]] = []

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        self.ran.append(dict(versions))
        pixels = job.pixels.copy()
        made_by = {task: versions.get(task, f"{task.model}/1") for task in tasks}
        if self.broken in made_by.values():
            raise Refusal(503, "no_model", f"{self.broken} cannot be served")
        for task, version in made_by.items():
            pixels[..., 2 if task is Task.COLORIZE else 0] += int(version.partition("/")[2])
        return replace(job, pixels=pixels, made_by=made_by)

    async def find(self, task: Task, alias: str) -> str | None:
        self.found.append((task, alias))
        return self.aliases.get((task, alias))

    async def states(self, tasks: Sequence[Task]) -> dict[Task, list[ModelState]]:
        return {}


CHALLENGED = {(Task.COLORIZE, "challenger"): "colorizer/2"}


def asked(models: Models, *headers: list[str], trial: Trial | None = None, path: str = "/v1/revive") -> list[Any]:
    """The answers to one request with each of these values of X-Model."""
    return asyncio.run(_asked(models, headers, trial or Trial(), path))


async def _asked(models: Models, headers: Sequence[list[str]], trial: Trial, path: str) -> list[httpx.Response]:
    transport = httpx.ASGITransport(gateway(models, LIMITS, trial), raise_app_exceptions=False)
    answers = []
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for values in headers:
            sent = [("X-Model", value) for value in values]
            answers.append(await client.post(path, files={"photo": grey()}, headers=sent))
            while len(asyncio.all_tasks()) > 1:  # what runs after an answer
                await asyncio.sleep(0.01)
    return answers


def grey() -> bytes:
    file = BytesIO()
    Image.new("RGB", (30, 20), (100, 100, 100)).save(file, "PNG")
    return file.getvalue()


def versions(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [answer.headers["x-restorer"], answer.headers["x-colorizer"]]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


def test_an_alias_is_for_every_model_that_has_it_and_is_remembered() -> None:
    models = Models(CHALLENGED)
    first, second, champion = asked(models, ["challenger"], ["challenger"], ["champion"])
    assert versions(first) == versions(second) == ["restorer/1", "colorizer/2"]
    assert versions(champion) == ["restorer/1", "colorizer/1"]
    assert models.found == [(Task.RESTORE, "challenger"), (Task.COLORIZE, "challenger")]


def test_exact_versions_and_an_alias_for_the_rest() -> None:
    models = Models(CHALLENGED | {(Task.RESTORE, "challenger"): "restorer/5"})
    comma, repeated, mixed = asked(
        models, ["restorer/3, colorizer/4"], ["restorer/3", "colorizer/4"], ["challenger, restorer/3"]
    )
    assert versions(comma) == versions(repeated) == ["restorer/3", "colorizer/4"]
    assert versions(mixed) == ["restorer/3", "colorizer/2"]


@pytest.mark.parametrize(
    ("value", "status", "says"),
    [
        ("nobody", 404, "X-Model is nobody: no version of restorer or colorizer has that alias"),
        ("detector/3", 422, "X-Model is detector/3; this request is answered by restorer, colorizer"),
        ("restorer/0", 422, "X-Model is 'restorer/0'"),
        ("", 422, "X-Model is ''"),
        ("challenger, ", 422, "X-Model is ''"),
        ("restorer/1, restorer/2", 422, "X-Model has restorer/1 and restorer/2"),
        ("champion, challenger", 422, "aliases champion and challenger"),
        ("challenger, \x1c", 422, r"X-Model is '\x1c'"),
    ],
)
def test_a_wrong_header_is_named(value: str, status: int, says: str) -> None:
    (answer,) = asked(Models(CHALLENGED), [value])
    assert refusal(answer)[0] == status
    assert says in refusal(answer)[1]


def test_the_canary_is_answered_by_the_challenger_once_it_is_known() -> None:
    models = Models(CHALLENGED)
    answers = asked(models, [], [], ["champion"], trial=Trial(canary_percent=100))
    assert [versions(answer)[1] for answer in answers] == ["colorizer/1", "colorizer/2", "colorizer/1"]
    none = asked(Models({}), [], [], trial=Trial(canary_percent=100))
    assert {versions(answer)[1] for answer in none} == {"colorizer/1"}


def test_a_share_of_the_requests_is_the_canary() -> None:
    answers = asked(Models(CHALLENGED), *[[]] * 60, trial=Trial(canary_percent=50))
    assert {versions(answer)[1] for answer in answers} == {"colorizer/1", "colorizer/2"}


def test_a_canary_that_cannot_be_had_is_nobodys_error() -> None:
    answers = asked(Models(CHALLENGED, broken="colorizer/2"), [], [], trial=Trial(canary_percent=100))
    assert [versions(answer)[1] for answer in answers] == ["colorizer/1", "colorizer/1"]
    (asked_for,) = asked(Models(CHALLENGED, broken="colorizer/2"), ["challenger"])
    assert refusal(asked_for) == (503, "colorizer/2 cannot be served")


def test_the_shadow_measures_and_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(shadow, "observe_shadow", lambda *numbers: seen.append(numbers))
    models = Models(CHALLENGED)
    answers = asked(models, [], [], ["champion"], trial=Trial(shadow_percent=100))
    assert {tuple(versions(answer)) for answer in answers} == {("restorer/1", "colorizer/1")}
    assert len({answer.content for answer in answers}) == 1
    assert models.ran == [{}, {}, {Task.COLORIZE: "colorizer/2"}, {}]  # who names a model has no shadow
    ((task, noise, color, seconds, champion),) = seen
    assert task == "colorize"
    assert noise == pytest.approx(10 * np.log10(255**2 * 3))  # blue differs by 1, a third of the samples
    assert color == pytest.approx(0.3 * (np.hypot(1, 1.5) - np.hypot(1, 0.5)))
    assert 0 < seconds < 60
    assert 0 < champion < 60


def test_a_shadow_that_fails_is_nobodys_error() -> None:
    models = Models(CHALLENGED, broken="colorizer/2")
    answers = asked(models, [], [], [], trial=Trial(shadow_percent=100))
    assert {answer.status_code for answer in answers} == {200}
    assert {Task.COLORIZE: "colorizer/2"} in models.ran


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_differences_of_pictures(dtype: type[Any]) -> None:
    one = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (1200, 1000, 3), dtype)
    assert psnr(one, one) == np.inf
    squares = np.square((one[::-1].astype(float) - one) / np.iinfo(dtype).max)
    assert psnr(one, one[::-1]) == pytest.approx(-10 * np.log10(squares.mean()))
    red, green, blue = np.moveaxis(one * (255 / np.iinfo(dtype).max), -1, 0)
    opponents = (red - green, (red + green) / 2 - blue)
    spread = np.hypot(*(opponent.std() for opponent in opponents))
    assert colorfulness(one) == pytest.approx(spread + 0.3 * np.hypot(*(opponent.mean() for opponent in opponents)))
    assert colorfulness(np.full((4, 4, 3), 9, dtype)) == 0
