"""Which `dvc repro` a stage belongs to, and which process is which however often the kernel gives a pid again."""

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

# DVC sets it for every stage's command, so the nearest ancestor that does not have it is the DVC that set it.
DVC_STAGE = "DVC_STAGE"
_STATE, _STARTED = 0, 19  # fields of /proc/<pid>/stat after the command, see proc(5)


@dataclass(frozen=True)
class Repro:
    """A `dvc repro` or `dvc exp run` at work."""

    key: str  # the process, see `key`
    command: str  # as it was typed
    began: float  # seconds since 1970

    @property
    def title(self) -> str:
        """What people call it, such as `dvc repro 2026-11-27 02:10` in this machine's time."""
        verb = "dvc exp run" if " exp " in f"{self.command} " else "dvc repro"
        return f"{verb} {time.strftime('%Y-%m-%d %H:%M', time.localtime(self.began))}"


def repro() -> Repro | None:
    """The DVC that runs this process's stage; None for a stage that was started by hand."""
    if DVC_STAGE not in os.environ:
        return None
    for process in psutil.Process().parents():
        try:
            if DVC_STAGE not in process.environ():
                return Repro(key(process.pid), _typed(process.cmdline()), process.create_time())
        except psutil.Error:  # ended meanwhile, or another user's
            return None
    return None


def key(pid: int) -> str:
    """A process on a machine: `host:pid:start`, with its start in clock ticks since boot, which no clock change moves.

    psutil.NoSuchProcess where there is none.
    """
    return f"{socket.gethostname()}:{pid}:{_stat(pid)[_STARTED]}"


def ended(process: str) -> bool:
    """Whether the process of that key was one of this machine and has ended."""
    host, pid, _ = process.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        return key(int(pid)) != process or _stat(int(pid))[_STATE] == "Z"
    except psutil.NoSuchProcess:
        return True


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(pid) from error


def _typed(cmdline: list[str]) -> str:
    """`/usr/bin/python3 /usr/bin/dvc repro train@pix2pix` was typed as `dvc repro train@pix2pix`."""
    return " ".join(_from_dvc(cmdline)) or " ".join(cmdline)


def _from_dvc(cmdline: list[str]) -> Iterator[str]:
    for number, word in enumerate(cmdline):
        if Path(word).name == "dvc":
            yield from ["dvc", *cmdline[number + 1 :]]
            return
