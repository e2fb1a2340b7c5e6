"""A real service whose processes a test may kill, and clients that count what comes of their requests meanwhile."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from models.task import Task
from tests.serving.noise import picture
from tests.serving.running import SECONDS, TASKS, Started, started, until
from tests.serving.sending import sending

DEADLINE = 40  # seconds; a stuck replica is replaced before


@dataclass(frozen=True)
class Service:
    """A running service whose parts may be looked for and broken."""

    started: Started

    @property
    def address(self) -> str:
        return self.started.address

    def replica(self, name: str) -> psutil.Process | None:
        """The process of a deployment, such as a model's; None where none runs."""
        title = f"ServeReplica:autochrome:{name}"
        for process in self.started.process.children(recursive=True):
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
        return httpx.post(f"{self.address}{path}", files={"photo": PHOTO}, timeout=SECONDS)

    def whole(self) -> bool:
        return self.post("/v1/revive").status_code == 200


@contextmanager
def service(folder: Path, registry: str) -> Iterator[Service]:
    """A service that is ready, with `serving/config.yaml` and a short patience for replicas that do not answer."""
    patience = {"health_check_period_s": 1, "health_check_timeout_s": 3}
    impatient = dict.fromkeys(("gateway", *(task.model for task in TASKS)), patience)
    with started(folder, registry, {"deadline_seconds": DEADLINE}, impatient) as process:
        process.until(process.ready)
        yield Service(process)


PHOTO = picture(96, 96, "JPEG")


@dataclass(frozen=True)
class Answer:
    """What a client got: a response, or the name of the error that its connection ended with."""

    asked: float  # time.monotonic when it was sent
    at: float  # and when its answer was there
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
    """What clients of one service got."""

    service: Service
    answers: list[Answer] = field(default_factory=list)

    def wait_for(self, wanted: Callable[[Answer], bool]) -> Answer:
        """The first answer of this kind, that is there or comes."""
        answer: Answer = until(lambda: next((answer for answer in list(self.answers) if wanted(answer)), None))
        return answer

    def count(self) -> Counter[str]:
        return Counter(answer.kind for answer in self.answers)

    def send(self, path: str, ending: threading.Event) -> None:
        with httpx.Client(base_url=self.service.address, timeout=SECONDS) as http:
            while not ending.is_set():
                answer = self._sent(http, path)
                self.answers.append(answer)
                if answer.kind != "200":
                    ending.wait(0.1)

    def _sent(self, http: httpx.Client, path: str) -> Answer:
        asked = time.monotonic()
        try:
            response = http.post(path, files={"photo": PHOTO})
        except httpx.TransportError as error:
            return Answer(asked, time.monotonic(), path, None, type(error).__name__)
        return Answer(asked, time.monotonic(), path, response)


@contextmanager
def asking(service: Service, paths: Sequence[str]) -> Iterator[Clients]:
    """Clients that send the same photograph again and again until the block ends, `paths` one a client."""
    clients = Clients(service)
    with sending([partial(clients.send, path) for path in paths]):
        yield clients
