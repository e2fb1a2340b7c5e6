"""A process of its own that compiles one network for one shape: `python -m models.compilation` and a JSON of `Order`.

Inductor takes a minute, hundreds of megabytes and the interpreter's lock: a process that serves goes on beside it, can
end it when it takes too long, and has nothing left of it. What it makes is torch's own package (AOTInductor): machine
code with the weights packed for it, without pickles, and with nothing that could compile again for another shape.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import bundle

Run = Callable[..., Tensor]
NICENESS = 5  # what serves meanwhile comes first, but not always


class CompilationError(Exception):
    """A network that could not be compiled; the message says why."""


@dataclass(frozen=True)
class Order:
    """What is to be compiled."""

    bundle: str
    package: str  # the file to write, .pt2
    shapes: Sequence[Sequence[int]]  # (C, H, W) of each of the network's tensors
    batch: int  # the largest
    threads: int


def compiler() -> str | None:
    """The C++ compiler that inductor would call; None where there is none."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


@contextmanager
def workshop(config: bundle.Config, network: nn.Module) -> Iterator[Path]:
    """A temporary folder with the network as a bundle, for `compiled`."""
    with tempfile.TemporaryDirectory(prefix="autochrome-compile-") as folder:
        bundle.save(Path(folder, "bundle"), config, network)
        yield Path(folder)


def compiled(folder: Path, shapes: Sequence[Sequence[int]], batch: int, seconds: float) -> Run:
    """The network of a workshop for tensors (B, *shape), B from 1 to `batch`, on torch's present number of threads.

    CompilationError where it fails or takes longer than `seconds`.
    """
    if seconds <= 0:
        raise CompilationError("no time is left for it")
    package = folder / ("x".join(str(side) for shape in shapes for side in shape) + ".pt2")
    order = Order(str(folder / "bundle"), str(package), shapes, batch, torch.get_num_threads())
    _carry_out(order, folder, seconds)
    try:
        # What torch._inductor.aoti_load_package does, without 130 MB of inductor in the process that serves.
        loader: Any = torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1)
    except RuntimeError as error:
        raise CompilationError(f"the compiled network does not load: {error}") from error
    finally:
        package.unlink(missing_ok=True)

    def run(*tensors: Tensor) -> Tensor:
        answer: Tensor = loader.boxed_run([tensor.contiguous() for tensor in tensors])[0]
        return answer

    return run


def _carry_out(order: Order, folder: Path, seconds: float) -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # else it starts a pool of processes
    }
    command = [sys.executable, "-m", "models.compilation", json.dumps(asdict(order))]
    # A session of its own: its compilers end with it.
    with (
        _held_open() as stdin,
        subprocess.Popen(
            command,
            env=environment,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise CompilationError(f"it took longer than the {seconds:.0f} s that are left for it") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        raise CompilationError(f"compiling ended with {process.returncode}: {last}")


@contextmanager
def _held_open() -> Iterator[int]:
    """The reading end of a pipe that says nothing, and ends when this process does."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def carry_out(order: Order) -> None:
    """Compiles, in this process; its weights become constants that the code is made for (freezing)."""
    torch.set_num_threads(order.threads)
    _, network = bundle.load(Path(order.bundle))
    network.requires_grad_(False)
    examples = tuple(torch.zeros(order.batch, *shape) for shape in order.shapes)
    dynamic = None
    if order.batch > 1:
        batch = torch.export.Dim("batch", min=1, max=order.batch)
        dynamic = tuple({0: batch} for _ in examples)
    with torch.no_grad():
        exported = torch.export.export(network, examples, dynamic_shapes=dynamic)
        torch._inductor.aoti_compile_and_package(
            exported, package_path=order.package, inductor_configs={"freezing": True}
        )


def _end_with_who_ordered() -> None:
    """Waits until stdin ends: a replica that was killed wants no network any more. Ends the compilers too."""
    os.read(sys.stdin.fileno(), 1)
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    os.nice(NICENESS)
    threading.Thread(target=_end_with_who_ordered, daemon=True).start()
    carry_out(Order(**json.loads(sys.argv[1])))
