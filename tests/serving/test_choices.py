"""The running service with masks that are found, hints, and versions that are asked for."""

import asyncio
import json
from collections.abc import Callable
from io import BytesIO

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.task import Task
from tests.serving.living import Service, pixels
from tests.serving.noise import picture
from tests.serving.running import until

LARGE = picture(1500, 1000, "JPEG")  # seconds of work for a network that is not tiny


def error(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()["error"]
    return response.status_code, body["code"], body["message"]


def grey(drawn: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(drawn).save(file, "PNG")
    return file.getvalue()


def test_without_a_detector_only_who_asks_for_one_is_refused(service: Service) -> None:
    *asked, not_asked = service.undetected
    for response in asked:
        status, code, message = error(response)
        assert (status, code) == (503, "no_model")
        assert "no version of detector has the alias champion" in message
        assert int(response.headers["retry-after"]) > 0
    assert not_asked.status_code == 200


def test_damage_that_is_found_is_the_restorers_mask(service: Service) -> None:
    version = service.state(Task.DETECT)["version"]
    sent = picture(70, 50)
    mask = service.post("/v1/mask", sent)
    drawn = pixels(mask)
    assert mask.headers["x-detector"] == version
    assert drawn.shape == (50, 70)
    assert set(np.unique(drawn)) == {0, 255}

    found = service.post("/v1/restore?find_damage=true", sent)
    given = service.http.post("/v1/restore", files={"photo": sent, "mask": mask.content})
    assert found.headers["x-detector"] == version
    assert np.array_equal(pixels(found), pixels(given))

    rest, everywhere = (grey(mask) for mask in (255 - drawn, np.full_like(drawn, 255)))
    both = service.http.post("/v1/restore?find_damage=true", files={"photo": sent, "mask": rest})
    whole = service.http.post("/v1/restore", files={"photo": sent, "mask": everywhere})
    assert np.array_equal(pixels(both), pixels(whole))


def test_hints_go_to_the_colorizer_that_takes_them(service: Service) -> None:
    guided = f"colorizer/{service.archive.add('colorizer', service.archive.bundle(Task.COLORIZE, 1, 'guided'))}"
    hints = {"hints": json.dumps([{"x": 30, "y": 20, "a": 70, "b": 50, "radius": 10}])}
    sent = picture(60, 50)
    status, code, message = error(service.post("/v1/colorize", sent, data=hints))
    assert (status, code) == (422, "hints")
    assert "takes no colour hints; a recipe that does is guided" in message
    without = service.post("/v1/colorize", sent, guided)
    with_hints = service.post("/v1/colorize", sent, guided, data=hints)
    revived = service.post("/v1/revive", sent, guided, data=hints)
    assert without.headers["x-colorizer"] == with_hints.headers["x-colorizer"] == guided
    assert revived.status_code == 200
    assert not np.array_equal(pixels(without), pixels(with_hints))


def test_versions_are_chosen_by_request_and_the_followed_one_stays(service: Service) -> None:
    first = service.release(Task.COLORIZE, 11)
    other = f"colorizer/{service.archive.add('colorizer', service.archive.bundle(Task.COLORIZE, 12))}"
    sent = picture(60, 50)
    champion = service.post("/v1/colorize", sent)
    exact = service.post("/v1/colorize", sent, other)
    assert (champion.headers["x-colorizer"], exact.headers["x-colorizer"]) == (first, other)
    assert not np.array_equal(pixels(champion), pixels(exact))

    assert error(service.post("/v1/colorize", sent, "rival"))[:2] == (404, "no_version")
    service.archive.point("colorizer", other.partition("/")[2], "rival")
    answer = until(lambda: found if (found := service.post("/v1/revive", sent, "rival")).is_success else None)
    assert answer.headers["x-colorizer"] == other
    assert service.post("/v1/colorize", sent).content == champion.content

    service.point(other)  # promoted: the same pictures as those that the rival made
    assert service.post("/v1/colorize", sent).content == exact.content
    assert service.post("/v1/colorize", sent, first).content == champion.content


def test_versions_that_cannot_be_had_are_named(service: Service) -> None:
    sent = picture(60, 50)
    status, code, message = error(service.post("/v1/restore", sent, "restorer/999"))
    assert (status, code, message) == (404, "no_version", "there is no version restorer/999 of restorer")
    folder = service.archive.bundle(Task.RESTORE, 13)
    wrong = f"restorer/{service.archive.add('restorer', folder, sha256='0' * 64)}"
    for _ in range(2):
        status, code, message = error(service.post("/v1/restore", sent, wrong))
        assert (status, code) == (503, "no_model")
        assert f"{wrong}'s bundle has sha256" in message
    assert service.post("/v1/restore", sent).status_code == 200


def test_who_has_gone_is_not_worked_on(service: Service) -> None:
    """A large photograph is at work, another and small ones wait, when all their clients go."""
    slow = f"restorer/{service.archive.add('restorer', service.archive.bundle(Task.RESTORE, 14, width=32))}"
    assert service.post("/v1/restore", picture(8, 8), slow).status_code == 200
    before = service.state(Task.RESTORE)["answered"]
    impatient = service.post("/v1/restore", LARGE, slow, headers={"x-request-timeout-seconds": "0.1"})
    assert impatient.status_code == 408
    asyncio.run(leave(service, slow))
    service.wait(Task.RESTORE, lambda state: state["waiting"] == 0)
    assert service.post("/v1/restore", picture(8, 8), slow).status_code == 200
    assert service.state(Task.RESTORE)["answered"] == before + 1


async def leave(service: Service, version: str) -> None:
    async def wait(wanted: Callable[[int], bool]) -> None:
        await asyncio.to_thread(service.wait, Task.RESTORE, lambda state: wanted(state["waiting"]))

    async with httpx.AsyncClient(base_url=service.http.base_url, timeout=120) as http, asyncio.TaskGroup() as group:

        def send(photo: bytes) -> asyncio.Task[httpx.Response]:
            return group.create_task(http.post("/v1/restore", files={"photo": photo}, headers={"X-Model": version}))

        large = [send(LARGE) for _ in range(2)]
        await wait(lambda waiting: waiting >= 1)
        small = [send(picture(20, 20)) for _ in range(6)]
        await wait(lambda waiting: waiting >= 6)
        for requests in (small, large):  # in turn: otherwise the model is free before the last of them has gone
            assert not any(request.done() for request in requests)
            for request in requests:
                request.cancel()
            await wait(lambda waiting: waiting <= 1)
