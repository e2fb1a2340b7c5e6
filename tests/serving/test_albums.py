"""Albums over HTTP: the real routes, disk and models, without Ray Serve."""

import asyncio
import io
import json
from csv import DictReader
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from models.task import Task
from serving.refusal import Refusal
from tests.serving.albums import (
    LIMITS,
    Turnstile,
    code,
    is_done,
    local_models,
    picture,
    pictures,
    sent,
    served,
    until,
    zipped,
)
from tests.serving.conftest import Archive


@pytest.fixture
def models(archive: Archive) -> Turnstile:
    return Turnstile(local_models(archive, 1))


def test_a_zip_goes_in_and_comes_out_with_each_photographs_end(tmp_path: Path, models: Turnstile) -> None:
    files = {
        "wedding/1920.jpg": picture(50, 40),
        "wedding/1921.png": picture(33, 44, kind="PNG"),
        "Großmutter.jpg": picture(20, 60),
        "broken.jpg": picture()[:300],
        "notes.txt": b"Aunt Frieda, 1921",
        "inner.zip": zipped({"a.jpg": picture()}),
        "__MACOSX/wedding/._1920.jpg": b"\0\5\x16\7",
        ".DS_Store": b"Bud1",
    }

    async def story() -> None:
        async with served(tmp_path, models) as http:
            response = await sent(http, zipped(files))
            assert response.status_code == 202, response.text
            begun = response.json()
            assert response.headers["location"] == f"/v1/albums/{begun['id']}"
            assert len(bytes.fromhex(begun["id"])) == 16
            assert begun["total"] == 6
            state = await until(http, begun["id"], is_done)
            assert (state["task"], state["format"], state["done"], state["refused"]) == ("revive", None, 3, 3)
            assert state["failed"] == 0
            assert state["left_out"] == ["__MACOSX/wedding/._1920.jpg", ".DS_Store"]
            by_name = {photograph["name"]: photograph for photograph in state["photographs"]}
            assert by_name["wedding/1920.jpg"]["versions"] == ["restorer/1", "colorizer/1"]
            for name in ("broken.jpg", "notes.txt", "inner.zip"):
                assert by_name[name]["state"] == "refused"
                assert name in by_name[name]["reason"]

            archive = await pictures(http, begun["id"])
            assert set(archive.namelist()) == {"wedding/1920.jpg", "wedding/1921.png", "Großmutter.jpg", "report.csv"}
            for name in archive.namelist()[:-1]:
                with Image.open(archive.open(name)) as came, Image.open(io.BytesIO(files[name])) as went:
                    assert (came.size, came.format) == (went.size, went.format)
            rows = {row["file"]: row for row in DictReader(io.StringIO(archive.read("report.csv").decode()))}
            assert {name: row["outcome"] for name, row in rows.items()} == {
                name: photograph["state"] for name, photograph in by_name.items()
            }
            assert (await http.delete(f"/v1/albums/{begun['id']}")).status_code == 204
            assert code(await http.get(f"/v1/albums/{begun['id']}")) == (404, "no_album")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]

    asyncio.run(story())


def test_task_and_format_are_as_asked_for(tmp_path: Path, models: Turnstile) -> None:
    async def story() -> None:
        async with served(tmp_path, models) as http:
            album = zipped({"a.png": picture(kind="PNG"), "a.jpg": picture()})
            identity = (await sent(http, album, "?task=colorize&format=jpeg")).json()["id"]
            state = await until(http, identity, is_done)
            assert [photograph["versions"] for photograph in state["photographs"]] == [["colorizer/1"]] * 2
            archive = await pictures(http, identity)
            assert archive.namelist() == ["a.png.jpg", "a.jpg", "report.csv"]
            assert {Image.open(archive.open(name)).format for name in archive.namelist()[:2]} == {"JPEG"}
            assert code(await sent(http, album, "?task=paint")) == (422, "invalid")
            assert code(await http.get("/v1/albums/../../etc/passwd")) == (404, "http")
            assert code(await http.get("/v1/albums/ABC")) == (422, "invalid")

    asyncio.run(story())


def test_a_service_that_ended_goes_on_and_does_what_is_missing_only(tmp_path: Path, models: Turnstile) -> None:
    names = [f"{number}.jpg" for number in range(6)]

    async def begin() -> str:
        models.allowed = 3
        async with served(tmp_path, models) as http:
            response = await sent(http, zipped({name: picture(seed=i) for i, name in enumerate(names)}))
            identity = str(response.json()["id"])
            state = await until(http, identity, lambda state: state["done"] == 3)
            assert state["state"] == "working"
            assert code(await http.get(f"/v1/albums/{identity}/photos.zip")) == (409, "not_done")
            assert len((await pictures(http, identity, "?partial=true")).namelist()) == 4
        return identity

    async def go_on(identity: str) -> None:
        models.allowed = 10**6
        async with served(tmp_path, models) as http:
            state = await until(http, identity, is_done)
            assert state["done"] == 6
            assert (await pictures(http, identity)).namelist() == [*names, "report.csv"]

    identity = asyncio.run(begin())
    (tmp_path / ".new-of-an-upload").mkdir()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / identity / "photos").iterdir()}
    asyncio.run(go_on(identity))
    assert len(models.passed) == 6
    # The versions that made the first photograph make all the others, also after the restart.
    assert models.passed[1:] == [{Task.RESTORE: "restorer/1", Task.COLORIZE: "colorizer/1"}] * 5
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert not (tmp_path / ".new-of-an-upload").exists()


