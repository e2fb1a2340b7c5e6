"""The service on a port of this machine, without Ray Serve: its real routes, albums and page, and tiny networks."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from numpy.typing import NDArray
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from models import bundle
from models.catalogue import CATALOGUE
from models.hints import Hint
from models.predictor import Predictor
from models.task import Task
from serving.albums.keeper import Keeper
from serving.albums.state import AlbumLimits
from serving.errors import body
from serving.gateway import api
from serving.job import Job
from serving.limits import Limits
from serving.refusal import Refusal
from serving.routing import Trial
from serving.state import ModelState

SIZE = 64
LIMITS = Limits(upload_bytes=4_000_000, pixels=2_000_000, seconds=60, seconds_per_megapixel=30, large_pixels=0)
ALBUMS = AlbumLimits(
    photographs=20,
    zip_bytes=4_000_000,
    unpacked_bytes=8_000_000,
    photo_bytes=4_000_000,
    pixels=2_000_000,
    unfinished=2,
    disk_bytes=32_000_000,
    keep_hours=1,
    upload_seconds=60,
)
_NETWORKS: dict[Task, tuple[str, dict[str, Any]]] = {
    Task.DETECT: ("scratches", {"width": 4}),
    Task.RESTORE: ("pix2pix", {"width": 4, "normalization": "batch", "dropout": 0.0}),
    Task.COLORIZE: ("guided", {"width": 4}),
}


@dataclass
class Models:
    """`serving.job.Models`: of every task a champion (version 1) and a challenger (version 2), of random weights."""

    predictors: dict[str, Predictor]
    jobs: list[Job] = field(default_factory=list)  # as they came
    found: list[NDArray[np.bool_]] = field(default_factory=list)  # masks that were answered
    hold: threading.Event = field(default_factory=threading.Event)  # set: photographs may pass

    @classmethod
    def tiny(cls) -> "Models":
        """Networks that answer in moments."""
        predictors = {f"{task.model}/{seed}": predictor(task, seed) for task in _NETWORKS for seed in (1, 2)}
        models = cls(predictors)
        models.hold.set()
        return models

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        """The job after the tasks; Refusal 404 for a version that is not here."""
        self.jobs.append(job)
        while not self.hold.is_set():
            await asyncio.sleep(0.01)
        for task in tasks:
            version = versions.get(task, f"{task.model}/1")
            if version not in self.predictors:
                raise Refusal(404, "no_version", f"there is no version {version} of {task.model}")
            job = await asyncio.to_thread(done, task, self.predictors[version], version, job)
        if job.mask is not None:
            self.found.append(job.mask)
        return job

    async def find(self, task: Task, alias: str) -> str | None:
        """Version 2 is the challenger."""
        return {"champion": f"{task.model}/1", "challenger": f"{task.model}/2"}.get(alias)

    async def states(self, tasks: Sequence[Task]) -> dict[Task, list[ModelState]]:
        """One replica of each, ready."""
        return {
            task: [
                ModelState(
                    state="ready",
                    version=f"{task.model}/1",
                    recipe=_NETWORKS[task][0],
                    run=None,
                    bundle_sha256=None,
                    engine="eager",
                    settled=True,
                    hinted=task is Task.COLORIZE,
                    error=None,
                )
            ]
            for task in tasks
        }


def predictor(task: Task, seed: int) -> Predictor:
    """A network of random weights."""
    recipe, keywords = _NETWORKS[task]
    torch.manual_seed(seed)
    network = CATALOGUE[recipe].network(keywords)
    if task is Task.DETECT:
        _normalize(network)
    return Predictor(bundle.Config(recipe, task, SIZE, keywords, params={}, data={}, run=f"{recipe}-{seed}"), network)


def _normalize(network: torch.nn.Module) -> None:
    """Batch norms that have seen a picture: without, a network of random weights says the same of every pixel."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(4, 3, SIZE, SIZE))


def done(task: Task, model: Predictor, version: str, job: Job) -> Job:
    """What a replica does with a job: `serving.predicting`, for one photograph."""
    mask = job.mask if task is Task.RESTORE else None
    hints = [Hint(point.x, point.y, point.a, point.b, point.radius) for point in job.hints]
    made_by = job.made_by | {task: version}
    if task is Task.DETECT:
        # Random weights are sure of nothing: what is likelier than half of the picture counts, to 16 bits.
        (answer,) = model.predict([job.pixels.astype(np.uint16) << 8], [None])
        found = answer[..., 0] > np.median(answer[..., 0])
        return replace(job, mask=found if job.mask is None else job.mask | found, made_by=made_by)
    (pixels,) = model.predict([job.pixels], [mask], [hints if task is Task.COLORIZE else []])
    return Job(pixels, hints=job.hints, made_by=made_by)


class Gate:
    """What a test puts in the way of requests: refusals to give before the service is asked, and a key it wants."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.refusals: list[Refusal] = []
        self.key: str | None = None
        self.asked: list[tuple[str, Headers]] = []  # path and headers of every request for work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        app = self._app
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            headers = Headers(scope=scope)
            if scope["method"] == "POST":
                self.asked.append((f"{scope['path']}?{scope['query_string'].decode()}", headers))
            if self.key and headers.get("authorization") != f"Bearer {self.key}":
                app = body(Refusal(401, "key", "no valid key"))
            elif scope["method"] == "POST" and self.refusals:
                app = body(self.refusals.pop(0))
        await app(scope, receive, send)


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    url: str
    models: Models
    gate: Gate

    def reset(self) -> None:
        """As it was started."""
        self.models.hold.set()
        self.models.jobs.clear()
        self.gate.refusals.clear()
        self.gate.asked.clear()
        self.gate.key = None


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """A service until the block ends; `folder` is for its albums."""
    models = Models.tiny()
    keeper = Keeper(folder, ALBUMS, models)
    gate = Gate(api(models, LIMITS, Trial(), keeper, ALBUMS))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _served(gate, port, keeper.run):
        yield Service(f"http://127.0.0.1:{port}", models, gate)


@contextmanager
def _served(app: ASGIApp, port: int, beside: Callable[[], Any]) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off"))

    async def both() -> None:
        keeping = asyncio.create_task(beside())
        try:
            await server.serve()
        finally:
            keeping.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(both()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "uvicorn did not start"
        time.sleep(0.02)
    yield
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive(), "uvicorn did not stop"
