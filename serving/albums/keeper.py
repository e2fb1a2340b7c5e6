"""The one owner of the service's albums: takes zips, works on their photographs, gives zips back, removes the old."""

import asyncio
import fcntl
import logging
import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from serving.albums import archive, record
from serving.albums.photograph import Models, Verb, said
from serving.albums.record import Outcome
from serving.albums.shelf import Album, Shelf
from serving.albums.state import AlbumLimits, AlbumState, PhotographState
from serving.albums.worker import Worker
from serving.photo import Format
from serving.refusal import Refusal

logger = logging.getLogger("ray.serve")

_RETRY_AFTER = 60  # seconds: an album takes minutes
_SWEEP = 60.0  # seconds between two looks for what is too old


@dataclass
class _Upload:
    """A zip that is being sent."""

    verb: Verb
    format: Format | None
    path: Path
    file: IO[bytes]
    announced: int  # bytes
    begun: float  # by the monotonic clock
    whole: bool = False  # all is there: it is checked, and nobody drops it any more


class Keeper:
    """`serving.albums.state.Albums` on a folder of this machine. `run` must run for anything to happen."""

    def __init__(self, folder: Path, limits: AlbumLimits, models: Models) -> None:
        self._shelf = Shelf(folder)
        self._limits = limits
        self._zip = archive.ZipLimits(limits.photographs, limits.photo_bytes, limits.unpacked_bytes)
        self._worker = Worker(self._shelf, models, limits, self._zip, self._used)
        self._albums: dict[str, Album] = {}
        self._uploads: dict[str, _Upload] = {}
        self._current: tuple[str, asyncio.Task[None]] | None = None
        self._news = asyncio.Event()
        self._ready = False

    async def run(self) -> None:
        """Take up the albums on disk, and work on theirs and new ones' photographs until it is cancelled."""
        with await self._owned():
            self._albums = {album.id: album for album in await asyncio.to_thread(self._shelf.load)}
            self._ready = True
            while True:
                await self._sweep()
                album = next((album for album in self._albums.values() if album.finished is None), None)
                if album is not None:
                    await self._work(album)
                    continue
                self._news.clear()
                try:
                    async with asyncio.timeout(_SWEEP):
                        await self._news.wait()
                except TimeoutError:
                    pass

    async def begin(self, verb: Verb, form: Format | None, announced: int) -> str:
        """See `Albums`."""
        self._check_ready()
        free = (await asyncio.to_thread(shutil.disk_usage, self._shelf.folder)).free
        # From here to its upload nothing may be awaited: of several that begin at once each must see the others.
        self._check_room(announced, free)
        name = secrets.token_hex(16)
        try:
            path = self._shelf.begin(name)
            self._uploads[name] = _Upload(verb, form, path, path.open("xb"), announced, time.monotonic())
        except OSError as error:
            self._shelf.drop(name)
            raise _no_room(f"the album cannot be kept: {said(error)}") from error
        return name

    async def add(self, album: str, chunk: bytes) -> None:
        """See `Albums`."""
        upload = self._upload(album)
        try:
            await asyncio.to_thread(upload.file.write, chunk)
        except OSError as error:
            await self.drop(album)
            raise _no_room(f"the album cannot be kept: {said(error)}") from error

    async def finish(self, album: str) -> AlbumState:
        """See `Albums`."""
        upload = self._upload(album)
        upload.whole = True
        # A sender that leaves now must not end it in the middle.
        return await asyncio.shield(self._finished(album, upload))

    async def drop(self, album: str) -> None:
        """See `Albums`."""
        upload = self._uploads.get(album)
        if upload is None or upload.whole:
            return
        del self._uploads[album]
        with suppress(OSError):  # what is not written yet has no room on a full disk
            upload.file.close()
        await asyncio.to_thread(self._shelf.drop, album)

    async def state(self, album: str) -> AlbumState:
        """See `Albums`."""
        return self._state(self._album(album))

    async def photos(self, album: str, partial: bool) -> AsyncIterator[bytes]:
        """See `Albums`."""
        found = self._album(album)
        if found.finished is None and not partial:
            raise Refusal(
                409, "not_done", f"{len(found.missing)} photographs are not done; partial=true gives the others"
            )
        entries = [found.records[number] for number in sorted(found.records)]
        pictures: list[tuple[str, Path | bytes]] = [
            (found.outputs[number], found.picture(number))
            for number, entry in sorted(found.records.items())
            if entry.outcome is Outcome.DONE
        ]
        async for piece in archive.packed([*pictures, (_report_name(found), record.report(entries))]):
            yield piece

    async def remove(self, album: str) -> None:
        """See `Albums`."""
        found = self._album(album)
        del self._albums[album]
        if self._current is not None and self._current[0] == album:
            self._current[1].cancel()
            await asyncio.wait({self._current[1]})
        await asyncio.to_thread(self._shelf.remove, found)

    async def _finished(self, name: str, upload: _Upload) -> AlbumState:
        try:
            await asyncio.to_thread(_close, upload.file)
            contents = await asyncio.to_thread(archive.checked, upload.path, self._zip)
            album = await asyncio.to_thread(self._shelf.put, name, upload.verb, upload.format, contents)
            self._albums[name] = album
            self._news.set()
        except OSError as error:
            raise _no_room(f"the album cannot be kept: {said(error)}") from error
        finally:
            del self._uploads[name]
            # Where it is on the shelf by now there is nothing left to drop.
            await asyncio.to_thread(self._shelf.drop, name)
        return self._state(album)

    async def _work(self, album: Album) -> None:
        task = asyncio.create_task(self._worker.work(album))
        self._current = (album.id, task)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            self._current = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error(f"album {album.id[:8]} is tried again: {type(error).__name__} {error}")
            await asyncio.sleep(_RETRY_AFTER)

    async def _owned(self) -> IO[str]:
        """The shelf's lock, when the replica before this one has ended."""
        self._shelf.folder.mkdir(parents=True, exist_ok=True)
        lock = (self._shelf.folder / ".lock").open("a", encoding="ascii")
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                await asyncio.sleep(1)

    async def _sweep(self) -> None:
        """Remove what is older than it is kept, and uploads whose sender is gone."""
        oldest = time.time() - 3600 * self._limits.keep_hours
        for album in [*self._albums.values()]:
            if album.finished is not None and album.finished < oldest:
                await self.remove(album.id)
        for name, upload in [*self._uploads.items()]:
            if time.monotonic() - upload.begun > self._limits.upload_seconds + _SWEEP:
                await self.drop(name)

    def _check_room(self, announced: int, free: int) -> None:
        unfinished = sum(album.finished is None for album in self._albums.values()) + len(self._uploads)
        if unfinished >= self._limits.unfinished:
            raise _no_room(f"{unfinished} albums are waiting, the most that may; try again")
        used = self._used() + sum(upload.announced for upload in self._uploads.values()) + announced
        if used > self._limits.disk_bytes:
            raise _no_room(f"all albums would be {used:,} bytes; {self._limits.disk_bytes:,} are kept; try again later")
        if free < announced:
            raise _no_room(
                f"the album may be {announced:,} bytes and the service's disk has {free:,} free; try again later"
            )

    def _used(self) -> int:
        return sum(album.bytes for album in self._albums.values())

    def _check_ready(self) -> None:
        if not self._ready:
            raise Refusal(503, "starting", "the albums are being taken up; try again", 2)

    def _album(self, name: str) -> Album:
        self._check_ready()
        if name not in self._albums:
            raise Refusal(404, "no_album", f"there is no album {name[:40]!r}, or it was removed")
        return self._albums[name]

    def _upload(self, name: str) -> _Upload:
        if name not in self._uploads:
            raise Refusal(503, "interrupted", "the album's owner was ended as it was sent; send it again", 2)
        return self._uploads[name]

    def _state(self, album: Album) -> AlbumState:
        counts = Counter(entry.outcome for entry in album.records.values())
        left = None if album.finished is None else album.finished + 3600 * self._limits.keep_hours - time.time()
        return AlbumState(
            id=album.id,
            task=album.verb,
            format=album.format,
            state="done" if album.finished is not None else "working" if album.working or album.records else "queued",
            waiting=album.waiting,
            total=len(album.contents.names),
            done=counts[Outcome.DONE],
            refused=counts[Outcome.REFUSED],
            failed=counts[Outcome.FAILED],
            removed_in_seconds=None if left is None else max(0, int(left)),
            left_out=[*album.contents.left_out],
            photographs=[_photograph(album, number) for number in range(len(album.contents.names))],
        )


def _photograph(album: Album, number: int) -> PhotographState:
    name, entry = album.contents.names[number], album.records.get(number)
    if entry is None:
        going: Literal["working", "queued"] = "working" if number in album.working else "queued"
        return PhotographState(name=name, state=going, reason="", versions=[])
    ends: dict[Outcome, Literal["done", "refused", "failed"]] = {
        Outcome.DONE: "done",
        Outcome.REFUSED: "refused",
        Outcome.FAILED: "failed",
    }
    return PhotographState(name=name, state=ends[entry.outcome], reason=entry.reason, versions=[*entry.versions])


def _report_name(album: Album) -> str:
    """`report.csv`, unless a picture has that name."""
    return next(name for name in ("report.csv", "album-report.csv") if name not in album.outputs)


def _close(file: IO[bytes]) -> None:
    with file:
        file.flush()
        os.fsync(file.fileno())


def _no_room(message: str) -> Refusal:
    return Refusal(503, "no_room", message, _RETRY_AFTER)
