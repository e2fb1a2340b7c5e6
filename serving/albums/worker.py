"""Works on one album of the service after the other, two photographs at a time, so that others get their turn."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from models.task import Task
from serving.albums import archive, files
from serving.albums.photograph import Models, Order, Photograph, work
from serving.albums.record import Record
from serving.albums.shelf import Album, Shelf
from serving.albums.state import AlbumLimits
from serving.job import Job
from serving.refusal import Refusal

logger = logging.getLogger("ray.serve")

_AT_ONCE = 2
_PATIENCE = 3600.0  # seconds that an album waits for models before its photographs fail
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two tries
_MOST_LOSSES = 3  # model replicas that may be lost over one photograph


class Worker:
    """Does albums. `used` says how many bytes all albums have on disk."""

    def __init__(
        self, shelf: Shelf, models: Models, limits: AlbumLimits, zipped: archive.ZipLimits, used: Callable[[], int]
    ) -> None:
        self._shelf = shelf
        self._models = models
        self._limits = limits
        self._zip = zipped
        self._used = used

    async def work(self, album: Album) -> None:
        """Do what is missing of the album: every photograph has its record when this returns."""
        numbers = iter(album.missing)
        # All are made by the versions that made the first, which is alone until there is one.
        while not album.versions and (number := next(numbers, None)) is not None:
            await self._photograph(album, number)
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._all(album, numbers))

    async def _all(self, album: Album, numbers: Iterator[int]) -> None:
        for number in numbers:
            await self._photograph(album, number)

    async def _photograph(self, album: Album, number: int) -> None:
        name = album.contents.names[number]
        photograph = Photograph(
            name,
            album.outputs[number],
            lambda: asyncio.to_thread(archive.unpacked, album.folder / "album.zip", name, self._zip),
            lambda data: self._save(album, number, data),
        )
        order = Order(album.verb, album.format, keep_metadata=False, most_pixels=self._limits.pixels)
        album.working.add(number)
        try:
            entry = await work(photograph, order, _Patient(self._models, album), album.versions)
            await self._keep(album, number, entry)
        finally:
            album.working.discard(number)

    async def _save(self, album: Album, number: int, data: bytes) -> None:
        if self._used() + len(data) > self._limits.disk_bytes:
            most = f"{self._limits.disk_bytes:,} bytes"
            raise Refusal(507, "no_room", f"all albums together may have {most}, and they do; remove one")
        await asyncio.to_thread(files.write, album.picture(number), data, album.folder / "scratch")
        album.bytes += len(data)

    async def _keep(self, album: Album, number: int, entry: Record) -> None:
        try:
            await asyncio.to_thread(self._shelf.keep, album, number, entry)
        except OSError as error:
            # It is known until the service ends; another would do the photograph again.
            logger.warning(f"album {album.id[:8]}: a record cannot be written: {error}")
        album.close(number, entry)


class _Patient:
    """Models that are asked again while they are busy, missing or being replaced: nobody waits at the other end."""

    def __init__(self, models: Models, album: Album) -> None:
        self._models = models
        self._album = album

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        """See `Models`; raises Refusal 503 after an hour in which nothing of the album could be done."""
        losses, pause = 0, _FIRST_PAUSE
        while True:
            try:
                done = await self._models.run(tasks, job, versions)
            except Refusal as refusal:
                losses += refusal.code == "interrupted"
                if refusal.status != 503 or losses >= _MOST_LOSSES or self._waited() > _PATIENCE:
                    raise
                self._album.waiting = refusal.message
            else:
                self._album.waiting, self._album.waiting_since = "", None
                return done
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _waited(self) -> float:
        """Seconds since something of the album was done last, of those that it has been waiting."""
        now = time.monotonic()
        if self._album.waiting_since is None:
            self._album.waiting_since = now
        return now - self._album.waiting_since
