"""Photographs per second of the service, beside the models alone and beside a plain FastAPI server.

`python -m bench.serve [--turns 3] [--seconds 8] [--threads 0] [--engine auto]`: a real service with
serving/config.yaml and the sample's networks with random weights; 256 x 256 JPEGs are revived by 1, 4 and 16 clients.
The limit is the same decoding, batches of 8 through the same predictors, and encoding, in a process of its own without
any server; the plain server (bench/plain_server.py) takes one request at a time. All take turns, and medians count.

Then the service restores without a network (`classical`), which is little work beside its own: its processor time per
request, less what its processes take when idle and less what the limit takes for the same photographs, is what the
framework costs.
The last line is one JSON object.
"""

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch
import yaml
from mlflow import MlflowClient

from bench.prepare import jpeg, painted
from models import bundle
from models.catalogue import CATALOGUE
from models.task import Task
from tests.serving.running import free_port, started

ROOT = Path(__file__).parents[1]
CLIENTS = (1, 4, 16)
SIDE, SIZE = 256, 128  # pixels of the photographs, and of the networks' working size
RECIPES = {Task.RESTORE: "pix2pix", Task.COLORIZE: "colorgan"}
LIGHT = "classical"
KEYWORDS = ("generator", "width", "normalization", "dropout", "method", "radius")  # of these recipes' networks
_BOUNDARY = "bench"
_START_SECONDS = 900.0  # compiling too


