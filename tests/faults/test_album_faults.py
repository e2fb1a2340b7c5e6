"""Albums whose processes are really killed: the command's, its workers', and the service's owner of albums."""

import asyncio
import csv
import io
import logging
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import ray
from fastapi import FastAPI
from PIL import Image
from ray import serve
from ray.serve.handle import DeploymentHandle

import serving
from models.task import Task
from serving.albums import record
from serving.albums.deployment import AlbumsDeployment, RemoteAlbums
from serving.albums.routes import router
from serving.albums.state import AlbumLimits
from serving.batching import Batching
from serving.deployments import Following, Machine, ModelDeployment
from serving.errors import answer_in_json
from tests.serving.conftest import Archive

ROOT = Path(serving.__file__).parents[1]
PHOTOGRAPHS = 20
LIMITS = AlbumLimits(
    photographs=20,
    zip_bytes=20_000_000,
    unpacked_bytes=20_000_000,
    photo_bytes=2_000_000,
    pixels=1_000_000,
    unfinished=2,
    disk_bytes=100_000_000,
    keep_hours=1,
    upload_seconds=120,
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    archive = Archive(tmp_path_factory.mktemp("archive"))
    for task in (Task.RESTORE, Task.COLORIZE):
        archive.release(task, 1)
    return archive


def photographs(folder: Path, count: int, width: int, height: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed:02}.jpg")


def start(registry: Archive, source: Path, target: Path, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": registry.uri, "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    folders = (str(source), str(target), "--cache", str(registry.folder / "cache"), "--engine", "eager")
    command = [sys.executable, "-m", "serving.album", *folders, *options]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def until(what: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def pictures(folder: Path) -> dict[str, int]:
    """The pictures of OUT, every one of which must be whole, and when each was written."""
    found = {}
    for path in folder.glob("*.jpg"):
        with Image.open(path) as picture:
            picture.load()
        found[path.name] = path.stat().st_mtime_ns
    return found


def report(folder: Path) -> dict[str, dict[str, str]]:
    text = (folder / "report.csv").read_text(encoding="utf-8")
    return {row["file"]: row for row in csv.DictReader(io.StringIO(text))}


def worker_of(process: subprocess.Popen[str]) -> psutil.Process | None:
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "MapWorker" in " ".join(child.cmdline()):
                return child
        except psutil.Error:
            continue
    return None


def end_with_everything_below(process: subprocess.Popen[str], number: int) -> None:
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    process.wait(120)
    psutil.wait_procs(below, timeout=60)


def test_a_killed_album_goes_on_and_a_worker_that_dies_twice_over_a_photograph_fails_it_alone(
    registry: Archive, tmp_path: Path
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    photographs(source, PHOTOGRAPHS, 500, 400)
    options = ("--workers", "1")

    first = start(registry, source, target, *options)
    until(lambda: len(pictures(target)) >= 3, first)
    end_with_everything_below(first, signal.SIGKILL)
    done = pictures(target)
    assert 3 <= len(done) < PHOTOGRAPHS
    assert not (target / "report.csv").exists()

    # Every worker that begins this photograph is killed; then the album is stopped as by Ctrl-C.
    deadly = "00.jpg"
    (target / deadly).unlink(missing_ok=True)
    done.pop(deadly, None)
    begun = record.place(target / ".autochrome" / "records", deadly).with_suffix(".begun")
    second = start(registry, source, target, *options)
    for losses in ("1", "2"):
        until(lambda want=losses: begun.exists() and begun.read_text().endswith(f" {want}"), second)  # type: ignore[misc]
        worker = until(lambda: worker_of(second), second)
        worker.kill()
    count = len(done)
    until(lambda: len(pictures(target)) > count, second)
    os.killpg(second.pid, signal.SIGINT)
    said = second.communicate(timeout=120)[1]
    assert second.returncode == 130, said
    assert "Traceback" not in said
    rows = report(target)
    assert rows[deadly]["outcome"] == "failed"
    assert "2 workers died" in rows[deadly]["reason"]
    whole = pictures(target)
    assert {name for name, row in rows.items() if row["outcome"] == "done"} == set(whole)
    assert {name: whole[name] for name in done} == done
    assert not (target / ".autochrome" / "scratch").exists()


def zipped(folder: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as album:
        for path in sorted(folder.iterdir()):
            album.write(path, path.name)
    return file.getvalue()


def owner() -> psutil.Process:
    """The replica that owns the albums of the service that this process has started."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "ServeReplica:albums-test:albums" in " ".join(child.cmdline()):
                return child
    raise AssertionError("no replica owns the albums")


@pytest.fixture
def albums(registry: Archive, tmp_path: Path) -> Iterator[DeploymentHandle[Any]]:
    """The owner of albums as the service has it, and one model, which restores: without gateway and proxy."""
    ray.init("local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level=logging.ERROR)
    serve.start(proxy_location="Disabled")
    following = Following("champion", registry.uri, registry.folder / "cache", seconds=600)
    model = serve.deployment(name="restorer", ray_actor_options={"num_cpus": 0})(ModelDeployment).bind(
        Task.RESTORE, following, Batching(1, 0.0, 10**6), Machine(1, "eager", 1 << 30)
    )
    keeper = serve.deployment(name="albums", ray_actor_options={"num_cpus": 0}, health_check_period_s=1)(
        AlbumsDeployment
    )
    yield serve.run(keeper.bind(model, model, tmp_path / "albums", LIMITS), name="albums-test", route_prefix=None)
    serve.shutdown()
    ray.shutdown()


def test_the_services_albums_outlive_the_process_that_owns_them(albums: DeploymentHandle[Any], tmp_path: Path) -> None:
    photographs(tmp_path / "in", 10, 500, 400)
    app = FastAPI()
    answer_in_json(app)
    app.include_router(router(RemoteAlbums(albums), LIMITS))

    async def progress(http: httpx.AsyncClient, album: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The album's state once it is so; its owner may be away meanwhile, and says so."""
        end = time.monotonic() + 240
        while time.monotonic() < end:
            response = await http.get(f"/v1/albums/{album}")
            if response.status_code == 200 and wanted(response.json()):
                return dict(response.json())
            assert response.status_code in (200, 503), response.text
            await asyncio.sleep(0.1)
        raise AssertionError(response.text)

    async def story() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://albums") as http:
            while (await http.get(f"/v1/albums/{'0' * 32}")).status_code == 503:
                await asyncio.sleep(0.1)
            query = "?task=restore&format=png"
            sent = await http.post(f"/v1/albums{query}", files={"album": zipped(tmp_path / "in")})
            assert sent.status_code == 202, sent.text
            album = sent.json()["id"]
            await progress(http, album, lambda state: bool(state["done"] >= 2))
            before = {path: path.stat().st_mtime_ns for path in (tmp_path / "albums" / album / "records").iterdir()}
            owner().kill()
            state = await progress(http, album, lambda state: bool(state["state"] == "done"))
            assert (state["done"], state["total"]) == (10, 10)
            assert {path: path.stat().st_mtime_ns for path in before} == before
            assert {tuple(photograph["versions"]) for photograph in state["photographs"]} == {("restorer/1",)}

            answer = await http.get(f"/v1/albums/{album}/photos.zip")
            assert answer.status_code == 200, answer.text
            pictures = zipfile.ZipFile(io.BytesIO(answer.content))
            assert pictures.testzip() is None
            assert len(pictures.namelist()) == 11
            refused = await http.post("/v1/albums", files={"album": b"no zip"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (415, "not_a_zip")
            assert (await http.delete(f"/v1/albums/{album}")).status_code == 204
            gone = await http.get(f"/v1/albums/{album}/photos.zip")
            assert (gone.status_code, gone.json()["error"]["code"]) == (404, "no_album")
        assert [path.name for path in (tmp_path / "albums").iterdir()] == [".lock"]

    asyncio.run(story())
