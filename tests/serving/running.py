"""A whole service for a test: `serve run` with serving/config.yaml on its own port, and tiny models of every task."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

import serving
from models.task import Task

ROOT = Path(serving.__file__).parents[1]
TASKS = (Task.DETECT, Task.RESTORE, Task.COLORIZE)
_SECONDS = 400  # for a start beside other work


def release(archive: Any, seed: int, alias: str) -> None:
    """A version of every task's model with random weights, under the alias; the colorizer takes hints."""
    for task in TASKS:
        folder = archive.bundle(task, seed, "guided" if task is Task.COLORIZE else None)
        archive.point(task.model, archive.add(task.model, folder), alias)


@contextmanager
def service(folder: Path, registry: str, headers: Mapping[str, str] | None = None, **arguments: Any) -> Iterator[str]:
    """The address of a service that is ready; `arguments` are serving.app's, `headers` those that it asks for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": registry,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    }
    environment.pop("RAY_ADDRESS", None)
    serve = str(Path(sys.executable).with_name("serve"))
    command = [serve, "run", "--address", "local", str(_config(folder, port, arguments))]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10) as http:
            _wait(process, http, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _config(folder: Path, port: int, arguments: dict[str, Any]) -> Path:
    config = yaml.safe_load((ROOT / "serving" / "config.yaml").read_text())
    config["http_options"]["port"] = port
    application = config["applications"][0]
    application["args"] |= {
        "poll_seconds": 0.5,
        "cache": str(folder / "cache"),
        "threads": 1,
        "engine": "eager",
    } | arguments
    for deployment in application["deployments"]:
        deployment.setdefault("ray_actor_options", {})["num_cpus"] = 0
        if "autoscaling_config" in deployment:
            deployment["autoscaling_config"]["max_replicas"] = 1
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _wait(process: subprocess.Popen[bytes], http: httpx.Client, log: Path) -> None:
    """Until every model has a version, the detector too, which /readyz does not ask for."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        if _ready(http):
            return
        time.sleep(0.3)
    raise AssertionError(f"not ready in {_SECONDS} s: {log.read_text()[-5000:]}")


def _ready(http: httpx.Client) -> bool:
    try:
        models = http.get("/v1/models").raise_for_status().json()["models"]
    except httpx.HTTPError:
        return False
    versions = [replica["version"] for model in models for replica in model["replicas"]]
    return len(versions) >= len(TASKS) and all(versions)
