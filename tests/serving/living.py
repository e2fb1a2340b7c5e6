"""The service as people run it: `serve run` with serving/config.yaml, real HTTP, tiny models in a real registry."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

import serving
from models.task import Task

ROOT = Path(serving.__file__).parents[1]
ALONE = 50_000  # a photograph of more pixels than this is worked on alone


@dataclass(frozen=True)
class Service:
    """A running service, and what it said before there was any model."""

    http: httpx.Client
    archive: Any
    early: httpx.Response
    early_state: Any
    unready: httpx.Response
    looked_into_being: bool

    def post(self, path: str, photo: bytes, model: str | None = None, **rest: Any) -> httpx.Response:
        headers = rest.pop("headers", {}) | ({} if model is None else {"X-Model": model})
        return self.http.post(path, files={"photo": photo}, headers=headers, **rest)

    def release(self, task: Task, seed: int) -> str:
        """A new champion, once it is served: such as restorer/3."""
        version = f"{task.model}/{self.archive.release(task, seed)}"
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

    def wait(self, task: Task, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        state: dict[str, Any] = until(lambda: state if wanted(state := self.state(task)) else None)
        return state


def until(asked: Callable[[], Any], seconds: float = 120) -> Any:
    """The first answer that is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = asked()
        if answer is not None:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"nothing came of it in {seconds} s")


@contextmanager
def running(archive: Any, folder: Path) -> Iterator[Service]:
    """A service that serves first versions of a restorer and a colorizer, and no detector."""
    port = _free_port()
    # As `make serve` runs it, with Ray on the loopback interface.
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": archive.uri,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    }
    environment.pop("RAY_ADDRESS", None)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("serve"), "run", "--address", "local", _config(folder, port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
            early = until(lambda: _up(process, folder, http), seconds=180)
            state = until(lambda: said.json() if (said := http.get("/v1/models")).is_success else None)
            unready = http.get("/readyz")
            looked_into_being = archive.database.exists()
            service = Service(http, archive, early, state, unready, looked_into_being)
            for task in (Task.RESTORE, Task.COLORIZE):
                service.release(task, 1)
            yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _config(folder: Path, port: int) -> Path:
    """serving/config.yaml at another port, and with limits that a test reaches."""
    config = yaml.safe_load((ROOT / "serving" / "config.yaml").read_text())
    config["http_options"]["port"] = port
    application = config["applications"][0]
    application["args"] |= {
        "poll_seconds": 0.5,
        "cache": str(folder / "cache"),
        "max_upload_bytes": 2_000_000,
        "max_pixels": 2_000_000,
        "large_pixels": ALONE,
        "engine": "eager",
        "deadline_seconds": 60,
        "threads": 1,
    }
    for deployment in application["deployments"]:
        deployment["ray_actor_options"]["num_cpus"] = 0
        deployment["autoscaling_config"]["max_replicas"] = 1
        if deployment["name"] == Task.COLORIZE.model:
            deployment |= {"max_ongoing_requests": 1, "max_queued_requests": 12}  # soon too many
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _up(process: subprocess.Popen[bytes], folder: Path, http: httpx.Client) -> httpx.Response | None:
    """What the service says without a model, as soon as its models' replicas are there to say it."""
    assert process.poll() is None, (folder / "log").read_text()
    try:
        response = http.post("/v1/revive", files={"photo": picture(8, 8)})
    except httpx.TransportError:
        return None
    return response if "no_model" in response.text else None


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def picture(width: int, height: int, kind: str = "PNG", seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def pixels(response: httpx.Response) -> NDArray[np.uint8]:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(BytesIO(response.content)))
