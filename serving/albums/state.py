"""What the service says of an album, and what it takes of albums."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, Field

from serving.albums.photograph import Verb
from serving.photo import Format


class PhotographState(BaseModel):
    """One photograph of an album."""

    name: str = Field(description="Its name in the zip that was sent")
    state: Literal["queued", "working", "done", "refused", "failed"]
    reason: str = Field(
        description="Why it was refused (the file's fault) or failed (the service's); of a done one what there is "
        "to know, such as page 1 of 3; else empty"
    )
    versions: list[str] = Field(description="What made its picture, such as restorer/3")


class AlbumState(BaseModel):
    """An album and how far it is."""

    id: str
    task: Verb
    format: Format | None = Field(description="Of the pictures; null: each photograph's own")
    state: Literal["queued", "working", "done"]
    waiting: str = Field(description="What the album waits for, where it waits: such as a model that is not loaded")
    total: int = Field(description="Photographs")
    done: int
    refused: int
    failed: int
    removed_in_seconds: int | None = Field(description="When a done album is removed from the service")
    left_out: list[str] = Field(description="Hidden files and the like, which were not looked at")
    photographs: list[PhotographState]


@dataclass(frozen=True)
class AlbumLimits:
    """What albums may cost."""

    photographs: int  # in one album
    zip_bytes: int
    unpacked_bytes: int  # of one album's files
    photo_bytes: int  # of one file, unpacked
    pixels: int  # of one photograph
    unfinished: int  # albums that are sent, waiting or worked on
    disk_bytes: int  # of all albums that are kept
    keep_hours: float  # after the last photograph
    upload_seconds: float


class Albums(Protocol):
    """The one owner of the albums, as the routes see it. Every method raises Refusal, 404 for an id without album."""

    async def begin(self, verb: Verb, form: Format | None, announced: int) -> str:
        """The id of a new album whose zip has `announced` bytes at most; raises Refusal 503 where there is no room."""

    async def add(self, album: str, chunk: bytes) -> None:
        """The next bytes of its zip."""

    async def finish(self, album: str) -> AlbumState:
        """The zip is whole: it is checked, and from now on worked on; raises Refusal 413, 415 or 422."""

    async def drop(self, album: str) -> None:
        """The rest of its zip will not come. Nothing happens where the album is finished, or was dropped."""

    async def state(self, album: str) -> AlbumState:
        """How far it is."""

    def photos(self, album: str, partial: bool) -> AsyncIterator[bytes]:
        """A zip of the pictures and report.csv; raises Refusal 409 while it is not done, unless `partial`."""

    async def remove(self, album: str) -> None:
        """Stop it and remove everything of it."""
