"""The running service with masks that are found, hints, and versions that are asked for."""

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from models.task import Task
from tests.serving.living import ALONE, Service, picture, pixels, until

LARGE = picture(1500, 1300)  # seconds of work


def error(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()["error"]
    return response.status_code, body["code"], body["message"]


def test_without_a_detector_only_who_asks_for_one_is_refused(service: Service) -> None:
    sent = picture(60, 50)
    for response in (service.post("/v1/restore?find_damage=true", sent), service.post("/v1/mask", sent)):
        status, code, message = error(response)
        assert (status, code) == (503, "no_model")
        assert "no version of detector has the alias champion" in message
        assert int(response.headers["retry-after"]) > 0
    assert service.http.get("/readyz").status_code == 200
    assert service.post("/v1/revive", sent).status_code == 200


def test_damage_that_is_found_is_the_restorers_mask(service: Service) -> None:
    version = service.release(Task.DETECT, 1)
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

    rest = Image.fromarray(255 - drawn)
    file = BytesIO()
    rest.save(file, "PNG")
    both = service.http.post("/v1/restore?find_damage=true", files={"photo": sent, "mask": file.getvalue()})
    assert np.array_equal(pixels(both), pixels(service.post("/v1/restore", sent)))  # everywhere


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

    assert error(service.post("/v1/colorize", sent, "challenger"))[:2] == (404, "no_version")
    service.archive.point("colorizer", other.partition("/")[2], "challenger")
    answer = until(lambda: found if (found := service.post("/v1/revive", sent, "challenger")).is_success else None)
    assert answer.headers["x-colorizer"] == other
    assert service.post("/v1/colorize", sent).content == champion.content

    service.point(other)  # promoted: the same pictures as those that the challenger made
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


def test_what_nobody_waits_for_does_not_reach_the_model(service: Service) -> None:
    """The model is busy with a large photograph when others come, and these have gone before it is done."""
    before = service.state(Task.RESTORE)["computed"]
    with ThreadPoolExecutor(9) as pool:
        large = [pool.submit(service.post, "/v1/restore", LARGE) for _ in range(2)]
        until(lambda: service.state(Task.RESTORE)["waiting"] or None)
        gone = [pool.submit(service.post, "/v1/restore", picture(300, ALONE // 299), timeout=2) for _ in range(6)]
        left = [one.exception() for one in gone]
        service.wait(Task.RESTORE, lambda state: state["waiting"] <= 1)
        assert [answer.result().status_code for answer in large] == [200, 200]
    answered = left.count(None)
    assert {type(one) for one in left} <= {httpx.ReadTimeout, type(None)}
    assert answered < 6, "the large photographs were too quick for this test"
    assert service.state(Task.RESTORE)["computed"] == before + 2 + answered
    assert service.post("/v1/restore", picture(8, 8)).status_code == 200


def test_work_on_a_large_photograph_ends_with_its_client(service: Service) -> None:
    with pytest.raises(httpx.ReadTimeout):
        service.post("/v1/restore", LARGE, timeout=1)
    assert service.post("/v1/restore", picture(8, 8)).status_code == 200
