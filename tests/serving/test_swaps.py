"""Five swaps of the model under a constant load of real requests: nobody notices but by the picture."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from models.task import Task
from tests.serving.living import Service
from tests.serving.noise import picture
from tests.serving.sending import sending

SWAPS = 5
CLIENTS = 4
PHOTO = picture(260, 200)  # worked on alone, so that its picture does not depend on what else is in a batch


@dataclass
class Load:
    """What clients of one service got."""

    service: Service
    failures: list[str] = field(default_factory=list)
    pictures: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))  # by version
    answers: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, ending: threading.Event) -> None:
        with httpx.Client(base_url=self.service.http.base_url, timeout=120) as http:
            while not ending.is_set():
                self._note(http)

    def _note(self, http: httpx.Client) -> None:
        try:
            response = http.post("/v1/restore", files={"photo": PHOTO})
        except httpx.TransportError as error:
            self.failures.append(repr(error))
            return
        with self._lock:
            self.answers += 1
            if response.status_code == 200:
                self.pictures[response.headers["x-restorer"]].add(response.content)
            else:
                self.failures.append(response.text)


@contextmanager
def loading(service: Service) -> Iterator[Load]:
    """Clients that send one photograph again and again until the block ends."""
    load = Load(service)
    with sending([load.send] * CLIENTS):
        yield load


def test_five_swaps_under_load_fail_nobody_and_no_answer_is_of_a_half_loaded_model(service: Service) -> None:
    one, other = service.release(Task.RESTORE, 21), service.release(Task.RESTORE, 22)
    alone = {version: service.post("/v1/restore", PHOTO, version).content for version in (one, other)}
    assert alone[one] != alone[other]
    with loading(service) as load:
        for swap in range(SWAPS):
            service.point((one, other)[swap % 2])
    assert load.failures == []
    assert load.answers >= SWAPS * CLIENTS
    assert dict(load.pictures) == {version: {content} for version, content in alone.items()}


def test_a_corrupt_version_under_load_fails_nobody(service: Service) -> None:
    kept = service.release(Task.RESTORE, 23)
    alone = service.post("/v1/restore", PHOTO, kept).content
    with loading(service) as load:
        corrupt = service.archive.release_corrupt(Task.RESTORE, 24)
        state = service.wait(Task.RESTORE, lambda state: state["state"] == "failing")
        assert state["version"] == kept
        assert f"restorer/{corrupt}" in state["error"]
        service.archive.point("restorer", kept.partition("/")[2])  # the rollback
        service.wait(Task.RESTORE, lambda state: state["state"] == "ready")
    assert load.failures == []
    assert dict(load.pictures) == {kept: {alone}}
