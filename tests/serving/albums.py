"""Albums over HTTP without Ray Serve: the real routes, disk and models in this process."""

import asyncio
import io
import shutil
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from models import bundle
from models.task import Task
from serving.albums.keeper import Keeper
from serving.albums.local import LocalModels
from serving.albums.photograph import Models
from serving.albums.routes import router
from serving.albums.state import AlbumLimits
from serving.errors import answer_in_json
from serving.job import Job
from serving.loading import Loader
from serving.refusal import Refusal
from serving.registry import Registry, Version
from tests.serving import noise
from tests.serving.conftest import Archive

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


def local_models(archive: Archive, seed: int, most_bytes: int = 1 << 30) -> LocalModels:
    """Version `seed` of a restorer and a colorizer, found in the cache: no registry is asked."""
    found = []
    for task in (Task.RESTORE, Task.COLORIZE):
        folder = archive.bundle(task, seed)
        sha256 = bundle.digest(folder)
        shutil.copytree(folder, archive.folder / "cache" / sha256, dirs_exist_ok=True)
        loader = Loader(task, Registry("nowhere", archive.folder / "cache"), "eager")
        found.append(loader.load(Version(task.model, str(seed), sha256, recipe="", run="")))
    return LocalModels(found, most_bytes)


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


@asynccontextmanager
async def kept(folder: Path, models: Models, limits: AlbumLimits = LIMITS) -> AsyncIterator[Keeper]:
    """A keeper that has taken up its albums and runs until the block ends."""
    keeper = Keeper(folder, limits, models)
    running = asyncio.create_task(keeper.run())
    try:
        while not keeper._ready:
            assert not running.done(), running.result()
            await asyncio.sleep(0.01)
        yield keeper
        assert not running.done(), running.result()
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@asynccontextmanager
async def served(folder: Path, models: Models, limits: AlbumLimits = LIMITS) -> AsyncIterator[httpx.AsyncClient]:
    """The routes over such a keeper."""
    async with kept(folder, models, limits) as keeper:
        app = FastAPI()
        answer_in_json(app)
        app.include_router(router(keeper, limits))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://albums") as http:
            yield http


def picture(width: int = 40, height: int = 30, seed: int = 0, kind: str = "JPEG") -> bytes:
    return noise.picture(width, height, kind, seed)


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
