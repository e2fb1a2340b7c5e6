"""Albums over HTTP: the real routes, disk and models, without Ray Serve; and zips that no honest client sends."""

import asyncio
import io
import json
import struct
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from csv import DictReader
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from models.predictor import Predictor
from models.task import Task
from serving.albums.keeper import Keeper
from serving.albums.local import Held, LocalModels
from serving.albums.routes import router
from serving.albums.state import AlbumLimits
from serving.errors import answer_in_json
from serving.job import Job
from serving.refusal import Refusal

LIMITS = AlbumLimits(
    photographs=20,
    zip_bytes=3_000_000,
    unpacked_bytes=4_000_000,
    photo_bytes=1_500_000,
    pixels=200_000,
    unfinished=2,
    disk_bytes=8_000_000,
    keep_hours=1,
    upload_seconds=60,
)


class Turnstile:
    """Real models behind a gate: a test says how many photographs may pass, and what is refused."""

    def __init__(self, models: LocalModels) -> None:
        self.models = models
        self.allowed = 10**6
        self.passed: list[Mapping[Task, str]] = []
        self.refusals: list[Refusal] = []

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        while len(self.passed) >= self.allowed:
            await asyncio.sleep(0.01)
        if self.refusals:
            raise self.refusals.pop(0)
        self.passed.append(versions)
        return await self.models.run(tasks, job, versions)


@pytest.fixture(scope="module")
def held(archive: Any) -> dict[Task, Held]:
    return {
        task: Held.of(f"{task.model}/1", Predictor.from_bundle(archive.bundle(task, 1)))
        for task in (Task.RESTORE, Task.COLORIZE)
    }


@pytest.fixture
def models(held: dict[Task, Held]) -> Turnstile:
    return Turnstile(LocalModels(held, most_bytes=1 << 30))


