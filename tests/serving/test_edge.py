import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import httpx
import psutil
import pytest
import yaml
from fastapi import FastAPI, Request, Response
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message

import serving
from models.task import Task
from serving import edge, gateway, keys, metrics
from serving.edge import Settings
from tests.serving.guarded import EVERYWHERE, Guarded
from tests.serving.noise import picture
from tests.serving.running import until

ROOT = Path(serving.__file__).parents[1]
SITE = "https://archive.example"
ALBUM = "5eed" * 8  # who has an album's id has the album


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


def restored(guarded: Guarded, key: str, **headers: str) -> httpx.Response:
    photo = {"photo": ("hidden-name.png", picture(8, 8))}
    with guarded.client({"x-api-key": key, **headers}) as http:
        return http.post("/v1/restore?hidden-query", files=photo)


def test_an_open_address_without_keys_is_refused_at_start(guarded: Guarded) -> None:
    """In the Ray of the one that has keys, whose front is as open."""
    tries = str(Path(__file__).with_name("edge_service.py"))
    command = [sys.executable, tries, guarded.started.ray["gcs-address"]]
    one_machine = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # Ray takes 127.0.0.1 for what it is
    environment = {**os.environ, **one_machine, edge.FRONT: EVERYWHERE, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    refused = json.loads(done.stdout.splitlines()[-1])
    for message in (refused["built"], refused["started"]):
        assert "the HTTP host is 0.0.0.0 and the application has no keys" in message
        assert "python -m serving.keys add" in message


def test_a_config_with_an_open_address_and_no_keys_ends_before_anything_starts(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "serving" / "config.yaml").read_text())
    config["http_options"]["host"] = EVERYWHERE
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "serving", str(tmp_path / "config.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("python -m serving: the HTTP host is 0.0.0.0 and the application has no keys")
    assert "Traceback" not in done.stderr


def test_keys_are_given_and_taken_back_in_the_running_service(guarded: Guarded) -> None:
    assert code(restored(guarded, "wrong")) == (401, "key")
    guest = keys.add(guarded.file, "guest", 10)
    assert restored(guarded, guest).status_code == 200
    keys.remove(guarded.file, "guest")
    assert code(restored(guarded, guest)) == (401, "key")


def test_the_request_id_is_answered_once_and_logged(guarded: Guarded) -> None:
    sent = len(picture(8, 8))
    given = restored(guarded, guarded.key, **{"x-request-id": "scan-17"})
    assert given.headers.get_list("x-request-id") == ["scan-17"]
    made = restored(guarded, guarded.key).headers.get_list("x-request-id")
    assert len(made) == 1
    with guarded.client() as http:
        assert code(http.get(f"/v1/albums/{ALBUM}", headers={"x-request-id": "album"})) == (404, "no_album")
    folder = Path(guarded.started.ray["session-dir"]) / "logs" / "serve"

    def written() -> dict[str, Any] | None:
        texts = [text for log in folder.glob("replica_autochrome_gateway*") for text in log.read_text().splitlines()]
        lines = {line.get("request_id"): line for line in map(json.loads, texts) if "bytes_in" in line}
        return lines if {"scan-17", made[0], "album"} <= lines.keys() else None

    line = until(written)["scan-17"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/restore", 200)
    assert sent < line["bytes_in"] < sent + 1000
    assert line["bytes_out"] == len(given.content)
    assert (line["key"], line["versions"]) == ("museum", ["restorer/1"])
    assert line["replica"]
    for log in filter(Path.is_file, folder.rglob("*")):
        text = log.read_text(errors="replace")
        assert not [secret for secret in ("hidden", guarded.key) if secret in text], log
        assert ALBUM not in text or "_albums_" in log.name  # their owner says which one is not there


def test_the_page_of_metrics_gathers_the_replicas(guarded: Guarded) -> None:
    with guarded.client({}) as http:
        assert code(http.get("/metrics")) == (401, "key")
    with guarded.client() as http:
        for path in ("/v1/revive?find_damage=true", "/v1/revive?format=none"):
            http.post(path, files={"photo": picture(8, 8)})
        found = until(lambda: complete(families(http.get("/metrics"))))
    assert found["ray_autochrome_silent_nodes"][0].value == 0
    assert all(name.startswith(("ray_autochrome_", "ray_serve_")) for name in found)


def test_what_the_challenger_would_have_answered_is_measured(guarded: Guarded) -> None:
    guarded.archive.release(Task.RESTORE, 2, alias="challenger")

    def measured() -> dict[str, list[Any]] | None:
        assert restored(guarded, guarded.key).headers["x-restorer"] == "restorer/1"
        with guarded.client() as http:
            found = families(http.get("/metrics"))
        return found if "ray_autochrome_shadow_psnr" in found else None

    found = until(measured)
    guarded.archive.withdraw("restorer", "challenger")
    assert seen(found, "ray_autochrome_shadow_psnr", "task") == {("restore",)}
    assert seen(found, "ray_autochrome_shadow_colorfulness_difference", "task") == {("restore",)}
    assert seen(found, "ray_autochrome_shadow_seconds", "alias") == {("champion",), ("challenger",)}


def complete(found: dict[str, list[Any]]) -> dict[str, list[Any]] | None:
    """What was found, once all that a request leaves behind is there: each process tells in its own time."""
    whole = (
        seen(found, "ray_autochrome_requests", "route", "status") >= {("/v1/revive", "200"), ("/v1/revive", "422")}
        and seen(found, "ray_autochrome_refusals", "code", "status") >= {("invalid", "422"), ("key", "401")}
        and seen(found, "ray_autochrome_stage_seconds", "stage") == {(stage,) for stage in get_args(metrics.Stage)}
        and seen(found, "ray_autochrome_batch_photographs", "task") == {(task,) for task in gateway.TASKS}
        and seen(found, "ray_autochrome_queue_waiting", "task") == {(task,) for task in gateway.TASKS}
        and seen(found, "ray_autochrome_answers", "version") >= {(f"{task.model}/1",) for task in gateway.TASKS}
        and seen(found, "ray_autochrome_swaps", "version", "outcome") >= {("restorer/1", "served")}
    )
    return found if whole else None


def families(page: httpx.Response) -> dict[str, list[Any]]:
    assert page.raise_for_status().headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family.samples for family in text_string_to_metric_families(page.text)}


def seen(found: dict[str, list[Any]], family: str, *labels: str) -> set[tuple[str, ...]]:
    return {tuple(sample.labels[label] for label in labels) for sample in found.get(family, ())}


def test_the_dashboard_and_rays_own_ports_stay_on_this_machine(guarded: Guarded) -> None:
    """Others reach the front, which leads to who asks for keys, and each replica's gRPC, which asks for Ray's token."""
    service = guarded.started.process
    found = {
        (process.name(), connection.laddr.port)
        for process in (service, *service.children(recursive=True))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and not connection.laddr.ip.endswith("127.0.0.1")
    }
    replicas = {(name, port) for name, port in found if name.startswith("ray::ServeReplica:autochrome:")}
    assert {port for _, port in found - replicas} == {httpx.URL(guarded.address).port}
    assert len({name for name, _ in replicas}) == 5  # every process was looked at
