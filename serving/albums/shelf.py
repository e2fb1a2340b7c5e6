"""Albums on disk: a folder each, so that a service that was ended goes on with them.

`<id>/album.zip` as it was sent, `<id>/album.json` what was asked for, `<id>/photos/00000.jpg` and
`<id>/records/00000.json` of each photograph. Names that clients chose are in album.json only, never names of files.
"""

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from models.task import Task
from serving.albums import files, record
from serving.albums.archive import Contents
from serving.albums.photograph import Verb
from serving.albums.record import Outcome, Record
from serving.photo import Format

logger = logging.getLogger("ray.serve")

_FOLDERS = ("photos", "records", "scratch")
_NEW, _GONE = ".new-", ".gone-"  # folders that are not an album yet, or no more


@dataclass
class Album:
    """One album: what the disk holds of it, and what is known beside."""

    id: str
    folder: Path
    verb: Verb
    format: Format | None
    created: float  # seconds since 1970
    contents: Contents
    outputs: list[str]  # of each name, its picture's
    bytes: int  # on disk
    records: dict[int, Record] = field(default_factory=dict)  # by place among the names
    finished: float | None = None  # when its last record was made
    working: set[int] = field(default_factory=set)
    waiting: str = ""  # for what
    waiting_since: float | None = None  # by the monotonic clock

    @property
    def missing(self) -> list[int]:
        """The photographs that have no record."""
        return [number for number in range(len(self.contents.names)) if number not in self.records]

    @property
    def versions(self) -> Mapping[Task, str]:
        """What made its first picture, and is to make the others; empty before."""
        done = (entry for entry in self.records.values() if entry.outcome is Outcome.DONE)
        first = next(done, None)
        return dict(zip(self.verb.tasks, first.versions, strict=True)) if first else {}

    def picture(self, number: int) -> Path:
        """Where a photograph's picture is."""
        return self.folder / "photos" / f"{number:05}{PurePosixPath(self.outputs[number]).suffix}"

    def close(self, number: int, entry: Record) -> None:
        """The photograph has its record."""
        self.records[number] = entry
        self.waiting = ""
        if len(self.records) == len(self.contents.names):
            self.finished = time.time()


class Shelf:
    """The folder of all albums. One process at a time may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self) -> list[Album]:
        """The albums that are there, the oldest first. What was sent or removed when a service ended is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path.name.startswith((_NEW, _GONE)):
                shutil.rmtree(path, ignore_errors=True)
        return sorted(self._loaded(), key=lambda album: album.created)

    def begin(self, name: str) -> Path:
        """Where the zip of a new album is to be written."""
        folder = self.folder / f"{_NEW}{name}"
        folder.mkdir()
        for below in _FOLDERS:
            (folder / below).mkdir()
        return folder / "album.zip"

    def put(self, name: str, verb: Verb, form: Format | None, contents: Contents) -> Album:
        """The album whose zip was written, now on the shelf: with all its files or not at all."""
        new = self.folder / f"{_NEW}{name}"
        about = {
            "verb": verb,
            "format": form,
            "created": time.time(),
            "names": contents.names,
            "left_out": contents.left_out,
        }
        files.write(new / "album.json", json.dumps(about).encode(), new / "scratch")
        new.rename(self.folder / name)
        files.sync(self.folder)
        return _album(self.folder / name)

    def drop(self, name: str) -> None:
        """Remove what was begun."""
        shutil.rmtree(self.folder / f"{_NEW}{name}", ignore_errors=True)

    def keep(self, album: Album, number: int, entry: Record) -> None:
        """Write a photograph's record; raises OSError."""
        files.write(_record(album.folder, number), entry.as_json(), album.folder / "scratch")

    def remove(self, album: Album) -> None:
        """Remove an album: at once for who looks, its bytes after."""
        gone = self.folder / f"{_GONE}{album.id}"
        album.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _loaded(self) -> Iterator[Album]:
        for folder in self.folder.iterdir():
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            try:
                for partial in (folder / "scratch").iterdir():
                    partial.unlink()
                yield _album(folder)
            except (OSError, ValueError, KeyError) as error:
                logger.warning(f"{folder} is no album and is left alone: {type(error).__name__} {error}")


def _album(folder: Path) -> Album:
    about = json.loads((folder / "album.json").read_text(encoding="utf-8"))
    form = None if about["format"] is None else Format(about["format"])
    contents = Contents(tuple(about["names"]), tuple(about["left_out"]))
    outputs = files.outputs(contents.names, form)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    album = Album(folder.name, folder, Verb(about["verb"]), form, about["created"], contents, outputs, size)
    for number in album.missing:
        if entry := record.read(_record(folder, number)):
            album.close(number, entry)
    if album.finished is not None:
        album.finished = max(path.stat().st_mtime for path in (folder / "records").iterdir())
    return album


def _record(folder: Path, number: int) -> Path:
    return folder / "records" / f"{number:05}.json"
