"""A real service: `serve run` with serving/config.yaml on its own port, as `make serve` starts it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

import serving
from models.task import Task

ROOT = Path(serving.__file__).parents[1]
TASKS = (Task.DETECT, Task.RESTORE, Task.COLORIZE)
SECONDS = 300  # that anything may take beside other work


@dataclass(frozen=True)
class Started:
    """A running `serve run`; `folder` has its log, its cache and its albums."""

    address: str
    process: psutil.Process
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def ray(self) -> dict[str, str]:
        """What the service's Ray says of itself where it starts its dashboard, such as gcs-address and session-dir."""
        commands = (process.cmdline() for process in self.process.children(recursive=True))
        dashboard = next(words for words in commands if "dashboard/dashboard.py" in " ".join(words))
        options = (word[2:].partition("=") for word in dashboard if word.startswith("--"))
        return {name: value for name, _, value in options}

    @property
    def ended(self) -> bool:
        return not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE

    def until(self, asked: Callable[[], Any]) -> Any:
        """The first answer that is something; AssertionError where there is none, or the service has ended."""

        def answer() -> Any:
            assert not self.ended, self.log[-5000:]
            return asked()

        return until(answer)

    def versions(self, headers: Mapping[str, str] | None = None) -> dict[str, list[str | None]]:
        """What each model's replicas serve; nothing while the service does not answer yet."""
        try:
            answer = httpx.get(f"{self.address}/v1/models", headers=headers, timeout=60).raise_for_status().json()
        except httpx.HTTPError:
            return {}
        return {model["model"]: [replica["version"] for replica in model["replicas"]] for model in answer["models"]}

    def ready(self, headers: Mapping[str, str] | None = None) -> bool:
        """Whether every model has a version, the detector too, which /readyz does not ask for."""
        versions = self.versions(headers)
        return bool(versions) and all(found and all(found) for found in versions.values())


def until(asked: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """The first answer that is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := asked():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"nothing came of it in {seconds} s")


def release(archive: Any, seed: int, alias: str) -> None:
    """A version of every task's model with random weights, under the alias; the colorizer takes hints."""
    for task in TASKS:
        archive.release(task, seed, "guided" if task is Task.COLORIZE else None, alias)


@contextmanager
def started(
    folder: Path,
    registry: str,
    arguments: Mapping[str, Any] | None = None,
    deployments: Mapping[str, Mapping[str, Any]] | None = None,
    host: str = "127.0.0.1",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Started]:
    """A service that may not be ready yet; `arguments` are serving.app's, `deployments` what some of them have else."""
    http = {"host": host, "port": free_port()}
    variables = {
        **os.environ,
        "MLFLOW_TRACKING_URI": registry,
        **(environment or {}),
    }
    variables.pop("RAY_ADDRESS", None)
    config = _config(folder, http, arguments or {}, deployments or {})
    command = [sys.executable, "-m", "serving", str(config)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield Started(f"http://127.0.0.1:{http['port']}", psutil.Process(process.pid), folder)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """At once: how a service ends by itself is what tests/faults has tests for."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        for member in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait(SECONDS)


def _config(
    folder: Path,
    http: Mapping[str, Any],
    arguments: Mapping[str, Any],
    deployments: Mapping[str, Mapping[str, Any]],
) -> Path:
    """serving/config.yaml with one small replica of everything, whatever cores there are."""
    config = yaml.safe_load((ROOT / "serving" / "config.yaml").read_text())
    config["http_options"] |= http
    application = config["applications"][0]
    application["args"] |= {
        "poll_seconds": 0.5,
        "cache": str(folder / "cache"),
        "album_folder": str(folder / "albums"),
        "threads": 1,
        "engine": "eager",
        **arguments,
    }
    for deployment in application["deployments"]:
        deployment["ray_actor_options"]["num_cpus"] = 0
        if "autoscaling_config" in deployment:
            deployment["autoscaling_config"]["max_replicas"] = 1
        deployment |= {"graceful_shutdown_timeout_s": 20, **deployments.get(deployment["name"], {})}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
