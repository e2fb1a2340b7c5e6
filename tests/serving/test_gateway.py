import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.color import AB
from models.task import Task
from serving import points
from serving.errors import GUARDED, REFUSALS
from serving.job import Job
from serving.limits import Limits
from serving.refusal import Refusal
from serving.routing import Trial
from serving.state import ModelState
from tests.serving.bare import gateway

LIMITS = Limits(upload_bytes=100_000, pixels=10_000, seconds=10, seconds_per_megapixel=0, large_pixels=10_000)
Work = Callable[[NDArray[Any], NDArray[np.bool_] | None], NDArray[Any]]


class Models:
    """Models that answer with `work`; the real ones answer in test_service.py."""

    def __init__(self, work: Work, seconds: float = 0, loaded: Sequence[Task] = ()) -> None:
        self.work = work
        self.seconds = seconds
        self.loaded = loaded
        self.cancelled = False
        self.asked: list[tuple[Sequence[Task], Job]] = []

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        self.asked.append((tasks, job))
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        made_by = {task: f"{task.model}/7" for task in tasks}
        if tasks == (Task.DETECT,):
            return replace(job, mask=job.pixels[..., 0] > 128, made_by=made_by)
        return Job(self.work(job.pixels, job.mask), made_by=made_by)

    async def find(self, task: Task, alias: str) -> str | None:
        return None

    async def states(self, tasks: Sequence[Task]) -> dict[Task, list[ModelState]]:
        return {task: [state(f"{task.model}/7" if task in self.loaded else None)] for task in tasks}


def state(version: str | None) -> ModelState:
    error = None if version else "no version has the alias champion"
    return ModelState(
        state="ready" if version else "missing",
        version=version,
        recipe=None,
        run=None,
        bundle_sha256=None,
        engine=None,
        settled=None,
        hinted=None,
        error=error,
    )


def inverted(pixels: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[Any]:
    other = np.iinfo(pixels.dtype).max - pixels
    return other if mask is None else np.where(mask[..., None], other, pixels)


def png(width: int = 30, height: int = 20, color: str = "red") -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def ask(
    method: str, path: str, models: Models | None = None, limits: Limits = LIMITS, **request: Any
) -> httpx.Response:
    async def asked() -> httpx.Response:
        app = gateway(models or Models(inverted), limits, Trial())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **request)

    return asyncio.run(asked())


def revive(photo: bytes = b"", query: str = "", mask: bytes | None = None, **rest: Any) -> httpx.Response:
    files = {"photo": ("a.png", photo or png())} | ({"mask": ("m.png", mask)} if mask else {})
    return ask("POST", f"/v1/revive{query}", files=files, **rest)


def error(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert sorted(body["error"]) == ["code", "message"]
    return response.status_code, body["error"]["code"]


def picture(response: httpx.Response) -> NDArray[np.uint8]:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(BytesIO(response.content)))


def test_the_model_answers_at_the_photographs_size() -> None:
    response = revive()
    assert np.array_equal(picture(response), np.full((20, 30, 3), (0, 255, 255)))
    assert response.headers["x-restorer"] == "restorer/7"
    assert response.headers["x-colorizer"] == "colorizer/7"


@pytest.mark.parametrize(("path", "done"), [("restore", "x-restorer"), ("colorize", "x-colorizer")])
def test_one_task_names_one_model(path: str, done: str) -> None:
    response = ask("POST", f"/v1/{path}", files={"photo": png()})
    assert [name for name in response.headers if name.startswith("x-")] == [done]


def test_the_mask_reaches_the_model() -> None:
    mask = Image.new("L", (30, 20))
    mask.putpixel((4, 3), 255)
    file = BytesIO()
    mask.save(file, "PNG")
    answer = picture(revive(mask=file.getvalue()))
    assert tuple(answer[3, 4]) == (0, 255, 255)
    assert tuple(answer[4, 4]) == (255, 0, 0)


def test_depth_is_kept() -> None:
    pixels = np.full((20, 30), 1000, np.uint16)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    models = Models(inverted)
    response = revive(file.getvalue(), models=models)
    ((_, job),) = models.asked
    assert job.pixels.dtype == np.uint16
    assert (job.pixels == 1000).all()
    assert response.content[24] == 16  # the PNG header's bit depth


def test_what_of_the_file_is_not_taken_is_said() -> None:
    file = BytesIO()
    pages = [Image.new("RGB", (30, 20), color) for color in ("red", "green")]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    assert "1 of 2" in revive(file.getvalue()).headers["x-note"]
    assert "x-note" not in revive().headers


def test_the_detector_goes_first_where_it_is_asked_for() -> None:
    models = Models(inverted)
    response = revive(query="?find_damage=true", models=models)
    assert [tasks for tasks, _ in models.asked] == [(Task.DETECT, Task.RESTORE, Task.COLORIZE)]
    assert response.headers["x-detector"] == "detector/7"
    only = ask("POST", "/v1/colorize?find_damage=true", files={"photo": png()})
    assert error(only) == (422, "find_damage")


