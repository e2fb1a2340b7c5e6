"""The owner of the albums as Ray Serve runs it, in one replica, and how the gateway reaches it. Imports no torch."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray.serve.handle import DeploymentHandle

from models.task import Task
from serving.albums.keeper import Keeper
from serving.albums.photograph import Verb
from serving.albums.state import AlbumLimits, AlbumState
from serving.handles import Handles, losses_refused
from serving.photo import Format
from serving.refusal import Refusal

_PATIENCE = 30.0  # seconds


class AlbumsDeployment(Keeper):
    """A Keeper whose photographs go through the same models as everyone's."""

    def __init__(
        self,
        restorer: DeploymentHandle[Any],
        colorizer: DeploymentHandle[Any],
        folder: Path,
        limits: AlbumLimits,
        large_pixels: int,
    ) -> None:
        super().__init__(folder, limits, Handles({Task.RESTORE: restorer, Task.COLORIZE: colorizer}, large_pixels))
        self._running = asyncio.get_running_loop().create_task(self.run())

    async def check_health(self) -> None:
        """Raises what ended the work on albums, which must never end: Serve then starts another replica."""
        if self._running.done():
            self._running.result()


class RemoteAlbums:
    """`serving.albums.state.Albums` in another process."""

    def __init__(self, albums: DeploymentHandle[Any]) -> None:
        self._albums = albums

    async def begin(self, verb: Verb, form: Format | None, announced: int) -> str:
        """See `Albums`."""
        return str(await self._soon("begin", verb, form, announced))

    async def add(self, album: str, chunk: bytes) -> None:
        """See `Albums`."""
        await self._call("add", album, chunk)

    async def finish(self, album: str) -> AlbumState:
        """See `Albums`."""
        state: AlbumState = await self._call("finish", album)
        return state

    async def drop(self, album: str) -> None:
        """See `Albums`. An owner that is away has lost what was sent, and removes it when it starts."""
        with suppress(Refusal):
            await self._soon("drop", album)

    async def state(self, album: str) -> AlbumState:
        """See `Albums`."""
        state: AlbumState = await self._soon("state", album)
        return state

    async def photos(self, album: str, partial: bool) -> AsyncIterator[bytes]:
        """See `Albums`."""
        with losses_refused():
            pieces: Any = self._albums.options(stream=True).photos.remote(album, partial)
            try:
                with _away_refused():
                    async with asyncio.timeout(_PATIENCE):
                        first = await anext(pieces)
                yield first
                async for piece in pieces:
                    yield piece
            finally:
                pieces.cancel()

    async def remove(self, album: str) -> None:
        """See `Albums`."""
        await self._soon("remove", album)

    async def _soon(self, method: str, *arguments: Any) -> Any:
        """What takes no time."""
        with _away_refused():
            async with asyncio.timeout(_PATIENCE):
                return await self._call(method, *arguments)

    async def _call(self, method: str, *arguments: Any) -> Any:
        with losses_refused():
            return await getattr(self._albums, method).remote(*arguments)


@contextmanager
def _away_refused() -> Iterator[None]:
    """Serve would wait for ever where the owner is away and cannot be started."""
    try:
        yield
    except TimeoutError as error:
        raise Refusal(503, "interrupted", "the albums' owner does not answer now; try again", 5) from error
