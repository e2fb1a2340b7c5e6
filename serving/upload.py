"""The request's body: a multipart form, read no further than the limit. Large files wait on disk, not in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from serving.refusal import Refusal

_OVERHEAD = 16 * 1024  # bytes of boundaries and part headers that are nobody's photograph
_RETRY_AFTER = 60  # seconds, where the disk is full
_TEXT = 64 * 1024  # bytes of a text field: 256 hints of 17 digits a number fit


@dataclass(frozen=True)
class Upload:
    """What the form holds, as it came."""

    photo: BinaryIO
    mask: BinaryIO | None
    hints: str | None


@asynccontextmanager
async def received(request: Request, most_bytes: int) -> AsyncGenerator[Upload, None]:
    """The form's files `photo` and `mask` and its text `hints`, until the block ends.

    Raises Refusal as `form_of`, and 422 for a form of other fields.
    """
    async with form_of(request, most_bytes, files=2, fields=3) as form:
        _check_known(form)
        photo = _file(form, "photo")
        if photo is None:
            raise Refusal(422, "no_photo", "the form has no file named photo; it must have one")
        yield Upload(photo, _file(form, "mask"), _text(form, "hints"))


@asynccontextmanager
async def form_of(request: Request, most_bytes: int, files: int, fields: int) -> AsyncGenerator[FormData, None]:
    """The form until the block ends; its files wait on disk.

    Raises Refusal 400, 413, 415, or 503 where the disk is full. Bytes are counted as they arrive, whatever
    Content-Length says or does not say.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refusal(415, "not_a_form", f"Content-Type is {content_type or 'missing'}; it must be multipart/form-data")
    stream = _limited(request, most_bytes)
    parser = MultiPartParser(request.headers, stream, max_files=files, max_fields=fields, max_part_size=_TEXT)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, "broken_form", f"the form cannot be read: {error.message}") from error
    except OSError as error:
        raise Refusal(503, "no_room", f"the upload cannot be kept: {error.strerror}", _RETRY_AFTER) from error
    try:
        yield form
    finally:
        await form.close()


async def _limited(request: Request, most_bytes: int) -> AsyncGenerator[bytes, None]:
    limit = most_bytes + _OVERHEAD
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_many(most_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _too_many(most_bytes)
        yield chunk


def _check_known(form: FormData) -> None:
    unknown = sorted(set(form) - {"photo", "mask", "hints"})
    if unknown:
        raise Refusal(422, "unknown_field", f"the form has {unknown[0][:80]!r}; it may have photo, mask and hints")


def _file(form: FormData, name: str) -> BinaryIO | None:
    found = _single(form, name)
    if isinstance(found, str):
        raise Refusal(422, "no_file", f"{name} is text; it must be a file")
    return found.file if found else None


def _text(form: FormData, name: str) -> str | None:
    found = _single(form, name)
    if isinstance(found, UploadFile):
        raise Refusal(422, "no_text", f"{name} is a file; it must be text")
    return found


def _single(form: FormData, name: str) -> UploadFile | str | None:
    found = form.getlist(name)
    if len(found) > 1:
        raise Refusal(422, "several_files", f"the form has {len(found)} fields named {name}; it must have one")
    return found[0] if found else None


def _too_many(most_bytes: int) -> Refusal:
    return Refusal(413, "too_many_bytes", f"the upload is larger than {most_bytes:,} bytes, the most that is taken")