def test_a_mask_is_a_grey_png() -> None:
    response = ask("POST", "/v1/mask", files={"photo": png(30, 20, "red")})
    image = Image.open(BytesIO(response.content))
    assert (response.headers["content-type"], image.mode, image.size) == ("image/png", "L", (30, 20))
    assert (np.asarray(image) == 255).all()
    assert response.headers["x-detector"] == "detector/7"


def hinted(path: str, hints: str, models: Models | None = None) -> httpx.Response:
    return ask("POST", path, models, data={"hints": hints}, files={"photo": png()})


def test_hints_reach_the_model() -> None:
    models = Models(inverted)
    given = [{"x": 3, "y": 4.5, "a": -20, "b": 110, "radius": 2}, {"x": 0, "y": 0, "a": 1, "b": 2}]
    assert hinted("/v1/revive", json.dumps(given), models).status_code == 200
    ((_, job),) = models.asked
    assert job.hints == (points.Point(x=3, y=4.5, a=-20, b=110, radius=2), points.Point(x=0, y=0, a=1, b=2, radius=0))


@pytest.mark.parametrize(
    ("hints", "says"),
    [
        ("no JSON", "hints: Invalid JSON"),
        ('{"x": 1}', "hints: Input should be a valid"),
        ('[{"x": 1, "y": 1, "a": 1}]', "hints[0].b: Field required"),
        ('[{"x": 1, "y": 1, "a": 1, "b": 1}, {"x": 1, "y": 1, "a": 111, "b": 1}]', "hints[1].a is 111"),
        ('[{"x": 1, "y": 1, "a": "red", "b": 1}]', "hints[0].a: Input should be a valid number"),
        ('[{"x": 1, "y": 1, "a": NaN, "b": 1}]', "hints[0].a is nan"),
        ('[{"x": 1, "y": 1, "a": 1, "b": 1, "c": 1}]', "hints[0].c is 1"),
        ('[{"x": 30, "y": 1, "a": 1, "b": 1}]', "hints[0].x is 30; it must be from 0 to below 30"),
        (json.dumps([{"x": 1, "y": 1, "a": 1, "b": 1}] * 257), "at most 256"),
    ],
)
def test_a_wrong_hint_is_named(hints: str, says: str) -> None:
    response = hinted("/v1/colorize", hints)
    assert error(response) == (422, "hints")
    assert says in response.json()["error"]["message"]


def test_hints_are_for_colorizing() -> None:
    response = hinted("/v1/restore", '[{"x": 1, "y": 1, "a": 1, "b": 1}]')
    assert error(response) == (422, "hints")
    assert points.AB == AB


def test_ready_is_every_needed_model_and_the_detector_is_not() -> None:
    def ready(*tasks: Task) -> tuple[int, dict[str, str]]:
        response = ask("GET", "/readyz", Models(inverted, loaded=tasks))
        return response.status_code, response.json()["missing"]

    assert ready(Task.RESTORE, Task.COLORIZE) == (200, {})
    status, missing = ready(Task.RESTORE, Task.DETECT)
    assert (status, list(missing)) == (503, ["colorizer"])
    assert "alias champion" in missing["colorizer"]


def test_a_large_photograph_has_more_time() -> None:
    patient = replace(LIMITS, seconds=2, seconds_per_megapixel=10_000)
    assert revive(models=Models(inverted, seconds=2.5), limits=patient).status_code == 200  # 600 pixels: 6 s more


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", "*/*", "image/png"),
        ("", "image/jpeg", "image/jpeg"),
        ("", "image/png;q=0.5, image/jpeg", "image/jpeg"),
        ("", "image/jpeg;q=0, image/*", "image/png"),
        ("", "text/html, */*;q=0.1", "image/png"),
        ("?format=jpeg", "image/png", "image/jpeg"),
        ("?format=png", "image/webp", "image/png"),
        ("", "image/webp", "image/webp"),
        ("?format=tiff", "*/*", "image/tiff"),
    ],
)
def test_format(query: str, accept: str, media_type: str) -> None:
    response = revive(query=query, headers={"accept": accept})
    assert response.headers["content-type"] == media_type
    assert Image.open(BytesIO(response.content)).get_format_mimetype() == media_type


def test_formats_that_are_not_made() -> None:
    assert error(revive(headers={"accept": "image/gif"})) == (406, "not_acceptable")
    assert error(revive(query="?format=gif")) == (422, "invalid")


def test_a_format_that_cannot_hold_the_photograph_is_refused_before_work() -> None:
    models = Models(inverted)
    wide = png(16_384, 1)
    limits = replace(LIMITS, pixels=20_000)
    assert error(revive(wide, "?format=webp", models=models, limits=limits)) == (422, "format_too_small")
    assert models.asked == []


