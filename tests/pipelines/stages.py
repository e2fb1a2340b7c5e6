"""Stages as `python -m pipelines.<stage>` runs them, each in a process of its own, but without its seconds of imports.

A server, which is this file run as a program, imports the packages that stages take long to import and does nothing
else; each stage is a fork of it. What the stage imports of this repository is imported by the stage.
"""

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
SLOW = (
    *("torch", "torchmetrics", "pandas", "pyarrow", "cv2", "PIL.Image", "albumentations"),
    *("mlflow", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store"),
    "mlflow.store.model_registry.sqlalchemy_store",
)


class Stages:
    """The server, from its first use until `close`."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def run(
        self, *command: str, folder: Path, times: int = 1, **environment: str
    ) -> list[subprocess.CompletedProcess[str]]:
        """`python -m <command>` in the folder, with this process's environment and `environment`; `times` at once."""
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, str(Path(__file__))],
                env=os.environ | {"PYTHONPATH": str(ROOT), "NO_ALBUMENTATIONS_UPDATE": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        server = self._server
        assert server.stdin
        assert server.stdout
        with tempfile.TemporaryDirectory() as scratch:
            told = [str(Path(scratch, str(number))) for number in range(times)]
            own = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
            order = {"command": command, "folder": str(folder), "environment": own, "told": told}
            print(json.dumps(order), file=server.stdin, flush=True)
            answer = server.stdout.readline()
            assert answer, "the server of stages ended"
            return [
                subprocess.CompletedProcess(
                    command, status, *(Path(f"{path}.{end}").read_text(encoding="utf-8") for end in ("out", "err"))
                )
                for status, path in zip(json.loads(answer), told, strict=True)
            ]

    def close(self) -> None:
        """Ends the server."""
        if self._server is not None:
            self._server.communicate()


def serve(orders: IO[str], answers: IO[str]) -> None:
    """Forks what each order asks for, and answers with the exit statuses."""
    for name in SLOW:
        importlib.import_module(name)
    gc.freeze()  # else each stage looks through it all, and so copies it, before it ends
    for line in iter(orders.readline, ""):
        order = json.loads(line)
        children = []
        for told in order["told"]:
            child = os.fork()
            if not child:
                become(told, **{key: order[key] for key in ("command", "folder", "environment")})
                return
            children.append(child)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(statuses), file=answers, flush=True)


def become(told: str, command: Sequence[str], folder: str, environment: dict[str, str]) -> None:
    """This process as `python -m <command>`; what it says is in `told`.out and `told`.err."""
    for end, name in enumerate((os.devnull, f"{told}.out", f"{told}.err")):
        opened = os.open(name, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, end)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0], sys.argv = folder, list(command)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
