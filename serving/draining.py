"""The end of a service: who is being answered gets the answer, and who comes is told to come back. Knows no Ray."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import body
from serving.refusal import Refusal

_RETRY_AFTER = 10  # seconds; this address may have another service, and its own is back in a minute


class Traffic:
    """The requests that are inside, and whether more may come in."""

    def __init__(self) -> None:
        self.closed = False
        self.inside = 0
        self._left = asyncio.Event()

    def leave(self) -> None:
        """One request has its answer."""
        self.inside -= 1
        self._left.set()

    async def end(self, seconds: float) -> int:
        """Nobody comes in any more; when the last one has left, or after `seconds`, how many are inside still."""
        self.closed = True
        try:
            async with asyncio.timeout(seconds):
                while self.inside:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            pass
        return self.inside


class Door:
    """ASGI middleware: counts who is inside, and answers 503 `stopping` where `traffic` is closed."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._traffic.closed:
            stopping = Refusal(503, "stopping", "the service is ending; try again when it is back", _RETRY_AFTER)
            await body(stopping)(scope, receive, send)
            return
        self._traffic.inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._traffic.leave()