@dataclass(frozen=True)
class Server:
    """A running server and its whole family of processes."""

    port: int
    path: str
    process: psutil.Process

    def processor_seconds(self) -> float:
        """Processor time of all its processes so far."""
        return sum(_processor_seconds(process) for process in (self.process, *self.process.children(recursive=True)))

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; 0 where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def per_second(self, photographs: Sequence[bytes], clients: int, seconds: float) -> float:
        """Answers per second to so many clients, each sending its next photograph when it has its answer."""
        counts = [0] * clients
        begun = time.perf_counter()
        threads = [
            threading.Thread(target=self._send, args=(photographs, begun + seconds, counts, i)) for i in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / (time.perf_counter() - begun)

    def _send(self, photographs: Sequence[bytes], end: float, counts: list[int], client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        while time.perf_counter() < end:
            data = photographs[(client + counts[client]) % len(photographs)]
            connection.request("POST", self.path, _form(data), headers)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200 or not body.startswith(b"\xff\xd8"):
                raise SystemExit(f"{self.path} answered {response.status}: {body[:300]!r}")
            counts[client] += 1
        connection.close()


def main() -> None:
    """Prints every figure, and one JSON object."""
    parser = argparse.ArgumentParser(description="Measure the service beside its limit and a plain server.")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of one measurement")
    parser.add_argument("--threads", type=int, default=0, help="of each model replica; 0: all cores")
    parser.add_argument("--engine", default="auto", help="how the service computes; eager is the plain server's way")
    arguments = parser.parse_args()
    photographs = [jpeg(painted(seed), (SIDE, SIDE)) for seed in range(8)]
    with TemporaryDirectory(prefix="bench-serve-") as temporary:
        folder = Path(temporary)
        networks = [_bundle(folder, task, recipe) for task, recipe in RECIPES.items()]
        light = [_bundle(folder, Task.RESTORE, LIGHT)]
        _release(folder, networks)
        with (
            service(folder, arguments.threads, arguments.engine) as served,
            plain(folder, networks) as plainly,
        ):
            _until(lambda: served.get("/v1/models")[1].count(b'"settled":true') == len(RECIPES))
            figures = _speeds(served, plainly, networks, photographs, arguments)
            _release(folder, light)
            _until(lambda: LIGHT.encode() in served.get("/v1/models")[1])
            restoring = replace(served, path="/v1/restore?format=jpeg")
            figures |= _framework(restoring, light, photographs, arguments.seconds)
    print(json.dumps(figures))


def _speeds(
    served: Server, plainly: Server, bundles: Sequence[Path], photographs: Sequence[bytes], arguments: Any
) -> dict[str, float]:
    rows: list[dict[str, float]] = []
    for server in (served, plainly):  # what comes first is slow: threads, allocators, connections
        server.per_second(photographs, 4, arguments.seconds / 2)
    for _ in range(arguments.turns):
        row = {"limit": limit(bundles, photographs, arguments.seconds)["per_second"]}
        for clients in CLIENTS:
            row[f"service_{clients}"] = served.per_second(photographs, clients, arguments.seconds)
            row[f"plain_{clients}"] = plainly.per_second(photographs, clients, arguments.seconds)
        print({name: round(value, 2) for name, value in row.items()}, flush=True)
        rows.append(row)
    figures = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    figures["of_limit_16"] = statistics.median(row["service_16"] / row["limit"] for row in rows)
    figures["of_plain_16"] = statistics.median(row["service_16"] / row["plain_16"] for row in rows)
    return {name: round(value, 3) for name, value in figures.items()}


def _framework(
    served: Server, bundles: Sequence[Path], photographs: Sequence[bytes], seconds: float
) -> dict[str, float]:
    """Processor milliseconds per request beyond decoding, predicting and encoding, at 16 clients."""
    served.per_second(photographs, 16, seconds / 2)
    before = served.processor_seconds()
    time.sleep(seconds)
    idle = (served.processor_seconds() - before) / seconds
    work = limit(bundles, photographs, seconds)["processor_ms"]
    before, begun = served.processor_seconds(), time.perf_counter()
    per_second = served.per_second(photographs, 16, seconds)
    passed = time.perf_counter() - begun
    spent = served.processor_seconds() - before
    requests = per_second * passed
    return {
        "light_per_second": round(per_second, 2),
        "light_work_ms": round(work, 2),
        "idle_percent_of_a_core": round(idle * 100, 1),
        "request_ms": round(spent / requests * 1000, 2),
        "framework_ms": round((spent - idle * passed) / requests * 1000 - work, 2),
    }


def limit(bundles: Sequence[Path], photographs: Sequence[bytes], seconds: float) -> dict[str, float]:
    """Photographs per second, and processor time of each, of the work without a server, in a process of its own."""
    with TemporaryDirectory(prefix="bench-limit-") as temporary:
        for index, data in enumerate(photographs):
            (Path(temporary) / f"{index}.jpg").write_bytes(data)
        command = [sys.executable, "-m", "bench.limit", str(seconds), temporary, *map(str, bundles)]
        said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(said.splitlines()[-1])
    return figures


@contextmanager
def service(folder: Path, threads: int, engine: str) -> Iterator[Server]:
    """The service as `make serve` runs it, with the registry in `folder`."""
    (folder / "service").mkdir()
    arguments = {"threads": threads, "engine": engine, "poll_seconds": 10}
    with started(folder / "service", _registry(folder), arguments) as running:
        server = Server(int(running.address.rpartition(":")[2]), "/v1/revive?format=jpeg", running.process)
        _until(lambda: server.get("/readyz")[0] == 200)
        yield server


@contextmanager
def plain(folder: Path, bundles: Sequence[Path]) -> Iterator[Server]:
    """The plain server."""
    port = free_port()
    command = [sys.executable, "-m", "bench.plain_server", str(port), *map(str, bundles)]
    with (folder / "plain.log").open("w") as log, _running(command, log, dict(os.environ)) as process:
        server = Server(port, "/", process)
        _until(lambda: server.get("/openapi.json")[0] == 200)
        yield server


@contextmanager
def _running(command: Sequence[str | Path], log: Any, environment: dict[str, str]) -> Iterator[psutil.Process]:
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _bundle(folder: Path, task: Task, recipe: str) -> Path:
    """A bundle with random weights, as wide as params.yaml says."""
    torch.manual_seed(0)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())[recipe]
    keywords = {name: params[name] for name in KEYWORDS if name in params}
    path = folder / "bundles" / recipe
    config = bundle.Config(recipe, task, SIZE, keywords, params={}, data={}, run=recipe)
    bundle.save(path, config, CATALOGUE[recipe].network(keywords))
    return path


def _release(folder: Path, bundles: Sequence[Path]) -> None:
    """Each bundle as its model's new champion."""
    client = MlflowClient(tracking_uri=_registry(folder), registry_uri=_registry(folder))
    experiment = client.get_experiment_by_name("bench")
    identity = experiment.experiment_id if experiment else client.create_experiment("bench", str(folder / "artifacts"))
    for path in bundles:
        config, _ = bundle.load(path)
        run = client.create_run(identity)
        client.log_artifacts(run.info.run_id, str(path), "model/artifacts/bundle")
        model = config.task.model
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        tags = {
            "autochrome.bundle_sha256": bundle.digest(path),
            "autochrome.recipe": config.recipe,
            "autochrome.run": config.run,
        }
        source = f"{run.info.artifact_uri}/model"
        version = client.create_model_version(model, source, run_id=run.info.run_id, tags=tags).version
        client.set_registered_model_alias(model, "champion", str(version))


def _registry(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def _form(data: bytes) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
    return head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _processor_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _until(asked: Any) -> None:
    end = time.monotonic() + _START_SECONDS
    while not asked():
        if time.monotonic() > end:
            raise SystemExit(f"a server was not ready within {_START_SECONDS:g} s")
        time.sleep(0.3)


if __name__ == "__main__":
    main()
