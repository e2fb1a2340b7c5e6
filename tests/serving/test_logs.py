import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from ray._common.formatters import JSONFormatter
from ray.serve.schema import LoggingConfig

from serving import errors, logs
from serving.refusal import Refusal


class Lines(logging.Handler):
    """What Serve's JSON log would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JSONFormatter())
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def only(self) -> dict[str, Any]:
        (text,) = self.texts
        return dict(json.loads(text))


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger = logging.getLogger("ray.serve")
    handler, level = Lines(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def logged() -> FastAPI:
    app = FastAPI()
    errors.answer_in_json(app)

    @app.post("/v1/things/{name}")
    async def thing(name: str, request: Request) -> Response:
        await request.body()
        return Response(b"12345", headers={"X-Restorer": "restorer/3", "X-Colorizer": "colorizer/2"})

    @app.post("/refused")
    async def refused() -> Response:
        raise Refusal(413, "too_many_pixels", "too many")

    @app.post("/broken")
    async def broken() -> Response:
        raise RuntimeError("a programmer's mistake")

    @app.post("/slow")
    async def slow() -> Response:
        await asyncio.sleep(60)
        return Response()

    app.add_middleware(logs.RequestLog)
    return app


def ask(path: str, seconds: float = 60, **request: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(logged(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client, asyncio.timeout(seconds):
            return await client.post(path, **request)

    return asyncio.run(asked())


def test_a_request_is_one_line_without_picture_query_or_name(lines: Lines) -> None:
    headers = {"X-Request-Id": "abc", "X-Api-Key": "hidden-key", "Authorization": "Bearer hidden-key"}
    response = ask("/v1/things/hidden-name?format=hidden-query", content=b"hidden-picture", headers=headers)
    assert response.status_code == 200
    line = lines.only()
    assert line["method"] == "POST"
    assert line["route"] == "/v1/things/{name}"
    assert line["status"] == 200
    assert 0 <= line["seconds"] < 60
    assert (line["bytes_in"], line["bytes_out"]) == (14, 5)
    assert line["versions"] == ["restorer/3", "colorizer/2"]
    assert (line["code"], line["key"], line["request_id"]) == (None, None, "abc")
    assert "hidden" not in lines.texts[0]


def test_a_refusal_has_its_code(lines: Lines) -> None:
    ask("/refused")
    assert (lines.only()["status"], lines.only()["code"]) == (413, "too_many_pixels")


def test_no_route_shows_no_path(lines: Lines) -> None:
    ask("/hidden/path")
    assert (lines.only()["status"], lines.only()["code"], lines.only()["route"]) == (404, "http", "none")
    assert "hidden" not in lines.texts[0]


def test_a_failure_is_a_500(lines: Lines) -> None:
    assert ask("/broken").status_code == 500
    assert lines.only()["status"] == 500


def test_a_client_that_left_is_logged_too(lines: Lines) -> None:
    with pytest.raises(TimeoutError):
        ask("/slow", seconds=0.1)
    assert (lines.only()["status"], lines.only()["route"]) == (logs.CLIENT_GONE, "/slow")


def test_serve_takes_the_configuration() -> None:
    config = LoggingConfig.model_validate(logs.CONFIG)
    assert config.encoding == "JSON"
    assert not config.enable_access_log
