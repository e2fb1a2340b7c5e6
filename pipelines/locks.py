"""One process at a time: a lock on a run's folder that the kernel gives back when its holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.stage import StageError


@contextmanager
def held(path: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock `path`; StageError naming `what` and the holder's pid where it is not free within `patience` s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        end = time.monotonic() + patience
        while not _taken(file.fileno()):
            if time.monotonic() >= end:
                file.seek(0)
                raise StageError(f"{what} is already running (pid {file.read().strip() or 'unknown'})")
            time.sleep(0.2)
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
        yield


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock `path`; one that was never made is free."""
    if not path.exists():
        return True
    with path.open("a", encoding="utf-8") as file:
        return _taken(file.fileno())


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
