"""Albums whose processes are really killed: the command's, its workers', and the service's."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import pytest
from PIL import Image

from models.task import Task
from serving.albums import record
from tests.serving.conftest import Archive
from tests.serving.noise import write
from tests.serving.running import ROOT, SECONDS, Started, started

PHOTOGRAPHS = 20
NONE = {"autoscaling_config": {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1}}  # until somebody asks


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    archive = Archive(tmp_path_factory.mktemp("archive"))
    archive.release(Task.RESTORE, 1)
    return archive


@dataclass(frozen=True)
class Command:
    """A running `python -m serving.album` with one worker."""

    process: subprocess.Popen[bytes]
    target: Path

    @classmethod
    def start(cls, registry: Archive, source: Path, target: Path) -> Self:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": registry.uri, "OMP_NUM_THREADS": "1"}
        environment.pop("RAY_ADDRESS", None)
        options = ("--task", "restore", "--engine", "eager", "--cache", registry.folder / "cache", "--workers", "1")
        command: list[str | Path] = [sys.executable, "-m", "serving.album", source, target, *options]
        with target.with_suffix(".log").open("wb") as log:
            return cls(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log, start_new_session=True), target)

    @property
    def said(self) -> str:
        return self.target.with_suffix(".log").read_text(errors="replace")

    def until(self, asked: Callable[[], Any], pause: float = 0.1) -> Any:
        """The first answer that is something; AssertionError where the command has ended before."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if answer := asked():
                return answer
            assert self.process.poll() is None, self.said
            time.sleep(pause)
        raise AssertionError(f"nothing came of it in {SECONDS} s: {self.said}")

    def worker(self) -> psutil.Process | None:
        """The process that works on photographs, None where none runs."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if "MapWorker" in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                    return child
        return None

    def kill(self) -> None:
        """The command alone; what is below it ends by itself."""
        worker = self.worker()
        self.process.kill()
        self.process.wait(60)
        if worker is not None:
            worker.wait(60)

    def listening(self) -> set[str]:
        """The addresses at which it can be reached."""
        found = set()
        for process in (parent := psutil.Process(self.process.pid), *parent.children(recursive=True)):
            with suppress(psutil.Error):
                sockets = process.net_connections("tcp")
                found |= {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
        return found

    def pictures(self) -> dict[str, int]:
        """The pictures in OUT, every one of which must be whole; of those that have a record, when each was written."""
        found = {}
        for path in self.target.glob("*.jpg"):
            with Image.open(path) as picture:
                picture.load()
            if record.place(self.target / ".autochrome" / "records", path.name).exists():
                found[path.name] = path.stat().st_mtime_ns
        return found

    def report(self) -> dict[str, dict[str, str]]:
        text = (self.target / "report.csv").read_text(encoding="utf-8")
        return {row["file"]: row for row in csv.DictReader(io.StringIO(text))}


def test_a_killed_album_goes_on_and_a_photograph_that_kills_its_workers_fails_alone(
    registry: Archive, tmp_path: Path
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    for seed in range(1, PHOTOGRAPHS):
        write(source / f"{seed:02}.jpg", 400, 300, seed)
    first = Command.start(registry, source, target)
    first.until(lambda: len(first.pictures()) >= 3)
    assert first.listening() <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    first.kill()
    done = first.pictures()
    assert 3 <= len(done) < PHOTOGRAPHS - 1
    assert not (target / "report.csv").exists()

    # Every worker that begins this photograph is killed; then the album is stopped as by Ctrl-C.
    deadly = "00.jpg"
    write(source / deadly, 2000, 1500)  # takes long enough to be caught at
    begun = record.place(target / ".autochrome" / "records", deadly).with_suffix(".begun")
    second = Command.start(registry, source, target)
    for losses in ("1", "2"):
        worker = second.until(second.worker)
        second.until(lambda want=losses: begun.exists() and begun.read_text().endswith(f" {want}"), pause=0.005)  # type: ignore[misc]
        worker.kill()
        worker.wait(60)
    second.until(lambda: "failed=1" in second.said and len(second.pictures()) > len(done))
    os.killpg(second.process.pid, signal.SIGINT)  # Ctrl-C reaches every process of a terminal
    assert second.process.wait(SECONDS) == 130, second.said
    assert "Traceback" not in second.said
    rows, whole = second.report(), second.pictures()
    lost = rows.pop(deadly)
    assert lost["outcome"] == "failed"
    assert "2 workers died" in lost["reason"]
    assert {name: whole[name] for name in done} == done
    assert {name for name, row in rows.items() if row["outcome"] == "done"} == set(whole)
    assert {row["outcome"] for name, row in rows.items() if name not in whole} <= {"missing"}
    assert not (target / ".autochrome" / "scratch").exists()


def zipped(folder: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as album:
        for path in sorted(folder.iterdir()):
            album.write(path, path.name)
    return file.getvalue()


def killed_owner(service: Started) -> None:
    """Kills the replica that owns the albums."""
    for process in service.process.children(recursive=True):
        with suppress(psutil.Error):
            if "ServeReplica:autochrome:albums" in " ".join(process.cmdline()):
                process.kill()
                return
    raise AssertionError("no replica owns the albums")


def killed_whole(service: Started) -> None:
    """Kills every process of the service, as a power cut does."""
    everything = [service.process, *service.process.children(recursive=True)]
    for process in everything:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(everything[1:], timeout=60)


def restores(service: Started, photo: Path) -> bool:
    """Whether the service has a model."""
    try:
        answer = httpx.post(f"{service.address}/v1/restore", files={"photo": photo.read_bytes()}, timeout=SECONDS)
    except httpx.TransportError:
        return False  # it starts
    return answer.status_code == 200


def progress(service: Started, album: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The album's state once it is so; its owner may be away meanwhile, and says so."""

    def asked() -> dict[str, Any] | None:
        try:
            answer = httpx.get(f"{service.address}/v1/albums/{album}", timeout=60)
        except httpx.TransportError:
            return None  # the service starts
        if answer.status_code == 404 and answer.text.startswith("Path "):
            return None  # Serve's proxy, before it knows the service's routes
        assert answer.status_code in (200, 503), answer.text
        return answer.json() if answer.status_code == 200 and wanted(answer.json()) else None

    state: dict[str, Any] = service.until(asked)
    return state


