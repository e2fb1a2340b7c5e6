import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi import FastAPI, Request, Response
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message

import serving
from serving import edge, keys
from serving.edge import Settings

ROOT = Path(serving.__file__).parents[1]
SITE = "https://archive.example"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def key(key_file: Path) -> str:
    return keys.add(key_file, "museum", 1000)


def guarded(settings: Settings) -> FastAPI:
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"], include_in_schema=False)
    async def anything(path: str, request: Request) -> Response:
        headers = {"Content-Security-Policy": "its own", "Cache-Control": "no-cache"} if path == "web/page.html" else {}
        return Response(await request.body(), headers=headers)

    edge.guard(app, settings)
    return app


def ask(settings: Settings, method: str, path: str, host: str = "127.0.0.1:8000", **request: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(guarded(settings))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, **request)

    return asyncio.run(asked())


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "127.8.9.1", "[::1]:8000", "LOCALHOST:80"])
def test_this_machine_needs_no_key(host: str) -> None:
    assert ask(Settings(), "POST", "/v1/revive", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "[", "", "::1"]
)
def test_a_name_that_is_made_to_lead_here_is_refused(host: str) -> None:
    assert code(ask(Settings(), "GET", "/healthz", headers={"host": host})) == (403, "host")


def test_a_name_that_the_operator_says_is_taken() -> None:
    settings = Settings(hosts=("Photos.example",))
    assert ask(settings, "GET", "/", headers={"host": "photos.example"}).status_code == 200
    assert code(ask(settings, "GET", "/", headers={"host": "other.example"})) == (403, "host")


@pytest.mark.parametrize("origin", [SITE, "null", "http://127.0.0.1:9000", "https://[", ""])
def test_another_sites_form_is_refused(origin: str) -> None:
    headers = {"origin": origin}
    assert code(ask(Settings(), "POST", "/v1/albums", headers=headers)) == (403, "origin")
    assert code(ask(Settings(), "DELETE", "/v1/albums/1", headers=headers)) == (403, "origin")
    read = ask(Settings(), "GET", "/v1/models", headers=headers)
    assert read.status_code == 200
    assert "access-control-allow-origin" not in read.headers  # so that its page cannot see the answer


def test_the_services_own_page_and_those_of_origins_may_send() -> None:
    assert ask(Settings(), "POST", "/v1/revive", headers={"origin": "http://127.0.0.1:8000"}).status_code == 200
    response = ask(Settings(origins=(SITE,)), "POST", "/v1/revive", headers={"origin": SITE})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == SITE
    assert "X-Restorer" in response.headers["access-control-expose-headers"]


def test_origins_open_the_way_for_those_pages_alone(key_file: Path, key: str) -> None:
    def preflight(settings: Settings, origin: str) -> httpx.Response:
        headers = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, x-model",
        }
        return ask(settings, "OPTIONS", "/v1/revive", headers=headers)

    opened = Settings(key_file, origins=(SITE,))
    assert preflight(opened, SITE).headers["access-control-allow-origin"] == SITE
    assert preflight(opened, "https://evil.example").status_code == 400
    assert "access-control-allow-origin" not in preflight(Settings(), SITE).headers
    refused = ask(opened, "POST", "/v1/revive", headers={"origin": SITE})
    assert code(refused) == (401, "key")
    assert refused.headers["access-control-allow-origin"] == SITE  # so that the page can show why
    allowed = ask(opened, "POST", "/v1/revive", headers={"origin": SITE, "x-api-key": key})
    assert allowed.status_code == 200


@pytest.mark.parametrize("path", ["/v1/revive", "/metrics", "/v1/models", "/web", "/webx/a.js", "/healthz/x", "/x"])
@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": "x"}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}]
)
def test_without_a_key_of_the_file_nothing_is_answered(
    key_file: Path, key: str, path: str, headers: dict[str, str]
) -> None:
    response = ask(Settings(key_file), "POST", path, headers=headers)
    assert code(response) == (401, "key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/readyz", "/web/app.js"])
def test_what_holds_no_secret_needs_no_key(key_file: Path, key: str, path: str) -> None:
    assert ask(Settings(key_file), "GET", path, host="photos.example").status_code == 200


def test_a_key_comes_in_either_header(key_file: Path, key: str) -> None:
    for headers in ({"authorization": f"Bearer {key}"}, {"authorization": f"bearer {key}"}, {"x-api-key": key}):
        assert ask(Settings(key_file), "POST", "/v1/revive", headers=headers).status_code == 200
    query = ask(Settings(key_file), "POST", f"/v1/revive?key={key}")
    assert code(query) == (401, "key")  # addresses are kept in logs and histories


def test_a_stranger_is_refused_before_the_body_is_read(key_file: Path, key: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/revive", "headers": [], "query_string": b""}
    asyncio.run(guarded(Settings(key_file))(scope, receive, send))
    assert sent[0]["status"] == 401


def test_a_key_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    secret = keys.add(file, "hasty", 2)
    other = keys.add(file, "patient", 2)
    app = guarded(Settings(file))

    async def statuses() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            asked = [("GET", secret)] * 3 + [("POST", secret)] * 3 + [("GET", secret), ("POST", other)]
            return [await client.request(method, "/v1/x", headers={"x-api-key": who}) for method, who in asked]

    answers = asyncio.run(statuses())
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 429, 200, 200]
    assert code(answers[5]) == (429, "rate")
    assert 1 <= int(answers[5].headers["retry-after"]) <= 30


