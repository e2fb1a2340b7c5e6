"""The OpenAPI document is true: requests made from it, right ones and wrong ones, against a real service with keys."""

import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis

from tests.serving.guarded import Guarded
from tests.serving.running import ROOT
from tests.serving.schema_hooks import album, picture

CONFIG = """
hooks = "tests.serving.schema_hooks"

[checks]
positive_data_acceptance.enabled = false  # the hooks have a better one
allow_header_conformance.enabled = false  # Starlette's Allow has the methods of a path's first route alone

[phases.coverage.extra-data-sources]
responses = false  # it cannot put files away

[phases.fuzzing.extra-data-sources]
responses = false
"""


@pytest.fixture(scope="module")
def document(guarded: Guarded) -> Any:
    return schemathesis.openapi.from_url(f"{guarded.address}/openapi.json")


def test_what_is_made_from_the_document_is_answered_as_it_says(guarded: Guarded, tmp_path: Path) -> None:
    """Schemathesis' own program: its pytest plugin does not run in pytest 9.2."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    program = str(Path(sys.executable).with_name("schemathesis"))
    where = ["--config-file", str(tmp_path / "schemathesis.toml"), "run", f"{guarded.address}/openapi.json"]
    how = ["--phases", "coverage,fuzzing,stateful", "--max-examples", "6", "--seed", "1", "--no-shrink", "--no-color"]
    key = f"--header=Authorization: Bearer {guarded.key}"
    done = subprocess.run(
        [program, *where, *how, key, "--continue-on-failure", "--generation-database=none"],
        cwd=tmp_path,  # it leaves a folder
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_REPORT_ANALYTICS": "false"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def check(document: Any, path: str, answer: httpx.Response) -> None:
    """Fails where the answer is not what the document says of this route."""
    answer.request.read()
    document[path][answer.request.method].validate_response(answer)


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff", "webp"])
@pytest.mark.parametrize("verb", ["revive", "restore", "colorize"])
def test_pictures_come_as_the_document_says(guarded: Guarded, document: Any, verb: str, form: str) -> None:
    with guarded.client() as http:
        answer = http.post(f"/v1/{verb}", params={"format": form}, files={"photo": picture("PNG")})
    assert answer.status_code == 200, answer.text
    check(document, f"/v1/{verb}", answer)
    assert answer.headers["content-type"] == f"image/{form}"


def test_an_album_from_upload_to_removal_is_as_the_document_says(guarded: Guarded, document: Any) -> None:
    def checked(method: str, path: str, template: str, **rest: Any) -> httpx.Response:
        answer = http.request(method, path, **rest)
        check(document, template, answer)
        return answer

    with guarded.client() as http:
        sent = checked("POST", "/v1/albums", "/v1/albums", files={"album": album("PNG", "JPEG")})
        assert sent.status_code == 202, sent.text
        place = sent.headers["location"]
        assert place == f"/v1/albums/{sent.json()['id']}"
        end = time.monotonic() + 240
        while checked("GET", place, "/v1/albums/{album}").json()["state"] != "done":
            assert time.monotonic() < end
            early = checked("GET", f"{place}/photos.zip", "/v1/albums/{album}/photos.zip")
            assert early.status_code in (200, 409)
            time.sleep(0.2)
        pictures = checked("GET", f"{place}/photos.zip", "/v1/albums/{album}/photos.zip")
        assert zipfile.ZipFile(io.BytesIO(pictures.content)).testzip() is None
        assert checked("DELETE", place, "/v1/albums/{album}").status_code == 204
        assert checked("GET", place, "/v1/albums/{album}").status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer autochrome_no"}, {"X-Api-Key": "é".encode()}])
def test_nothing_that_makes_work_or_tells_is_open_without_a_key(
    guarded: Guarded, document: Any, headers: dict[str, Any]
) -> None:
    with guarded.client(headers) as http:
        for path, operations in document.raw_schema["paths"].items():
            for method in operations:
                answer = http.request(method, path.replace("{album}", "0" * 32))
                if path in ("/healthz", "/readyz"):
                    assert answer.status_code == 200
                    continue
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "key"), path
                assert answer.headers["www-authenticate"] == "Bearer"
                check(document, path, answer)


def test_a_key_that_asks_too_often_is_told_when_to_come_back(guarded: Guarded, document: Any) -> None:
    with guarded.client({"X-Api-Key": guarded.slow}) as http:
        first, second = (http.post("/v1/restore", files={"photo": picture("PNG")}) for _ in range(2))
        reading = http.get("/v1/models")
    assert (first.status_code, reading.status_code) == (200, 200)
    assert (second.status_code, second.json()["error"]["code"]) == (429, "rate")
    assert 0 < int(second.headers["retry-after"]) <= 60
    check(document, "/v1/restore", second)


def test_a_wrong_method_is_told_the_right_one(guarded: Guarded) -> None:
    with guarded.client() as http:
        answer = http.get("/v1/revive")
    assert (answer.status_code, answer.json()["error"]["code"], answer.headers["allow"]) == (405, "http", "POST")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/"])
def test_what_describes_the_service_is_open(guarded: Guarded, path: str) -> None:
    with guarded.client({}) as http:
        assert http.get(path).status_code == 200


def test_the_manual_has_every_route_and_field(guarded: Guarded, document: Any) -> None:
    with guarded.client({}) as http:
        page = http.get("/docs").text
    for path, operations in document.raw_schema["paths"].items():
        assert path in page
        for operation in operations.values():
            form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data", {})
            for name in form.get("schema", {}).get("properties", {}):
                assert f"<code>{name} (form " in page