def test_the_services_albums_outlive_their_owner_and_the_service(registry: Archive, tmp_path: Path) -> None:
    for seed in range(PHOTOGRAPHS):
        write(tmp_path / "in" / f"{seed:02}.jpg", 600, 500, seed)
    records = tmp_path / "albums"

    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in records.glob("*/records/*.json")}

    unused = {Task.DETECT.model: NONE, Task.COLORIZE.model: NONE}
    with started(tmp_path, registry.uri, deployments=unused) as service:
        service.until(lambda: restores(service, tmp_path / "in" / "00.jpg"))
        sent = httpx.post(
            f"{service.address}/v1/albums?task=restore&format=png",
            files={"album": zipped(tmp_path / "in")},
            timeout=SECONDS,
        )
        assert sent.status_code == 202, sent.text
        album = sent.json()["id"]
        progress(service, album, lambda state: bool(state["done"] >= 2))
        killed_owner(service)
        count = len(before := written())
        progress(service, album, lambda state: bool(state["done"] > count))
        killed_whole(service)
    between = written()
    assert before.items() <= between.items()
    assert len(between) < PHOTOGRAPHS

    with started(tmp_path, registry.uri, deployments=unused) as service:
        state = progress(service, album, lambda state: bool(state["state"] == "done"))
        assert (state["done"], state["total"]) == (PHOTOGRAPHS, PHOTOGRAPHS)
        assert {tuple(photograph["versions"]) for photograph in state["photographs"]} == {("restorer/1",)}
        assert between.items() <= written().items()

        with httpx.Client(base_url=f"{service.address}/v1/albums", timeout=SECONDS) as http:
            answer = http.get(f"/{album}/photos.zip")
            assert answer.status_code == 200, answer.text
            pictures = zipfile.ZipFile(io.BytesIO(answer.content))
            assert pictures.testzip() is None
            assert pictures.namelist() == [*(f"{seed:02}.png" for seed in range(PHOTOGRAPHS)), "report.csv"]
            assert http.delete(f"/{album}").status_code == 204
            gone = http.get(f"/{album}/photos.zip")
            assert (gone.status_code, gone.json()["error"]["code"]) == (404, "no_album")
        assert [path.name for path in (tmp_path / "albums").iterdir()] == [".lock"]
