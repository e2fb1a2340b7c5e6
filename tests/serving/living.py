"""One service for many test files, whose registry gets new versions while it runs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.task import Task
from tests.serving.noise import picture
from tests.serving.running import Started, started

ALONE = 50_000  # a photograph of more pixels than this is worked on alone
ARGUMENTS = {  # limits that a test reaches
    "max_upload_bytes": 2_000_000,
    "max_pixels": 2_000_000,
    "large_pixels": ALONE,
    "deadline_seconds": 60,
}
DEPLOYMENTS = {Task.COLORIZE.model: {"max_ongoing_requests": 1, "max_queued_requests": 12}}  # soon too many


@dataclass(frozen=True)
class Service:
    """A running service, and what it said before there was any model."""

    http: httpx.Client
    archive: Any
    early: httpx.Response
    early_state: Any
    unready: httpx.Response
    looked_into_being: bool
    undetected: list[httpx.Response]  # of who asked for a detector before there was any

    def post(self, path: str, photo: bytes, model: str | None = None, **rest: Any) -> httpx.Response:
        headers = rest.pop("headers", {}) | ({} if model is None else {"X-Model": model})
        return self.http.post(path, files={"photo": photo}, headers=headers, **rest)

    def release(self, task: Task, seed: int, recipe: str | None = None) -> str:
        """A new champion, once it is served: such as restorer/3."""
        version = f"{task.model}/{self.archive.release(task, seed, recipe)}"
        self.wait(task, lambda state: state["version"] == version)
        return version

    def point(self, version: str) -> None:
        """Moves the alias to a version that is registered, and waits until it is served."""
        model, _, number = version.partition("/")
        self.archive.point(model, number)
        task = next(task for task in Task if task.model == model)
        self.wait(task, lambda state: state["version"] == version)

    def state(self, task: Task) -> dict[str, Any]:
        models = self.http.get("/v1/models").raise_for_status().json()["models"]
        (replica,) = next(model["replicas"] for model in models if model["model"] == task.model)
        return dict(replica)

    def wait(self, task: Task, wanted: Callable[[dict[str, Any]], bool], seconds: float = 120) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while not wanted(state := self.state(task)):
            assert time.monotonic() < end, f"{task.model} is {state} after {seconds} s"
            time.sleep(0.2)
        return state


@contextmanager
def running(archive: Any, folder: Path) -> Iterator[Service]:
    """A service that serves first versions of every model."""
    with (
        started(folder, archive.uri, ARGUMENTS, DEPLOYMENTS) as process,
        httpx.Client(base_url=process.address, timeout=120) as http,
    ):
        early = process.until(lambda: _without_models(process, http))
        state = http.get("/v1/models").raise_for_status().json()
        unready = http.get("/readyz")
        service = Service(http, archive, early, state, unready, archive.database.exists(), [])
        for task in (Task.RESTORE, Task.COLORIZE):
            service.release(task, 1)
        for path in ("/v1/restore?find_damage=true", "/v1/mask", "/v1/revive"):
            service.undetected.append(service.post(path, picture(60, 50)))
        service.release(Task.DETECT, 1)
        yield service


def _without_models(process: Started, http: httpx.Client) -> httpx.Response | None:
    """What the service says without a model, as soon as its models' replicas are there to say it."""
    if len(list(filter(None, process.versions().values()))) < 3:
        return None
    response = http.post("/v1/revive", files={"photo": picture(8, 8)})
    return response if "no_model" in response.text else None


def pixels(response: httpx.Response) -> NDArray[np.uint8]:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(BytesIO(response.content)))
