"""A checkout of its own and the commands run in it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

VENV = Path(sys.prefix)


@dataclass(frozen=True)
class Clone:
    """A checkout of its own, with commands run in it through the environment that runs the tests."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true", "DVC_NO_ANALYTICS": "true"}
        git = {f"GIT_{who}_{what}": "tests@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        path = f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **quiet, **git, "PATH": path, "AUTOCHROME_WORKERS": "2"}

    def run(self, command: str, timeout: float = 900) -> str:
        """Run a shell command to its end; the test fails with its output when it fails."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-8000:]}"
        return done.stdout

    def start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a shell command in a session of its own."""
        with log.open("wb") as output:
            return subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.root,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> list[psutil.Process]:
        """Every process that works in this clone."""
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(self.root) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
                continue
        return found


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until the condition holds; the test fails saying `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} seconds for {what}"
        time.sleep(0.1)
