"""A service whose parts are really killed, stopped and taken away; docs/reliability.md has what it lost each time.

One service for all: each test leaves it whole, and the last one ends it. `pytest -rP` prints what was counted.
"""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from models.task import Task
from tests.faults.breakable import Answer, Clients, Service, asking, service
from tests.serving.conftest import Archive
from tests.serving.running import release, until

CLEAN = {"200", "503 interrupted", "503 no_model", "503 overloaded", "504 deadline"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def running(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    release(archive, 1, "champion")
    with service(tmp_path_factory.mktemp("faults"), archive.uri) as started:
        yield started


def say(clients: Clients, begun: float, whole: Answer) -> None:
    sys.stdout.write(f"{dict(clients.count())}; whole after {whole.at - begun:.1f} s\n")


def process_of(running: Service, name: str) -> psutil.Process:
    replica = running.replica(name)
    assert replica is not None
    return replica


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_killed_replica_costs_clean_503s_and_is_replaced(running: Service) -> None:
    """What was in it waits for the next one, or is told to come again."""
    with asking(running, ["/v1/revive"] * 8) as clients:
        clients.wait_for(lambda answer: answer.kind == "200")
        killed = process_of(running, Task.RESTORE.model)
        killed.kill()
        begun = time.monotonic()
        whole = clients.wait_for(lambda answer: answer.kind == "200" and answer.asked > begun)
    say(clients, begun, whole)
    assert set(clients.count()) <= CLEAN
    assert process_of(running, Task.RESTORE.model).pid != killed.pid


def test_a_killed_gateway_costs_clean_503s_and_is_replaced(running: Service) -> None:
    """Every request that is inside is lost with it; the front says so."""
    with asking(running, ["/v1/revive"] * 8) as clients:
        clients.wait_for(lambda answer: answer.kind == "200")
        killed = process_of(running, "gateway")
        killed.kill()
        begun = time.monotonic()
        whole = clients.wait_for(lambda answer: answer.kind == "200" and answer.asked > begun)
    say(clients, begun, whole)
    assert set(clients.count()) <= CLEAN
    assert clients.count()["503 interrupted"] >= 1
    assert process_of(running, "gateway").pid != killed.pid


def test_a_stuck_replica_is_replaced_and_others_go_on(running: Service) -> None:
    """Stopped, it answers nobody: neither requests nor its health check. The colorizer goes on meanwhile."""
    stuck = process_of(running, Task.RESTORE.model)
    with asking(running, ["/v1/restore"] * 6 + ["/v1/colorize"]) as clients:
        clients.wait_for(lambda answer: answer.kind == "200" and answer.path == "/v1/restore")
        stuck.suspend()
        begun = time.monotonic()
        until(lambda: gone(stuck))
        replaced = time.monotonic()
        whole = clients.wait_for(
            lambda answer: answer.kind == "200" and answer.path == "/v1/restore" and answer.at > replaced
        )
    say(clients, begun, whole)
    assert set(clients.count()) <= CLEAN
    colorized = [answer for answer in clients.answers if answer.path == "/v1/colorize"]
    assert {answer.kind for answer in colorized} == {"200"}
    assert any(begun < answer.at < replaced for answer in colorized)
    assert process_of(running, Task.RESTORE.model).pid != stuck.pid


def test_without_its_store_it_serves_what_it_has_and_a_new_replica_says_why_not(
    running: Service, archive: Archive, tmp_path: Path
) -> None:
    served = running.post("/v1/restore").headers["x-restorer"]
    away = [(path, tmp_path / path.name) for path in (archive.database, archive.folder / "artifacts")]
    for here, there in away:
        here.rename(there)
    try:
        (state,) = until(lambda: [state for state in running.states(Task.RESTORE) if state["error"]])
        assert (state["state"], state["version"]) == ("failing", served)
        assert str(archive.database) in state["error"]
        answer = running.post("/v1/restore")
        assert (answer.status_code, answer.headers["x-restorer"]) == (200, served)

        process_of(running, Task.RESTORE.model).kill()
        without = until(lambda: answer if "no_model" in (answer := running.post("/v1/restore")).text else None)
        assert without.status_code == 503
        assert int(without.headers["retry-after"]) >= 1
        assert str(archive.database) in without.json()["error"]["message"]
        assert running.post("/v1/colorize").status_code == 200
    finally:
        for here, there in away:
            there.rename(here)
    back = time.monotonic()
    until(running.whole)
    sys.stdout.write(f"whole {time.monotonic() - back:.1f} s after the store was back\n")
    assert running.post("/v1/restore").headers["x-restorer"] == served


def test_sigterm_lets_requests_in_flight_end(running: Service) -> None:
    """The last: afterwards there is no service. Who comes while it ends is told so, until nobody listens any more."""
    with asking(running, ["/v1/revive"] * 8) as clients:
        clients.wait_for(lambda answer: answer.kind == "200")
        begun = time.monotonic()
        running.started.process.send_signal(signal.SIGTERM)
        until(lambda: running.started.ended)
        ended = time.monotonic()
    inside = [answer.kind for answer in clients.answers if answer.asked < begun]
    inside_late = [answer for answer in clients.answers if answer.asked < begun < answer.at]
    sys.stdout.write(f"{dict(clients.count())}, {len(inside_late)} in flight; ended after {ended - begun:.1f} s\n")
    assert set(inside) == {"200"}
    assert inside_late
    assert "503 stopping" in clients.count()
