"""The page's files, as they are served: what is in them, and under which policy."""

import asyncio
import re

import httpx
from fastapi import FastAPI

from serving import page
from serving.errors import answer_in_json


def get(path: str, **headers: str) -> httpx.Response:
    async def got() -> httpx.Response:
        app = FastAPI()
        answer_in_json(app)
        page.mount(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return asyncio.run(got())


def test_every_file_has_its_type_and_the_policy() -> None:
    types = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    files = [file for file in page.FOLDER.iterdir() if file.is_file()]
    assert len(files) > 10
    for file in files:
        response = get("/" if file.name == "index.html" else f"/web/{file.name}")
        assert response.status_code == 200
        assert response.content == file.read_bytes()
        assert response.headers["content-type"].partition(";")[0] == types[file.suffix[1:]]
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "unsafe" not in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"


def test_a_file_that_has_not_changed_is_not_sent_again() -> None:
    first = get("/web/main.js")
    again = get("/web/main.js", if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert get("/web/main.js", if_none_match='"another"').status_code == 200


def test_only_the_pages_files_are_there() -> None:
    for path in ("/web/nothing.js", "/web/..%2fpage.py", "/web/../page.py", "/web/"):
        response = get(path)
        assert response.status_code == 404
        assert list(response.json()) == ["error"]


def test_nothing_is_inline_and_nothing_is_from_elsewhere() -> None:
    html = (page.FOLDER / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*src=)|javascript:", html)
    for file in page.FOLDER.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file.name
        assert "https://" not in text, file.name


def test_every_id_that_a_module_asks_for_is_on_the_page() -> None:
    ids = set(re.findall(r'\sid="([^"]+)"', (page.FOLDER / "index.html").read_text()))
    asked = {name for file in page.FOLDER.glob("*.js") for name in re.findall(r'byId\("([^"]+)"\)', file.read_text())}
    assert len(asked) > 40
    assert asked - ids == set()