def test_pictures_that_are_not_taken() -> None:
    assert error(revive(b"hello")) == (415, "not_a_picture")
    assert error(revive(png()[:60])) == (400, "unreadable")
    assert error(ask("POST", "/v1/revive", files={"photo": ("a.png", b"")})) == (400, "empty")
    assert error(revive(png(101, 100))) == (413, "too_many_pixels")
    assert error(revive(mask=png(31, 20))) == (422, "mask_size")


def test_neither_a_name_nor_a_content_type_is_believed() -> None:
    assert ask("POST", "/v1/restore", files={"photo": ("a.txt", png(), "text/plain")}).status_code == 200
    lying = {"photo": ("a.png", b"MZ" + bytes(100), "image/png")}
    assert error(ask("POST", "/v1/restore", files=lying)) == (415, "not_a_picture")


def test_forms_that_are_not_taken() -> None:
    assert error(ask("POST", "/v1/revive", content=png(), headers={"content-type": "image/png"})) == (415, "not_a_form")
    assert error(ask("POST", "/v1/revive", files={"mask": png()})) == (422, "no_photo")
    assert error(ask("POST", "/v1/revive", files={"photo": png(), "masks": png()})) == (422, "unknown_field")
    assert error(ask("POST", "/v1/revive", files=[("photo", png()), ("photo", png())])) == (422, "several_files")
    assert error(ask("POST", "/v1/revive", data={"photo": "x"}, files={"mask": png()})) == (422, "no_file")
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        response = ask("POST", "/v1/revive", content=b"nonsense", headers={"content-type": content_type})
        assert error(response) == (400, "broken_form")


def test_an_announced_body_that_is_too_large_is_not_read() -> None:
    async def never() -> Any:
        yield pytest.fail("the body was read")

    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": "900000"}
    assert error(ask("POST", "/v1/revive", content=never(), headers=headers)) == (413, "too_many_bytes")


def test_an_endless_body_is_cut_off() -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        while sent < 100_000_000:
            sent += 10_000
            yield bytes(10_000)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert error(ask("POST", "/v1/revive", content=endless(), headers=headers)) == (413, "too_many_bytes")
    assert sent < 200_000


def test_a_slow_model_is_given_up_at_the_deadline() -> None:
    models = Models(inverted, seconds=30)
    begun = time.monotonic()
    assert error(revive(models=models, limits=replace(LIMITS, seconds=0.2))) == (504, "deadline")
    assert time.monotonic() - begun < 5
    assert models.cancelled


def test_a_slow_upload_is_given_up_at_the_deadline() -> None:
    async def slow() -> Any:
        yield b"--x\r\n"
        await asyncio.sleep(30)
        yield b""

    headers = {"content-type": "multipart/form-data; boundary=x"}
    limits = replace(LIMITS, seconds=0.2)
    assert error(ask("POST", "/v1/revive", content=slow(), headers=headers, limits=limits)) == (504, "deadline")


def test_a_refusal_says_when_to_come_back() -> None:
    def refused(*_: Any) -> NDArray[Any]:
        raise Refusal(503, "no_model", "the restorer is not ready", 2)

    response = revive(models=Models(refused))
    assert error(response) == (503, "no_model")
    assert response.headers["retry-after"] == "2"


def test_a_model_that_fails_is_an_error_and_never_the_photograph() -> None:
    def failing(*_: Any) -> NDArray[Any]:
        raise MemoryError("no room for /secret/path")

    response = revive(models=Models(failing))
    assert error(response) == (500, "failed")
    assert "secret" not in response.text


def test_unknown_addresses_answer_in_the_same_form() -> None:
    assert error(ask("GET", "/nothing")) == (404, "http")
    assert error(ask("GET", "/v1/revive")) == (405, "http")


def test_the_manual_loads_nothing_from_elsewhere() -> None:
    response = ask("GET", "/docs")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "<script" not in response.text
    assert "src=" not in response.text
    for path in ("/v1/revive", "/v1/restore", "/v1/colorize", "/v1/mask", "/v1/models", "/healthz", "/readyz"):
        assert path in response.text


def test_openapi_names_every_answer() -> None:
    document = ask("GET", "/openapi.json").json()
    for path in ("/v1/revive", "/v1/restore", "/v1/colorize"):
        answers = document["paths"][path]["post"]["responses"]
        assert answers.keys() == {"200", *map(str, REFUSALS), *map(str, GUARDED)}
        assert sorted(answers["200"]["content"]) == ["image/jpeg", "image/png", "image/tiff", "image/webp"]
        for status in sorted(answers)[1:]:
            schema = answers[status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorBody"}
        form = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["required"] == ["photo"]
    assert list(_references(document)) == [name for name in _references(document) if _found(document, name)]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _references(child)


def _found(document: Any, reference: str) -> bool:
    return reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
