"""The photographs of a folder, spread by Ray Data over workers that each hold the album's models."""

import asyncio
import hashlib
import logging
import os
import signal
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not os.environ.get("RAY_ADDRESS"):
    # Read when ray is imported: the ports of a Ray of our own are for this machine alone (docs/serving.md).
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
import ray.data
import torch
from ray.data import ActorPoolStrategy, DataContext

from models.acceleration import Choice
from models.task import Task
from serving.albums import files, record
from serving.albums.local import LocalModels
from serving.albums.photograph import Order, Photograph, said, work
from serving.albums.record import Outcome, Record
from serving.loading import Loader
from serving.refusal import Refusal
from serving.registry import Registry, Version

_MOST_BLOCKS = 4000  # of one photograph each, so that progress is seen; of more where there are more photographs
_MOST_LOSSES = 2  # workers that may die over one photograph
_HEADERS = 64 << 20  # bytes of a file that may be anything but pixels


@dataclass(frozen=True)
class Machine:
    """What the workers may use."""

    workers: int | None  # None: one a GPU, or else one for every so many cores
    cores: int  # of each worker
    engine: Choice
    memory_bytes: int  # for one photograph's work


@dataclass(frozen=True)
class Album:
    """What every worker needs to know."""

    source: Path
    target: Path
    ours: Path  # folder in `target`
    order: Order
    versions: Mapping[Task, Version]
    registry: Registry
    machine: Machine
    run: str  # an id of this process: what another began, it may have left half done

    @property
    def names(self) -> dict[Task, str]:
        """Of the versions, such as restorer/3."""
        return {task: str(version) for task, version in self.versions.items()}

    def record(self, name: str) -> Path:
        """Where the photograph's record is."""
        return record.place(self.ours / "records", name)

    def wants(self, known: Record) -> bool:
        """Whether the picture that this record is of was made by the same versions in the same way."""
        return known.outcome is Outcome.DONE and known.order == self.order.key(self.names)

    @property
    def scratch(self) -> Path:
        """The folder of files that are not whole yet."""
        return self.ours / "scratch"


