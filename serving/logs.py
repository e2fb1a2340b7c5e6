"""What is written of a request: one line of JSON, with no picture, no query and no key in it.

The lines go where Ray Serve's own go, `logs/serve/replica_*.log` of the Ray session on each node. Serve adds the time,
the request's id, the application and the replica to every line that is written while a request is worked on, in the
gateway and in the models behind it, and turns the file over.
"""

import json
import logging
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import observe_request

logger = logging.getLogger("ray.serve")

# Serve's LoggingConfig of every deployment: JSON, and the request's line is the one of this file.
CONFIG = {"encoding": "JSON", "enable_access_log": False}

KEY = "autochrome.key"  # where a request's scope holds the name of its key

CLIENT_GONE = 499  # nginx's number for a request that nobody waits for any more
_FAILED = 500
_MADE_BY = ("x-detector", "x-restorer", "x-colorizer")
_MOST_BODY = 16 * 1024  # bytes of a refusal; its code is near the start of a short body


class RequestLog:
    """ASGI middleware, outermost: logs and counts every request when it ends, however it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and watch."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(receive, send)
        start = time.perf_counter()
        try:
            await self._app(scope, seen.receive, seen.send)
        except Exception:
            seen.status = _FAILED  # Starlette answers it outside of all middleware
            raise
        finally:
            _write(scope, seen, time.perf_counter() - start)


class _Seen:
    """What passes by of one request."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.bytes_in = 0
        self.bytes_out = 0
        self.status = CLIENT_GONE  # until an answer starts
        self.headers = Headers()
        self._refusal = b""

    async def receive(self) -> Message:
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        await self._send(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = Headers(raw=list(message["headers"]))
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            self.bytes_out += len(body)
            if self.status >= 400 and len(self._refusal) <= _MOST_BODY:
                self._refusal += body

    def code(self) -> str | None:
        """The refusal's code, where the answer is one."""
        try:
            return str(json.loads(self._refusal)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return None


def _write(scope: Scope, seen: _Seen, seconds: float) -> None:
    route = route_of(scope)
    observe_request(route, seen.status)
    line: dict[str, Any] = {
        "method": scope["method"],
        "route": route,
        "status": seen.status,
        "seconds": round(seconds, 4),
        "bytes_in": seen.bytes_in,
        "bytes_out": seen.bytes_out,
        "versions": [seen.headers[name] for name in _MADE_BY if name in seen.headers],
        "key": scope.get(KEY),
        "code": seen.code(),
        "request_id": Headers(scope=scope).get("x-request-id"),
    }
    logger.info(f"{line['method']} {route} {seen.status}", extra=line)


def route_of(scope: Scope) -> str:
    """The template of the route that answered, such as /v1/albums/{id}; "none" where no route did."""
    return str(getattr(scope.get("route"), "path", "none"))