def test_photographs_whose_version_is_gone_fail_and_are_not_called_bad(
    tmp_path: Path, models: Turnstile, archive: Archive
) -> None:
    models.allowed = 1

    async def story(others: Turnstile) -> None:
        async with served(tmp_path, models) as http:
            identity = (await sent(http, zipped({f"{number}.jpg": picture() for number in range(3)}))).json()["id"]
            await until(http, identity, lambda state: state["done"] == 1)
        async with served(tmp_path, others) as http:
            state = await until(http, identity, is_done)
            assert (state["done"], state["refused"], state["failed"]) == (1, 0, 2)
            assert state["photographs"][2]["reason"] == "restorer/1 is asked for; here is restorer/2"

    asyncio.run(story(Turnstile(local_models(archive, 2))))


def test_busy_models_are_waited_for_and_lost_ones_three_times(
    tmp_path: Path, models: Turnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.albums.worker._FIRST_PAUSE", 0.05)
    monkeypatch.setattr("serving.albums.worker._LONGEST_PAUSE", 0.05)
    busy, lost = (Refusal(503, name, f"it is {name}") for name in ("overloaded", "interrupted"))

    async def story() -> None:
        async with served(tmp_path, models) as http:
            models.refusals = [busy, busy, lost, busy, lost, lost]
            identity = (await sent(http, zipped({"1.jpg": picture(), "2.jpg": picture()}))).json()["id"]
            waiting = await until(http, identity, lambda state: state["waiting"] or is_done(state))
            assert "it is " in waiting["waiting"]
            state = await until(http, identity, is_done)
            assert [photograph["state"] for photograph in state["photographs"]] == ["failed", "done"]
            assert state["photographs"][0]["reason"] == "it is interrupted"

            models.refusals = [lost, lost, lost]
            identity = (await sent(http, zipped({"1.jpg": picture()}))).json()["id"]
            state = await until(http, identity, is_done)
            assert (state["failed"], state["waiting"]) == (1, "")  # it waits for nothing any more

    asyncio.run(story())


def test_a_removed_album_stops_and_leaves_nothing(tmp_path: Path, models: Turnstile) -> None:
    models.allowed = 1

    async def story() -> None:
        async with served(tmp_path, models) as http:
            album = zipped({f"{number}.jpg": picture() for number in range(4)})
            first = (await sent(http, album)).json()["id"]
            await until(http, first, lambda state: state["done"] == 1)
            second = (await sent(http, album)).json()["id"]
            assert (await http.get(f"/v1/albums/{second}")).json()["state"] == "queued"
            assert code(await sent(http, album)) == (503, "no_room")  # two are unfinished: the most that may be
            assert (await http.delete(f"/v1/albums/{first}")).status_code == 204
            models.allowed = 10**6
            await until(http, second, is_done)
            assert {path.name for path in tmp_path.iterdir()} == {".lock", second}

    asyncio.run(story())


def test_an_album_that_is_no_album_stops_nothing(tmp_path: Path, models: Turnstile) -> None:
    (tmp_path / ("f" * 32)).mkdir()
    (tmp_path / ("f" * 32) / "album.json").write_text(json.dumps({"verb": "paint"}))

    async def story() -> None:
        async with served(tmp_path, models) as http:
            identity = (await sent(http, zipped({"a.jpg": picture()}))).json()["id"]
            await until(http, identity, is_done)

    asyncio.run(story())
    assert (tmp_path / ("f" * 32)).exists()


def test_a_photograph_that_takes_too_much_memory_is_refused(archive: Archive, tmp_path: Path) -> None:
    models = Turnstile(local_models(archive, 1, most_bytes=40_000_000))
    limits = replace(LIMITS, pixels=10**7)

    async def story() -> None:
        async with served(tmp_path, models, limits) as http:
            white = io.BytesIO()
            Image.new("L", (2000, 2000), 255).save(white, "PNG")
            identity = (await sent(http, zipped({"white.png": white.getvalue()}))).json()["id"]
            state = await until(http, identity, is_done)
            assert state["refused"] == 1
            assert "bytes of memory" in state["photographs"][0]["reason"]

    asyncio.run(story())
