"""The HTTP face: routes, limits, formats and error bodies. Knows no Ray; the models are behind a protocol."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar

import numpy as np
from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from models.task import Task
from serving import manual, photo, upload
from serving.accept import chosen
from serving.refusal import Refusal
from serving.state import ModelState

T = TypeVar("T")


class Models(Protocol):
    """What answers behind the gateway."""

    async def run(
        self, tasks: Sequence[Task], pixels: NDArray[np.uint8], mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.uint8], dict[Task, str]]:
        """The picture after the tasks in order, and the version that did each; raises Refusal."""

    async def states(self) -> dict[Task, list[ModelState]]:
        """What every replica of each task's model serves."""


@dataclass(frozen=True)
class Limits:
    """What a request may cost."""

    upload_bytes: int
    pixels: int
    seconds: float


class Error(BaseModel):
    """What was wrong."""

    code: str
    message: str


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: Error


class ModelReplicas(BaseModel):
    """A registered model and what each replica serves of it."""

    model: str
    replicas: list[ModelState]


class ModelsBody(BaseModel):
    """The registered models behind this service."""

    models: list[ModelReplicas]


class Health(BaseModel):
    """The service answers."""

    status: str


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The form or a picture in it is empty, broken or cut short"},
    406: {"model": ErrorBody, "description": "Accept asks for neither PNG nor JPEG"},
    413: {"model": ErrorBody, "description": "Too many bytes, or too many pixels (seen before decoding)"},
    415: {"model": ErrorBody, "description": "No multipart form, or not a JPEG, PNG, WebP or TIFF picture"},
    422: {"model": ErrorBody, "description": "No photo, a mask of another size, or an unknown format"},
    500: {"model": ErrorBody, "description": "The model failed on this photograph"},
    503: {"model": ErrorBody, "description": "No model yet, or overloaded; Retry-After says when to come back"},
    504: {"model": ErrorBody, "description": "Not done within the deadline"},
}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture, at the photograph's own size",
        "content": {form.media_type: {"schema": {"type": "string", "format": "binary"}} for form in photo.Format},
        "headers": {
            f"X-{task.model.title()}": {"description": f"The {task.model}'s version", "schema": {"type": "string"}}
            for task in (Task.RESTORE, Task.COLORIZE)
        },
    }
}
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {
                        "photo": {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP or TIFF"},
                        "mask": {
                            "type": "string",
                            "format": "binary",
                            "description": "A picture of the photograph's size, white where it is destroyed",
                        },
                    },
                }
            }
        },
    }
}
_ROUTES = {
    "revive": ((Task.RESTORE, Task.COLORIZE), "Repair the photograph, then colour it"),
    "restore": ((Task.RESTORE,), "Repair the photograph"),
    "colorize": ((Task.COLORIZE,), "Colour the photograph"),
}


def api(models: Models, limits: Limits) -> FastAPI:
    """The application: every route of the service."""
    # FastAPI's own pages load their scripts from a CDN; /docs is made here instead.
    app = FastAPI(title="Autochrome", version="1", docs_url=None, redoc_url=None)
    # Decoding and encoding release the GIL: one thread a core, so that many uploads do not fill the memory at once.
    pool = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="photo")
    _answer_errors_in_json(app)
    for verb, (tasks, summary) in _ROUTES.items():
        app.add_api_route(
            f"/v1/{verb}",
            _picture_route(models, limits, pool, tasks),
            methods=["POST"],
            name=verb,
            summary=summary,
            response_class=Response,
            responses=_PICTURE | _REFUSALS,
            openapi_extra=_FORM,
        )
    _add_pages(app, models, limits)
    return app


def _picture_route(
    models: Models, limits: Limits, pool: ThreadPoolExecutor, tasks: Sequence[Task]
) -> Callable[..., Awaitable[Response]]:
    async def answer(
        request: Request,
        format: Annotated[photo.Format | None, Query(description="Wins over Accept")] = None,  # noqa: A002
        accept: Annotated[str, Header(description="image/png or image/jpeg")] = "*/*",
    ) -> Response:
        form = format or chosen(accept)
        async with _Deadline(limits.seconds):
            sent = await upload.read(request, limits.upload_bytes)
            given, mask = await _in(pool, lambda: _decoded(sent, limits.pixels))
            pixels, made_by = await models.run(tasks, given.pixels, mask)
            picture = photo.Photo(pixels, given.alpha)
            body = await _in(pool, lambda: photo.encode(picture, form, list(made_by.values())))
        headers = {f"X-{task.model.title()}": version for task, version in made_by.items()}
        return Response(body, media_type=form.media_type, headers=headers)

    return answer


def _decoded(sent: upload.Upload, most_pixels: int) -> tuple[photo.Photo, NDArray[np.bool_] | None]:
    given = photo.decode(sent.photo, most_pixels)
    return given, None if sent.mask is None else photo.decode_mask(sent.mask, given, most_pixels)


async def _in(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, work)


class _Deadline:
    """`asyncio.timeout` that ends in a Refusal; the work inside is cancelled."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *exception: Any) -> None:
        try:
            await self._timeout.__aexit__(*exception)
        except TimeoutError as error:
            raise Refusal(504, "deadline", f"not done within {self._seconds:g} s, the longest allowed") from error


def _add_pages(app: FastAPI, models: Models, limits: Limits) -> None:
    @app.get("/v1/models", summary="Which versions are served, and why not newer ones")
    async def models_served() -> ModelsBody:
        async with _Deadline(limits.seconds):
            states = await models.states()
        return ModelsBody(
            models=[ModelReplicas(model=task.model, replicas=replicas) for task, replicas in states.items()]
        )

    @app.get("/healthz", summary="Whether the gateway answers")
    async def healthz() -> Health:
        return Health(status="ok")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(manual.page(app.openapi()), headers={"Content-Security-Policy": manual.POLICY})


def _answer_errors_in_json(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        return _body(error.status, error.code, error.message, error.retry_after)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _body(422, "invalid", f"{first['loc'][-1]} is {first['input']!r}; {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return _body(error.status_code, "http", f"{request.method} {request.url.path}: {error.detail}")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return _body(500, "failed", f"the photograph could not be worked on: {type(error).__name__}")


def _body(status: int, code: str, message: str, retry_after: int | None = None) -> JSONResponse:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)
