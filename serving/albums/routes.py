"""The routes of albums: a zip in, how far it is, a zip out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile

from serving import upload
from serving.albums.photograph import Verb
from serving.albums.state import AlbumLimits, Albums, AlbumState
from serving.deadline import Deadline
from serving.errors import ErrorBody
from serving.photo import Format
from serving.refusal import Refusal

_CHUNK = 1 << 20  # bytes; a message between replicas has 4 MB at most

_AlbumId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="As the answer to the album's upload has it")]


def _refusals(**described: str) -> dict[int | str, dict[str, Any]]:
    return {int(status[1:]): {"model": ErrorBody, "description": words} for status, words in described.items()}


_NOT_THERE = _refusals(_404="No such album, or it was removed", _422="No album's id", _503="The albums' owner starts")
_NOT_TAKEN = _refusals(
    _400="The form is broken or cut short",
    _413="Too many bytes, packed or unpacked, or too many photographs",
    _415="No multipart form, or no zip in it",
    _422="No album, or a zip with a password, twice the same name or names outside of it",
    _503="Too many albums are waiting, or the disk is full; Retry-After says when to come back",
    _504="Not sent within the deadline",
)
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["album"],
                    "additionalProperties": False,
                    "properties": {
                        "album": {"type": "string", "format": "binary", "description": "A zip of photographs"}
                    },
                },
                "encoding": {"album": {"contentType": "application/zip"}},
            }
        },
    }
}
_TAKEN: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "It is checked and will be worked on",
        "headers": {"Location": {"description": "Where its progress is", "schema": {"type": "string"}}},
    }
}
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The pictures under their photographs' names, and report.csv",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def router(albums: Albums, limits: AlbumLimits) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1/albums")

    @routes.post("", status_code=202, summary="Send an album", responses=_TAKEN | _NOT_TAKEN, openapi_extra=_FORM)
    async def send(
        request: Request,
        response: Response,
        task: Annotated[Verb, Query(description="revive is restore, then colorize")] = Verb.REVIVE,
        format: Annotated[Format | None, Query(description="Of the pictures; else each photograph's own")] = None,  # noqa: A002
    ) -> AlbumState:
        async with Deadline(limits.upload_seconds):
            state = await _taken(request, albums, limits, task, format)
        response.headers["Location"] = f"/v1/albums/{state.id}"
        return state

    @routes.get("/{album}", summary="How far an album is", responses=_NOT_THERE)
    async def progress(album: _AlbumId) -> AlbumState:
        return await albums.state(album)

    @routes.get(
        "/{album}/photos.zip",
        summary="The pictures of an album",
        response_class=Response,
        responses=_ZIP | _NOT_THERE | _refusals(_409="Not all photographs are done, and partial is not asked for"),
    )
    async def photos(
        album: _AlbumId, partial: Annotated[bool, Query(description="What is done so far will do")] = False
    ) -> Response:
        pieces = albums.photos(album, partial)
        # Its first piece shows whether there is an album: after it the answer cannot be a refusal any more.
        first = await anext(pieces)
        headers = {"Content-Disposition": 'attachment; filename="photos.zip"'}
        return StreamingResponse(_from(first, pieces), media_type="application/zip", headers=headers)

    @routes.delete("/{album}", status_code=204, summary="Stop an album and remove it", responses=_NOT_THERE)
    async def remove(album: _AlbumId) -> None:
        await albums.remove(album)

    return routes


async def _taken(request: Request, albums: Albums, limits: AlbumLimits, verb: Verb, form: Format | None) -> AlbumState:
    announced = request.headers.get("content-length", "")
    most = min(int(announced), limits.zip_bytes) if announced.isdecimal() else limits.zip_bytes
    album = await albums.begin(verb, form, most)  # before its bytes are read: where there is no room, nothing is sent
    try:
        async with _received(request, limits.zip_bytes) as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                await albums.add(album, chunk)
        return await albums.finish(album)
    except BaseException:
        await asyncio.shield(albums.drop(album))
        raise


@asynccontextmanager
async def _received(request: Request, most_bytes: int) -> AsyncGenerator[BinaryIO, None]:
    """The form's file `album` until the block ends; raises Refusal as `upload.form_of`, and 422 for other fields."""
    async with upload.form_of(request, most_bytes, files=1, fields=1) as form:
        unknown = sorted(set(form) - {"album"})
        if unknown:
            raise Refusal(422, "unknown_field", f"the form has {unknown[0][:80]!r}; it may have album alone")
        album = form.get("album")
        if not isinstance(album, UploadFile):
            raise Refusal(422, "no_album", "the form has no file named album; it must have one, a zip of photographs")
        yield album.file


async def _from(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(pieces):  # type: ignore[type-var]  # a generator, wherever it comes from
        yield first
        async for piece in pieces:
            yield piece