@pytest.mark.parametrize("given", ["a b", "x" * 129, "", "é".encode(), "tab\there"])
def test_a_request_id_that_logs_should_not_hold_is_refused(given: str | bytes) -> None:
    assert code(ask(Settings(), "GET", "/healthz", headers={"x-request-id": given})) == (400, "request_id")


def test_every_answer_keeps_browsers_careful(key_file: Path, key: str) -> None:
    for response in (ask(Settings(), "GET", "/v1/models"), ask(Settings(key_file), "GET", "/v1/models")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert response.headers["referrer-policy"] == "no-referrer"
    page = ask(Settings(), "GET", "/web/page.html")
    assert page.headers.get_list("content-security-policy") == ["its own"]
    assert page.headers["cache-control"] == "no-cache"


@dataclass(frozen=True)
class Service:
    """A guarded application that anyone can reach, and where it is."""

    http: httpx.Client
    without_keys: str | None
    dashboard: str
    logs: Path

    def thing(self, secret: str, **headers: str) -> httpx.Response:
        return self.http.post("/v1/things/x?hidden", content=b"photo", headers={"x-api-key": secret, **headers})


@pytest.fixture(scope="module")
def service(key_file: Path, key: str) -> Iterator[Service]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
        "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "1",
        "RAY_metrics_report_interval_ms": "500",
    }
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("edge_service.py"), str(port), str(key_file)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    try:
        first, second = said(process), said(process)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            yield Service(http, first["refused"], second["dashboard"], Path(second["logs"]))
    finally:
        process.stdin.close()
        process.wait(120)


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of JSON; Serve says a thing or two on the same stream."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
    raise AssertionError(f"{process.args!r} ended with {process.wait()}")


def until(asked: Callable[[], Any], seconds: float = 60) -> Any:
    """The first answer that is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = asked()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"nothing came of it in {seconds} s")


def test_an_open_address_without_keys_is_refused_at_start(service: Service) -> None:
    assert service.without_keys is not None
    assert "Serve's HTTP host is 0.0.0.0 and the application has no keys" in service.without_keys
    assert "python -m serving.keys add" in service.without_keys


def test_keys_hold_in_the_running_service_and_are_taken_back_in_it(service: Service, key_file: Path, key: str) -> None:
    assert service.http.get("/healthz").json() == {"status": "ok"}
    assert code(service.thing("wrong")) == (401, "key")
    assert service.thing(key).content == b"photo"
    guest = keys.add(key_file, "guest", 1)
    assert service.thing(guest).status_code == 200
    hasty = service.thing(guest)
    assert code(hasty) == (429, "rate")
    assert int(hasty.headers["retry-after"]) > 0
    keys.remove(key_file, "guest")
    assert code(service.thing(guest)) == (401, "key")


def test_the_request_id_is_answered_once_and_logged(service: Service, key: str) -> None:
    assert service.thing(key, **{"x-request-id": "scan-17"}).headers.get_list("x-request-id") == ["scan-17"]
    made = service.thing(key).headers.get_list("x-request-id")
    assert len(made) == 1

    def written() -> dict[str, Any] | None:
        texts = [text for log in service.logs.glob("replica_*gateway*") for text in log.read_text().splitlines()]
        lines = {line.get("request_id"): line for line in map(json.loads, texts) if "bytes_in" in line}
        assert not any(key in text or "hidden" in text for text in texts)
        return lines if {"scan-17", made[0]} <= lines.keys() else None

    line = until(written)["scan-17"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/things/{name}", 200)
    assert (line["bytes_in"], line["bytes_out"], line["key"]) == (5, 5, "museum")
    assert line["versions"] == ["restorer/3"]
    assert line["replica"]


def test_the_page_of_metrics_gathers_the_replicas(service: Service, key: str) -> None:
    assert code(service.http.get("/metrics")) == (401, "key")
    service.thing(key)

    def counted() -> dict[str, Any] | None:
        page = service.http.get("/metrics", headers={"x-api-key": key}).raise_for_status()
        assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
        found = {family.name: family.samples for family in text_string_to_metric_families(page.text)}
        return found if "ray_autochrome_requests" in found else None

    found = until(counted)
    labels = [sample.labels for sample in found["ray_autochrome_requests"]]
    assert ("/v1/things/{name}", "200") in [(label["route"], label["status"]) for label in labels]
    assert found["ray_autochrome_silent_nodes"][0].value == 0
    assert all(name.startswith(("ray_autochrome_", "ray_serve_")) for name in found)


def test_the_dashboard_stays_on_this_machine(service: Service) -> None:
    host, port = service.dashboard.rsplit(":", 1)
    assert host == "127.0.0.1"
    sockets = [connection for connection in psutil.net_connections("tcp") if connection.status == psutil.CONN_LISTEN]
    assert {at.laddr.ip for at in sockets if at.laddr and at.laddr.port == int(port)} == {"127.0.0.1"}
