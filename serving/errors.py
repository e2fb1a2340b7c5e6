"""Every answer that is no success, as JSON: `{"error": {"code": ..., "message": ...}}`."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from serving.metrics import observe_refusal
from serving.refusal import Refusal


class Error(BaseModel):
    """What was wrong."""

    code: str
    message: str


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: Error


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The form or a picture in it is empty, broken or cut short"},
    404: {"model": ErrorBody, "description": "X-Model names a version or an alias that is not registered"},
    406: {"model": ErrorBody, "description": "Accept allows no format that is made here"},
    413: {"model": ErrorBody, "description": "Too many bytes, too many pixels, or more than fits the models' memory"},
    415: {"model": ErrorBody, "description": "No multipart form, or no picture that is read here"},
    422: {"model": ErrorBody, "description": "No photo, a mask of another size, wrong hints, or a wrong X-Model"},
    500: {"model": ErrorBody, "description": "The model failed on this photograph"},
    503: {"model": ErrorBody, "description": "No model yet, or overloaded; Retry-After says when to come back"},
    504: {"model": ErrorBody, "description": "Not done within the deadline"},
}


GUARDED: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "X-Request-Id is not 1 to 128 visible ASCII characters"},
    401: {"model": ErrorBody, "description": "No valid key, where the service asks for one"},
    403: {"model": ErrorBody, "description": "Asked by another site's page, where no key is asked for"},
    429: {"model": ErrorBody, "description": "The key asked for too much work; Retry-After says when to come back"},
}


def answer_in_json(app: FastAPI) -> None:
    """Gives `app` the handlers that make every error such a body."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        return body(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return body(Refusal(422, "invalid", f"{first['loc'][-1]} is {first['input']!r}; {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        answer = body(Refusal(error.status_code, "http", f"{request.method} {request.url.path}: {error.detail}"))
        answer.headers.update(error.headers or {})  # Allow, of 405
        return answer

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return body(Refusal(500, "failed", f"the photograph could not be worked on: {type(error).__name__}"))


def body(refusal: Refusal) -> JSONResponse:
    """The refusal as an answer; it is counted."""
    observe_refusal(refusal.code, refusal.status)
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    error = {"code": refusal.code, "message": refusal.message}
    return JSONResponse({"error": error}, status_code=refusal.status, headers=headers)