def spread(album: Album, outputs: Mapping[str, str]) -> Generator[Record, None, None]:
    """What becomes of each photograph (name -> its picture's name), as it becomes known; in any order.

    When it ends, or is closed, its workers are ended.
    """
    if not outputs:
        return
    # Names as bytes: those of old archives need not be UTF-8, which Arrow's strings must be.
    rows = [{"name": os.fsencode(name), "output": os.fsencode(output)} for name, output in outputs.items()]
    with _ray():
        DataContext.get_current().enable_progress_bars = False  # the command has its own
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0))
        cores = album.machine.cores
        most = album.machine.workers or gpus or max(1, int(resources.get("CPU", 1)) // cores)
        worked = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map(
            Worker,  # type: ignore[arg-type]  # a class, whose instances are called
            fn_constructor_args=(album, "cuda" if gpus else "cpu"),
            compute=ActorPoolStrategy(min_size=1, max_size=min(most, len(rows)), max_tasks_in_flight_per_actor=2),
            num_cpus=cores,
            num_gpus=1 if gpus else 0,
        )
        for row in worked.iter_rows():
            yield Record.from_json(row["record"])


class Worker:
    """One worker. Its models are loaded when the first photograph needs them: a rerun of a whole album loads none."""

    def __init__(self, album: Album, device: str) -> None:
        torch.set_num_threads(album.machine.cores)
        self._album = album
        self._device = device
        self._models: LocalModels | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        """The row's photograph done, or found done; the answer is its record."""
        name, output = os.fsdecode(row["name"]), os.fsdecode(row["output"])
        try:
            done = self._done(name, output)
        # A disk that fails, or models that cannot be fetched here, fail this photograph and not the album.
        except Exception as error:
            reason = said(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            done = Record(name, Outcome.FAILED, reason)
        return {"record": done.as_json()}

    def _done(self, name: str, output: str) -> Record:
        place, target = self._album.record(name), self._album.target / output
        begun = _Begun(place.with_suffix(".begun"), self._album.run)
        if end := self._end_without_work(name, output, begun):
            return end
        self._models = self._models or self._loaded()
        for folder in (place.parent, target.parent):
            folder.mkdir(parents=True, exist_ok=True)
        begun.mark()
        photograph = Photograph(
            name,
            output,
            lambda: asyncio.to_thread(_read, self._album.source / name, self._album.order.most_pixels),
            lambda data: asyncio.to_thread(files.write, target, data, self._album.scratch),
        )
        done = asyncio.run(work(photograph, self._album.order, self._models, self._album.names))
        if done.outcome is Outcome.DONE:
            files.write(place, done.as_json(), self._album.scratch)
        if done.outcome is Outcome.DONE or not begun.before:
            begun.forget()
        return done

    def _end_without_work(self, name: str, output: str, begun: "_Begun") -> Record | None:
        """Its record where it is done already, or nothing may be tried; else None."""
        if not output:
            return Record(name, Outcome.REFUSED, "every name that its picture could have is another's; rename it")
        known, target = record.read(self._album.record(name)), self._album.target / output
        if target.exists():
            ours = known is not None and (known.output, known.output_sha256) == (output, _sha256(target))
            if known is not None and ours and self._is_up_to_date(known):
                return known
            if not ours and not begun.before:
                return Record(name, Outcome.REFUSED, f"{output} in OUT is not what was made here; move it away")
        if begun.losses >= _MOST_LOSSES:
            reason = f"{_MOST_LOSSES} workers died over it; it may need more memory than there is"
            return Record(name, Outcome.FAILED, reason)
        return None

    def _is_up_to_date(self, known: Record) -> bool:
        return self._album.wants(known) and known.sha256 == _sha256(self._album.source / known.file)

    def _loaded(self) -> LocalModels:
        album, machine = self._album, self._album.machine
        loaded = [
            Loader(task, album.registry, machine.engine, self._device).load(version)
            for task, version in album.versions.items()
        ]
        return LocalModels(loaded, machine.memory_bytes)


class _Begun:
    """The mark that a photograph was begun. It stays where the process is lost, or the picture's record is not kept."""

    def __init__(self, path: Path, run: str) -> None:
        self._path = path
        self._run = run
        try:
            marked, _, losses = path.read_text(encoding="ascii").partition(" ")
        except FileNotFoundError:
            self.before, self.losses = False, 0
        else:
            self.before = True  # a picture may be there that has no record yet
            self.losses = int(losses or 0) if marked == run else 0  # of this run's workers, over this photograph

    def mark(self) -> None:
        self._path.write_text(f"{self._run} {self.losses + 1}", encoding="ascii")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


def _read(path: Path, most_pixels: int) -> bytes:
    """The file's bytes; raises Refusal 413 where they are more than a photograph of so many pixels can have."""
    most = most_pixels * 8 + _HEADERS  # four channels of 16 bits, not compressed
    size = path.stat().st_size
    if size > most:
        raise Refusal(
            413, "too_many_bytes", f"it has {size:,} bytes; a photograph of the size taken has {most:,} at most"
        )
    return path.read_bytes()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _ray() -> Iterator[None]:
    """The Ray that this process has, the cluster that RAY_ADDRESS names, which is given our code, or one of our own."""
    if ray.is_initialized():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    if os.environ.get("RAY_ADDRESS"):
        root = Path(__file__).resolve().parents[2]
        code = {"py_modules": [str(root / "models"), str(root / "serving")]}
        ray.init(runtime_env=code, logging_level=logging.ERROR, log_to_driver=False)
    else:
        ray.init(
            "local",
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    signal.signal(signal.SIGTERM, handler)  # Ray puts its own there
    try:
        yield
    finally:
        ray.shutdown()
