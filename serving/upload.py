"""The request's body: a multipart form, read no further than the limit."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from serving.refusal import Refusal

_OVERHEAD = 16 * 1024  # bytes of boundaries and part headers that are nobody's photograph


@dataclass(frozen=True)
class Upload:
    """The files of the form as they came."""

    photo: bytes
    mask: bytes | None


async def read(request: Request, most_bytes: int) -> Upload:
    """The form's `photo` and `mask`; raises Refusal 400, 413, 415 or 422.

    Bytes are counted as they arrive, whatever Content-Length says or does not say.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refusal(415, "not_a_form", f"Content-Type is {content_type or 'missing'}; it must be multipart/form-data")
    try:
        form = await MultiPartParser(request.headers, _limited(request, most_bytes), max_files=2, max_fields=2).parse()
    except MultiPartException as error:
        raise Refusal(400, "broken_form", f"the form cannot be read: {error.message}") from error
    try:
        photo = await _file(form, "photo")
        if photo is None:
            raise Refusal(422, "no_photo", "the form has no file named photo; it must have one")
        return Upload(photo, await _file(form, "mask"))
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


async def _file(form: FormData, name: str) -> bytes | None:
    found = form.getlist(name)
    if len(found) > 1:
        raise Refusal(422, "several_files", f"the form has {len(found)} files named {name}; it must have one")
    if not found:
        return None
    upload = found[0]
    if not isinstance(upload, UploadFile):
        raise Refusal(422, "no_file", f"{name} is text; it must be a file")
    return await upload.read()


def _too_many(most_bytes: int) -> Refusal:
    return Refusal(413, "too_many_bytes", f"the upload is larger than {most_bytes:,} bytes, the most that is taken")
