import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.task import Task
from serving.gateway import Limits, api
from serving.refusal import Refusal
from serving.state import ModelState

LIMITS = Limits(upload_bytes=100_000, pixels=10_000, seconds=10)
Work = Callable[[NDArray[np.uint8], NDArray[np.bool_] | None], NDArray[np.uint8]]


class Models:
    """Models that answer with `work`; the real ones answer in test_service.py."""

    def __init__(self, work: Work, seconds: float = 0) -> None:
        self.work = work
        self.seconds = seconds
        self.cancelled = False

    async def run(
        self, tasks: Sequence[Task], pixels: NDArray[np.uint8], mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.uint8], dict[Task, str]]:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self.work(pixels, mask), {task: f"{task.model}/7" for task in tasks}

    async def states(self) -> dict[Task, list[ModelState]]:
        return {}


def inverted(pixels: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    return 255 - pixels if mask is None else np.where(mask[..., None], 255 - pixels, pixels)


def png(width: int = 30, height: int = 20, color: str = "red") -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def ask(
    method: str, path: str, models: Models | None = None, limits: Limits = LIMITS, **request: Any
) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(api(models or Models(inverted), limits), raise_app_exceptions=False)
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
    ],
)
def test_format(query: str, accept: str, media_type: str) -> None:
    response = revive(query=query, headers={"accept": accept})
    assert response.headers["content-type"] == media_type
    assert Image.open(BytesIO(response.content)).get_format_mimetype() == media_type


def test_formats_that_are_not_made() -> None:
    assert error(revive(headers={"accept": "image/webp"})) == (406, "not_acceptable")
    assert error(revive(query="?format=gif")) == (422, "invalid")


def test_pictures_that_are_not_taken() -> None:
    assert error(revive(b"hello")) == (415, "not_a_picture")
    assert error(revive(png()[:60])) == (400, "unreadable")
    assert error(ask("POST", "/v1/revive", files={"photo": ("a.png", b"")})) == (400, "empty")
    assert error(revive(png(101, 100))) == (413, "too_many_pixels")
    assert error(revive(mask=png(31, 20))) == (422, "mask_size")


def test_forms_that_are_not_taken() -> None:
    assert error(ask("POST", "/v1/revive", content=png(), headers={"content-type": "image/png"})) == (415, "not_a_form")
    assert error(ask("POST", "/v1/revive", files={"image": png()})) == (422, "no_photo")
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
    assert error(revive(models=models, limits=Limits(100_000, 10_000, 0.2))) == (504, "deadline")
    assert time.monotonic() - begun < 5
    assert models.cancelled


def test_a_slow_upload_is_given_up_at_the_deadline() -> None:
    async def slow() -> Any:
        yield b"--x\r\n"
        await asyncio.sleep(30)
        yield b""

    headers = {"content-type": "multipart/form-data; boundary=x"}
    limits = Limits(100_000, 10_000, 0.2)
    assert error(ask("POST", "/v1/revive", content=slow(), headers=headers, limits=limits)) == (504, "deadline")


def test_a_refusal_says_when_to_come_back() -> None:
    def refused(*_: Any) -> NDArray[np.uint8]:
        raise Refusal(503, "no_model", "the restorer is not ready", 2)

    response = revive(models=Models(refused))
    assert error(response) == (503, "no_model")
    assert response.headers["retry-after"] == "2"


def test_a_model_that_fails_is_an_error_and_never_the_photograph() -> None:
    def failing(*_: Any) -> NDArray[np.uint8]:
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
    for path in ("/v1/revive", "/v1/restore", "/v1/colorize", "/v1/models", "/healthz"):
        assert path in response.text


def test_openapi_names_every_answer() -> None:
    document = ask("GET", "/openapi.json").json()
    for path in ("/v1/revive", "/v1/restore", "/v1/colorize"):
        answers = document["paths"][path]["post"]["responses"]
        assert sorted(answers) == ["200", "400", "406", "413", "415", "422", "500", "503", "504"]
        assert sorted(answers["200"]["content"]) == ["image/jpeg", "image/png"]
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