@asynccontextmanager
async def served(folder: Path, models: Turnstile, limits: AlbumLimits = LIMITS) -> AsyncIterator[httpx.AsyncClient]:
    """The routes over a keeper that runs, until the block ends."""
    keeper = Keeper(folder, limits, models)
    app = FastAPI()
    answer_in_json(app)
    app.include_router(router(keeper, limits))
    running = asyncio.create_task(keeper.run())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://albums") as http:
        while (await http.get(f"/v1/albums/{'0' * 32}")).status_code == 503:
            await asyncio.sleep(0.01)
        try:
            yield http
        finally:
            assert not running.done() or running.result() is None
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def picture(width: int = 40, height: int = 30, seed: int = 0, kind: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


async def sent(http: httpx.AsyncClient, album: bytes, query: str = "") -> httpx.Response:
    return await http.post(f"/v1/albums{query}", files={"album": ("album.zip", album)})


async def until(http: httpx.AsyncClient, album: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        state: dict[str, Any] = (await http.get(f"/v1/albums/{album}")).raise_for_status().json()
        if wanted(state):
            return state
        await asyncio.sleep(0.02)
    raise AssertionError(state)


def is_done(state: dict[str, Any]) -> bool:
    return bool(state["state"] == "done")


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def pictures(http: httpx.AsyncClient, album: str, query: str = "") -> zipfile.ZipFile:
    response = await http.get(f"/v1/albums/{album}/photos.zip{query}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert archive.testzip() is None
    return archive


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


def test_busy_models_are_waited_for_and_lost_ones_three_times(
    tmp_path: Path, models: Turnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.albums.worker._LONGEST_PAUSE", 0.01)
    busy, lost = (Refusal(503, name, f"it is {name}") for name in ("overloaded", "interrupted"))
    models.refusals = [busy, busy, lost, busy, lost, lost]

    async def story() -> None:
        async with served(tmp_path, models) as http:
            identity = (await sent(http, zipped({"1.jpg": picture(), "2.jpg": picture()}))).json()["id"]
            waiting = await until(http, identity, lambda state: state["waiting"] or is_done(state))
            assert "it is " in waiting["waiting"]
            state = await until(http, identity, is_done)
            assert [photograph["state"] for photograph in state["photographs"]] == ["failed", "done"]
            assert state["photographs"][0]["reason"] == "it is interrupted"
            assert state["waiting"] == ""

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


def test_albums_are_removed_in_time_and_have_no_more_disk_than_they_may(tmp_path: Path, models: Turnstile) -> None:
    async def story() -> None:
        async with served(tmp_path, models, replace(LIMITS, keep_hours=0.0)) as http:
            identity = (await sent(http, zipped({"a.jpg": picture()}))).json()["id"]
            end = time.monotonic() + 60
            while (tmp_path / identity).exists():
                assert time.monotonic() < end
                await asyncio.sleep(0.02)
        album = zipped({"a.png": picture(200, 200, kind="PNG")})
        async with served(tmp_path, models, replace(LIMITS, disk_bytes=len(album) + 1_000)) as http:
            identity = (await sent(http, album)).json()["id"]
            state = await until(http, identity, is_done)
            assert (state["failed"], state["photographs"][0]["state"]) == (1, "failed")
            assert "bytes" in state["photographs"][0]["reason"]
            full = await sent(http, album)
            assert code(full) == (503, "no_room")
            assert int(full.headers["retry-after"]) > 0

    asyncio.run(story())


def forged(album: bytes, signature: bytes, offset: int, kind: str, value: int) -> bytes:
    """The zip with one number of its last such header changed."""
    data = bytearray(album)
    struct.pack_into(kind, data, data.rindex(signature) + offset, value)
    return bytes(data)


def test_dishonest_zips_are_refused_whole(tmp_path: Path, models: Turnstile) -> None:
    honest = zipped({"a.jpg": picture(), "b.jpg": picture(seed=1)})
    directory = b"PK\x01\x02"
    cases: list[tuple[bytes, tuple[int, str]]] = [
        (b"", (415, "not_a_zip")),
        (picture(), (415, "not_a_zip")),
        (honest[:-30], (415, "not_a_zip")),
        (zipped({}), (422, "no_photographs")),
        (zipped({".DS_Store": b"x"}), (422, "no_photographs")),
        (zipped({"../../etc/cron.d/a.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"..\\..\\a.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"/etc/a.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"C:\\a.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"a\n.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"ä" * 200 + ".jpg": picture()}), (422, "long_name")),
        (zipped({"a.jpg": picture()}, zipfile.ZIP_LZMA), (422, "packing")),
        (honest.replace(b"b.jpg", b"a.jpg"), (422, "same_name")),
        (zipped({"x/a.jpg": picture(), "x//a.jpg": picture()}), (422, "same_name")),
        (zipped({f"{number}.jpg": b"" for number in range(21)}), (413, "too_many_photographs")),
        (zipped({"zeros.bmp": bytes(1_400_000)}), (413, "too_many_bytes")),  # 1,000 times smaller
        (zipped({f"{i}.bmp": bytes(range(256)) * 4000 for i in range(4)}), (413, "too_many_bytes")),
        (zipped({"a.jpg": np.random.default_rng(0).bytes(1_600_000)}), (413, "too_many_bytes")),
        (zipped({"a.bin": np.random.default_rng(0).bytes(3_100_000)}, zipfile.ZIP_STORED), (413, "too_many_bytes")),
        (forged(honest, directory, 8, "<H", 0x1), (422, "encrypted")),
        (forged(honest, directory, 42, "<I", 0), (422, "overlapping")),  # b's bytes are a's
        (forged(honest, directory, 24, "<I", 2**32 - 2), (413, "too_many_bytes")),
        (forged(honest, b"PK\x05\x06", 12, "<I", 2**31), (415, "not_a_zip")),
    ]

    async def story() -> None:
        async with served(tmp_path, models) as http:
            for album, expected in cases:
                response = await sent(http, album)
                assert code(response) == expected, response.text
            assert code(await http.post("/v1/albums", files={"photo": honest})) == (422, "unknown_field")
            assert code(await http.post("/v1/albums", files={"album": (None, "text")})) == (422, "no_album")
            assert code(await http.post("/v1/albums", data={"album": "text"})) == (415, "not_a_form")
            assert code(await http.post("/v1/albums", content=honest)) == (415, "not_a_form")
            headers = {"content-type": "multipart/form-data"}
            assert code(await http.post("/v1/albums", content=b"--x", headers=headers)) == (400, "broken_form")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]

    asyncio.run(story())
    assert not models.passed


def test_a_long_list_of_contents_is_not_read(tmp_path: Path, models: Turnstile) -> None:
    """A megabyte of zip can list 20,000 files, each of which would take a kilobyte of memory."""
    album = zipped({f"{number:060}.jpg": b"" for number in range(12_000)})

    async def story() -> None:
        async with served(tmp_path, models) as http:
            response = await sent(http, album)
            assert code(response) == (413, "too_many_photographs")
            assert "list of contents" in response.json()["error"]["message"]

    asyncio.run(story())


def test_entries_that_lie_fail_alone(tmp_path: Path, models: Turnstile) -> None:
    """The size in the list of contents bounds what is unpacked; the sum shows that it lied."""
    honest = zipped({"a.jpg": picture(), "b.jpg": picture(200, 200, seed=1)})
    lying = forged(honest, b"PK\x01\x02", 24, "<I", 100)
    damaged = bytearray(honest)
    damaged[honest.index(b"b.jpg") + 500] ^= 0xFF

    async def story() -> None:
        async with served(tmp_path, models) as http:
            for album in (lying, bytes(damaged)):
                identity = (await sent(http, album)).json()["id"]
                state = await until(http, identity, is_done)
                assert [photograph["state"] for photograph in state["photographs"]] == ["done", "refused"]
                assert "damaged in the album" in state["photographs"][1]["reason"]

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


def test_one_keeper_at_a_time(tmp_path: Path, models: Turnstile) -> None:
    async def story() -> None:
        async with served(tmp_path, models):
            second = Keeper(tmp_path, LIMITS, models)
            running = asyncio.create_task(second.run())
            await asyncio.sleep(0.3)
            with pytest.raises(Refusal, match="taken up"):
                await second.state("0" * 32)
        async with asyncio.timeout(30):
            while True:
                with pytest.raises(Refusal) as refused:
                    await second.state("0" * 32)
                if refused.value.code == "no_album":
                    break
                await asyncio.sleep(0.05)
        running.cancel()

    asyncio.run(story())


def test_a_photograph_that_takes_too_much_memory_is_refused(held: dict[Task, Held], tmp_path: Path) -> None:
    models = Turnstile(LocalModels(held, most_bytes=40_000_000))

    async def story() -> None:
        async with served(
            tmp_path, models, replace(LIMITS, pixels=10**8, photo_bytes=10**8, unpacked_bytes=10**8)
        ) as http:
            white = io.BytesIO()
            Image.new("L", (2000, 2000), 255).save(white, "PNG")
            identity = (await sent(http, zipped({"white.png": white.getvalue()}))).json()["id"]
            state = await until(http, identity, is_done)
            assert state["refused"] == 1
            assert "bytes of memory" in state["photographs"][0]["reason"]

    asyncio.run(story())
