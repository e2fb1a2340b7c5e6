"""The service on this machine: `python -m serving`, or with arguments of `serving.app`, or with a config file.

It is `serve run`, but for its front and its end. HAProxy stands before the gateways in place of Serve's own proxy
(`serving/front.py`). SIGTERM, which is how process managers stop what they started, ends `serve run` at once and every
request with it, and Ctrl-C takes the models from under the gateway; here both let everyone finish who is being
answered. A second one does not wait.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

for setting, value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Gateways have HTTP servers of their own, and loops and threads are not doubled.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # A line of the log is written at once: a replica that is killed takes none along.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # By the time a gateway is stopped it has been drained: 30 s more are for load balancers that have not heard of it.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    # Linux lets nobody bind a port for a minute after its connections have ended; Serve gives up one that it cannot.
    "RAY_SERVE_PORT_QUARANTINE_S": "61",
    # A thread that waits for the others of its model leaves its core to the other models at once.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Where Serve's proxy is what answers, a dead one is noticed in seconds.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
}.items():
    os.environ.setdefault(setting, value)
if not os.environ.get("RAY_ADDRESS"):
    # Ray's own ports on loopback alone. Not for a cluster, whose machines must meet.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray  # noqa: E402  (it reads the settings above when it is imported)
import yaml  # noqa: E402
from ray import serve  # noqa: E402
from ray.serve.config import HTTPOptions  # noqa: E402
from ray.serve.exceptions import RayServeException  # noqa: E402
from ray.serve.scripts import run  # noqa: E402

from serving import edge, front  # noqa: E402

NAME = "autochrome"  # of the application, as in config.yaml
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LONGEST = 86_400.0  # seconds that a request may take where Serve has no limit


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    words = sys.argv[1:]
    file = next((Path(word) for word in words if Path(word).is_file()), None)
    config: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) if file else {}
    http = HTTPOptions(**config.get("http_options", {}))
    try:
        applications = config.get("applications", [])
        for application in applications:
            edge.refuse_exposure(application.get("args", {}).get("keys"), http.host)
        with _front(http, len(applications)) as behind:
            # A Ray of its own, which ends with it. It takes SIGTERM for itself: ours must be set after it.
            ray.init(address=os.environ.get("RAY_ADDRESS", "local"), namespace="serve")
            for number in _SIGNALS:
                signal.signal(number, _leave)
            if not file:
                serve.start(http_options=behind)
                run.main(["--name", NAME, "serving.app:build", *words], prog_name="python -m serving")
            else:
                options = config.get("http_options", {}) | {"host": behind.host, "port": behind.port}
                _run(config | {"http_options": options})
    except (front.FrontError, edge.Exposed) as error:
        sys.exit(f"python -m serving: {error}")


@contextmanager
def _front(http: HTTPOptions, applications: int) -> Iterator[HTTPOptions]:
    """Where HAProxy answers at Serve's address, the address that Serve has instead.

    Serve's own proxy answers where the Ray is not ours to start, it has the key to TLS, it must tell applications
    apart, or there is no HAProxy.
    """
    if os.environ.get("RAY_ADDRESS") or http.ssl_certfile or applications > 1 or front.haproxy() is None:
        yield http
        return
    host = http.host or front.BEHIND
    ports = front.free_ports()
    os.environ["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"] = str(ports.gateways.start)
    os.environ["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"] = str(ports.gateways.stop)
    os.environ[edge.FRONT] = host
    with front.standing(host, http.port, ports.gateways, http.request_timeout_s or _LONGEST):
        print(f"http://{host}:{http.port}", file=sys.stderr)
        yield http.model_copy(update={"host": front.BEHIND, "port": ports.proxy})


def _run(config: Mapping[str, Any]) -> None:
    with TemporaryDirectory(prefix="autochrome-serving-") as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
        run.main([str(file)], prog_name="python -m serving")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    for other in _SIGNALS:
        signal.signal(other, signal.default_int_handler)
    print("finishing what is being worked on; once more to stop at once", file=sys.stderr)
    try:
        print(f"{ray.get(_drained.remote())} requests are not finished", file=sys.stderr)
    except RayServeException as error:
        print(f"nothing to finish: {error}", file=sys.stderr)
    raise KeyboardInterrupt


@ray.remote(num_cpus=0)
def _drained() -> int:
    """How many requests all gateways together still have after the time they had.

    In a process of its own: this one's handles would outlive the event loop that they need.
    """

    async def left() -> int:
        return sum(await serve.get_app_handle(NAME).broadcast("drain").results_async())

    return asyncio.run(left())


if __name__ == "__main__":
    main()
