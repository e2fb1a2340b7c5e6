"""HAProxy before gateways that come and go; here they are little HTTP servers."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest

from serving.front import BEHIND, GATEWAYS, FrontError, Ports, free_ports, haproxy, standing
from tests.serving.running import ROOT, free_port, until

HOST = BEHIND
ALONE = """
import sys, time
from serving.front import free_ports, standing
host, port = sys.argv[1:]
with standing(host, int(port), free_ports().gateways, 60):
    print(flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.skipif(haproxy() is None, reason="there is no HAProxy for this system")


class _Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ThreadingHTTPServer

    def do_GET(self) -> None:
        if self.path == "/die":
            self.close_connection = True
            return
        body = str(self.server.server_port).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Not here."""


@contextmanager
def gateway(port: int) -> Iterator[None]:
    with ThreadingHTTPServer((HOST, port), _Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def ports() -> Ports:
    return free_ports()


@pytest.fixture(scope="module")
def address(ports: Ports) -> Iterator[str]:
    port = free_port()
    with standing(HOST, port, ports.gateways, 60):
        yield f"http://{HOST}:{port}"


def front_of(address: str) -> psutil.Process:
    """The HAProxy that this process started."""
    (found,) = (
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE
        and any(socket.laddr.port == int(address.rpartition(":")[2]) for socket in process.net_connections("tcp"))
    )
    return found


def test_whoever_of_the_gateways_is_there_answers(address: str, ports: Ports) -> None:
    first, last = ports.gateways[0], ports.gateways[GATEWAYS - 1]
    for port in (first, last):
        with gateway(port):
            assert until(lambda: (answer := httpx.get(address)).status_code == 200 and answer.text) == str(port)


def test_without_a_gateway_the_refusal_says_when_to_come_back(address: str) -> None:
    answer = until(lambda: (answer := httpx.get(address)).status_code == 503 and answer)
    assert answer.json()["error"]["code"] == "interrupted"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/json"


def test_a_gateway_that_dies_over_a_request_is_a_clean_refusal_and_no_second_try(address: str, ports: Ports) -> None:
    with gateway(ports.gateways[3]):
        until(lambda: httpx.get(address).status_code == 200)
        answer = httpx.get(f"{address}/die")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "interrupted")
        assert "while it worked" in answer.json()["error"]["message"]
        assert int(answer.headers["retry-after"]) > 0


def test_a_killed_front_is_followed_by_another(address: str, ports: Ports) -> None:
    with gateway(ports.gateways[5]):
        until(lambda: httpx.get(address).status_code == 200)
        killed = front_of(address)
        killed.kill()

        def answers() -> bool:
            try:
                return httpx.get(address).status_code == 200
            except httpx.TransportError:
                return False

        until(answers)
        assert front_of(address).pid != killed.pid


def test_the_front_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE, HOST, str(port)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    (front,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert front.wait(30) is not None or not front.is_running()
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, port)) != 0


def test_a_port_that_is_taken_is_said(ports: Ports) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FrontError, match=f"127.0.0.1:{port} is taken"), standing(HOST, port, ports.gateways, 60):
            raise AssertionError("it stands on another's port")


def test_free_ports_leave_out_what_somebody_has(monkeypatch: pytest.MonkeyPatch, ports: Ports) -> None:
    with socket.create_server((HOST, ports.gateways[7])):
        monkeypatch.setattr("serving.front._BLOCKS", range(ports.gateways[0], ports.proxy + 1, GATEWAYS + 1))
        with pytest.raises(FrontError, match="no 17 free ports"):
            free_ports()
