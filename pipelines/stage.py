"""What every stage's process has in common: it dies with its parent, runs once at a time, and leaves whole files only.

Killing `dvc repro` leaves the stage that it started running, and a rerun would write beside it (docs/prepare.md).
"""

import ctypes
import fcntl
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

import psutil

from pipelines.params import ParamsError

LOCKS = Path("build/locks")
PATIENCE = 5.0  # seconds that a stage waits for one that is just ending
SHELLS = frozenset({"sh", "dash", "bash", "zsh", "ksh", "busybox"})
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class StageError(Exception):
    """Something outside the stage is not as it must be; the message is one line that says what would be right."""


@contextmanager
def stage(name: str) -> Iterator[None]:
    """The process of one stage, such as `prepare@coco`.

    Inside, SIGTERM (also sent when the parent dies) is SystemExit(143), and no other process is the same stage.
    A ParamsError or StageError becomes one line on stderr and SystemExit(1).
    """
    leave_on_sigterm()
    try:
        _die_with_parent()
        with _only_one(name):
            yield
    except (ParamsError, StageError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


def leave_on_sigterm() -> None:
    """SIGTERM becomes SystemExit(143). Call it again after `ray.init`, whose own handler aborts the process."""
    signal.signal(signal.SIGTERM, _leave)


@contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place, synced to disk, when the block ends without an error.

    Whoever looks sees the old folder, none, or the new one, never a mixture. What a killed predecessor left is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}.*.partial"):
        shutil.rmtree(leftover)
    fresh = target.with_name(f".{target.name}.new.partial")
    fresh.mkdir()
    try:
        yield fresh
        for path in (*fresh.rglob("*"), fresh):
            sync(path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    old = target.with_name(f".{target.name}.old.partial")
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync(path: Path) -> None:
    """A file's or folder's content is on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _only_one(name: str) -> Iterator[None]:
    LOCKS.mkdir(parents=True, exist_ok=True)
    with (LOCKS / f"{name}.lock").open("a+", encoding="utf-8") as lock:
        if not _locked(lock):
            lock.seek(0)
            raise StageError(f"stage {name} is already running (pid {lock.read().strip() or 'unknown'})")
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        yield


def _locked(lock: IO[str]) -> bool:
    """Takes the lock; waits a little, because a stage whose `dvc repro` was killed takes a moment to end."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        else:
            return True


def _die_with_parent() -> None:
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent or _orphaned(parent):
        raise SystemExit(128 + signal.SIGTERM)
    for shell in _waiting_shells():
        threading.Thread(target=_die_with, args=(shell.ppid(), shell.pid), daemon=True).start()


def _orphaned(parent: int) -> bool:
    """Whether init has adopted us; init of a container may also have started us, alone or as its shell's job."""
    return parent == 1 and os.getpgrp() not in (os.getpid(), os.getpgid(1))


def _waiting_shells() -> Iterator[psutil.Process]:
    """The `sh -c` processes that do nothing but wait for us: they outlive the `dvc repro` that started them."""
    process = psutil.Process().parent()
    while process is not None and process.name() in SHELLS and "-c" in process.cmdline() and process.ppid() > 0:
        yield process
        process = process.parent()


def _die_with(parent: int, child: int) -> None:
    """Sends this process SIGTERM when `parent` ends; `child` is still its child unless it has ended already."""
    try:
        descriptor = os.pidfd_open(parent)
        if psutil.Process(child).ppid() == parent:
            select.select([descriptor], [], [])
    except (ProcessLookupError, psutil.NoSuchProcess):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
