"""Checkpoints of one run: folders that are whole or are not there, and are checked before they are believed.

A checkpoint is `step-00000050/` with `state.pt` and `meta.json` (its bytes and sha256). It is written under another
name, synced and renamed, so a process killed at any moment leaves either the checkpoint or a leftover that the next
one sweeps away. Ray's own checkpoint manager is not used: what it has been given may be lost until a health check
later, and it does not fall back when its newest checkpoint is damaged (docs/training.md).
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipelines.stage import sync

STATE = "state.pt"
META = "meta.json"
NAME = re.compile(r"step-(\d{8,})")


class CheckpointError(Exception):
    """A checkpoint that cannot be believed; the message names the file and what is wrong with it."""


class Checkpoints:
    """The newest `keep` checkpoints of a run, in one folder."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def write(self, step: int, state: Mapping[str, Any]) -> Path:
        """Commit `state` (tensors and plain Python values) as the checkpoint of `step`; older ones are dropped."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step-{step:08d}"
        temporary = self.folder / f".{target.name}-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        with (temporary / STATE).open("wb") as file:
            torch.save(dict(state), file)
            os.fsync(file.fileno())
        with (temporary / META).open("w", encoding="utf-8") as file:
            json.dump({"step": step, "bytes": (temporary / STATE).stat().st_size, "sha256": _sha256(temporary)}, file)
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)  # a damaged one that was fallen back from
        temporary.rename(target)
        sync(self.folder)
        self._drop_old()
        return target

    def newest_valid(self) -> dict[str, Any] | None:
        """The state of the newest checkpoint that is whole, on the CPU; None where there is none.

        A damaged one is named on stderr and passed over for the one before.
        """
        for _, folder in reversed(self._found()):
            try:
                return _read(folder)
            except CheckpointError as error:
                print(f"warning: {error}; falling back to the checkpoint before it", file=sys.stderr, flush=True)
        return None

    def sweep(self) -> None:
        """Remove what killed writers left; only for whoever is the run's one writer."""
        for leftover in self.folder.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _drop_old(self) -> None:
        self.sweep()
        for _, folder in self._found()[: -self.keep]:
            shutil.rmtree(folder, ignore_errors=True)

    def _found(self) -> list[tuple[int, Path]]:
        """(step, folder) in order of steps."""
        if not self.folder.is_dir():
            return []
        named = [(NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return sorted((int(match[1]), path) for match, path in named if match)


def _read(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        size, digest = meta["bytes"], meta["sha256"]
        found = (folder / STATE).stat().st_size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint {folder} is incomplete ({error})") from error
    if found != size:
        raise CheckpointError(f"checkpoint {folder / STATE} has {found} bytes; it must have {size}")
    if _sha256(folder) != digest:
        raise CheckpointError(f"checkpoint {folder / STATE} has another sha256 than its {META}")
    state: dict[str, Any] = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    return state


def _sha256(folder: Path) -> str:
    with (folder / STATE).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
