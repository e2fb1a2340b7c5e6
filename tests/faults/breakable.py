"""A real service whose processes a test may kill, and clients that count what comes of their requests meanwhile."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
import psutil
import yaml
from PIL import Image

import serving
from models.task import Task

ROOT = Path(serving.__file__).parents[1]
DEADLINE = 40  # seconds; a stuck replica is replaced before
_SECONDS = 180  # that anything may take beside other work


@dataclass(frozen=True)
class Service:
    """A running `serve run`."""

    address: str
    process: psutil.Process
    folder: Path

    def replica(self, task: Task) -> psutil.Process | None:
        """The process of the task's model, None where none runs."""
        title = f"ServeReplica:autochrome:{task.model}"
        for process in self.process.children(recursive=True):
            try:
                if title in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    return process
            except psutil.NoSuchProcess:
                continue
        return None

    def states(self, task: Task) -> list[dict[str, Any]]:
        models = httpx.get(f"{self.address}/v1/models", timeout=60).raise_for_status().json()["models"]
        return list(next(model["replicas"] for model in models if model["model"] == task.model))

    def post(self, path: str) -> httpx.Response:
        return httpx.post(f"{self.address}{path}", files={"photo": PHOTO}, timeout=_SECONDS)

    def whole(self) -> bool:
        return self.post("/v1/revive").status_code == 200


@contextmanager
def service(folder: Path, registry: str) -> Iterator[Service]:
    """A service that is ready, with `serving/config.yaml` and a short patience for replicas that do not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": registry,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    }
    environment.pop("RAY_ADDRESS", None)
    serve = str(Path(sys.executable).with_name("serve"))
    command = [serve, "run", "--address", "local", str(_config(folder, port))]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        started = Service(f"http://127.0.0.1:{port}", psutil.Process(process.pid), folder)
        until(lambda: _ready(started, process))
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_SECONDS)


def _config(folder: Path, port: int) -> Path:
    config = yaml.safe_load((ROOT / "serving" / "config.yaml").read_text())
    config["http_options"]["port"] = port
    application = config["applications"][0]
    application["args"] |= {
        "poll_seconds": 0.5,
        "cache": str(folder / "cache"),
        "threads": 1,
        "deadline_seconds": DEADLINE,
    }
    for deployment in application["deployments"]:
        deployment.setdefault("ray_actor_options", {})["num_cpus"] = 0
        deployment |= {"health_check_period_s": 1, "health_check_timeout_s": 3, "graceful_shutdown_timeout_s": 20}
        if "autoscaling_config" in deployment:
            deployment["autoscaling_config"]["max_replicas"] = 1
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _ready(service: Service, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (service.folder / "log").read_text()[-5000:]
    try:
        return httpx.get(f"{service.address}/readyz", timeout=10).is_success and service.whole()
    except httpx.TransportError:
        return False


def until(asked: Callable[[], Any], seconds: float = _SECONDS) -> Any:
    """The first answer that is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := asked():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"nothing came of it in {seconds} s")


def _photo() -> bytes:
    file = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


PHOTO = _photo()


@dataclass(frozen=True)
class Answer:
    """What a client got: a response, or the name of the error that its connection ended with."""

    at: float  # time.monotonic when it was there
    path: str
    response: httpx.Response | None
    error: str | None = None

    @property
    def kind(self) -> str:
        """Such as 200, 503 interrupted, ConnectError, or 500 unclean where it is no proper refusal."""
        if self.response is None:
            return str(self.error)
        status = self.response.status_code
        return "200" if status == 200 else f"{status} {_code(self.response)}"


def _code(response: httpx.Response) -> str:
    """The refusal's code; `unclean` without a JSON body, or where a 503 does not say when to come back."""
    try:
        code = response.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return "unclean"
    late = response.status_code == 503 and int(response.headers.get("retry-after", 0)) < 1
    return "unclean" if late else str(code)


@dataclass
class Clients:
    """Clients that send the same photograph again and again until the block ends, `paths` one a client."""

    service: Service
    paths: list[str]
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(path,)) for path in self.paths]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, wanted: Callable[[Answer], bool]) -> Answer:
        """The first answer of this kind, that is there or comes."""
        answer: Answer = until(lambda: next((answer for answer in list(self.answers) if wanted(answer)), None))
        return answer

    def count(self) -> Counter[str]:
        return Counter(answer.kind for answer in self.answers)

    def _send(self, path: str) -> None:
        with httpx.Client(base_url=self.service.address, timeout=_SECONDS) as http:
            while not self._ending.is_set():
                answer = self._sent(http, path)
                self.answers.append(answer)
                if answer.kind != "200":
                    self._ending.wait(0.1)

    def _sent(self, http: httpx.Client, path: str) -> Answer:
        try:
            response = http.post(path, files={"photo": PHOTO})
        except httpx.TransportError as error:
            return Answer(time.monotonic(), path, None, type(error).__name__)
        return Answer(time.monotonic(), path, response)
