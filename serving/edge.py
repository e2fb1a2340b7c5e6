"""What stands before every route: who may ask, how often, from which page, and what is written down of it.

The middlewares are plain ASGI: Starlette's BaseHTTPMiddleware would hide from a route that its client has gone.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import ray
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from ray.serve.context import _get_global_client
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import metrics
from serving.errors import body
from serving.keys import Keys
from serving.logs import KEY, RequestLog
from serving.rates import Rates
from serving.refusal import Refusal

Check = Callable[[Scope, Headers], None]  # raises Refusal

FRONT = "AUTOCHROME_FRONT_HOST"  # environment variable of `python -m serving`: where its front answers for Serve

_OPEN = frozenset({"/", "/docs", "/openapi.json", "/healthz", "/readyz"})  # no secret in them, and no work
_OPEN_FOLDER = "/web/"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that make no work and change nothing
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Exposed(Exception):  # noqa: N818 - it says what the service would be
    """The service would answer strangers, and there are no keys."""


@dataclass(frozen=True)
class Settings:
    """Who may use the service."""

    keys: Path | None = None  # absolute, on every node with a gateway; None: everyone on this machine
    origins: tuple[str, ...] = ()  # of other sites' pages, such as https://archive.example
    hosts: tuple[str, ...] = ()  # names besides this machine's own that a request may have where there are no keys


def guard(app: FastAPI, settings: Settings) -> None:
    """Put everything before `app`'s routes, and /metrics among them.

    Raises Exposed, or KeysError for a file of keys that cannot be used.
    """
    refuse_exposure(settings.keys)
    who = this_machine(settings.hosts, settings.origins) if settings.keys is None else key_holders(Keys(settings.keys))
    # The last one added is the first that a request meets.
    app.add_middleware(Gate, checks=(sane_request_id, who))
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("Authorization", "X-Api-Key", "X-Model", "X-Request-Id"),
            expose_headers=("X-Detector", "X-Restorer", "X-Colorizer", "X-Request-Id", "Retry-After", "Location"),
        )
    app.add_middleware(SafeHeaders)
    app.add_middleware(RequestLog)
    app.add_api_route(
        "/metrics",
        _metrics,
        summary="What Prometheus reads: this service's and Ray Serve's figures of all nodes",
        response_class=PlainTextResponse,
    )


def refuse_exposure(keys: Path | None, host: str | None = None) -> None:
    """Raises Exposed where the service answers more than this machine without keys: at `host`, or where it runs now.

    Says nothing where Serve does not run yet: each gateway asks again when it starts.
    """
    hosts = [host] if host else [os.environ.get(FRONT), bound_host()]
    exposed = next((host for host in hosts if host and not _is_loopback(host)), None)
    if keys is None and exposed:
        raise Exposed(
            f"the HTTP host is {exposed} and the application has no keys: whoever reaches this machine could use it. "
            "Set http_options.host to 127.0.0.1, or make a key with `python -m serving.keys add NAME --file keys.json` "
            "and give the application the argument keys: keys.json"
        )


def bound_host() -> str | None:
    """The address that Serve's HTTP servers bind; None where there is no Serve."""
    if not ray.is_initialized():
        return None
    # Ray has no public way to ask.
    client = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else str(client.http_config.host)


async def _metrics() -> PlainTextResponse:
    return PlainTextResponse(await metrics.page(), media_type=metrics.MEDIA_TYPE)


class Gate:
    """ASGI middleware: a request passes every check, or is answered with the first one's Refusal."""

    def __init__(self, app: ASGIApp, checks: Sequence[Check]) -> None:
        self._app = app
        self._checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse before anything of the body is read."""
        app = self._app if scope["type"] != "http" else self._passed(scope)
        await app(scope, receive, send)

    def _passed(self, scope: Scope) -> ASGIApp:
        headers = Headers(scope=scope)
        try:
            for check in self._checks:
                check(scope, headers)
        except Refusal as refusal:
            answer = body(refusal)
            if refusal.status == 401:
                answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        return self._app


class SafeHeaders:
    """ASGI middleware: headers that keep browsers careful, on every answer that does not say otherwise itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and add the headers to the answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def sane_request_id(scope: Scope, headers: Headers) -> None:
    """Raises Refusal 400 for an X-Request-Id that logs should not hold. Serve makes one where there is none."""
    given = headers.get("x-request-id")
    if given is not None and not _REQUEST_ID.fullmatch(given):
        raise Refusal(400, "request_id", "X-Request-Id must be 1 to 128 visible ASCII characters")


def this_machine(hosts: Sequence[str], origins: Sequence[str]) -> Check:
    """Raises Refusal for what another site's page makes a browser on this machine ask, where no key would stop it.

    403 `host` where the Host header names another machine (DNS rebinding: the page's own name suddenly leads here);
    403 `origin` where a page that is neither this service's nor of `origins` sends a form, for which no preflight asks.
    """
    names = {host.lower() for host in hosts}

    def check(scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        name = _hostname(host)
        if name not in names and not _is_loopback(name):
            raise Refusal(403, "host", f"Host is {host!r}; it must be this machine's, or one of the argument hosts")
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != host and origin not in origins
        if foreign and scope["method"] not in _READING:
            raise Refusal(
                403, "origin", f"Origin is {origin!r}; it must be this service's, or one of the argument origins"
            )

    return check


def key_holders(keys: Keys) -> Check:
    """Raises Refusal 401 without a key of the file, 429 for a key that asks for too much work a minute.

    The rate is each gateway replica's own.
    """
    rates = Rates()

    def check(scope: Scope, headers: Headers) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        if path in _OPEN or path.startswith(_OPEN_FOLDER):
            return
        key = keys.find(_presented(headers))
        if key is None:
            raise Refusal(401, "key", "no valid key; send one as `Authorization: Bearer KEY` or `X-Api-Key: KEY`")
        scope[KEY] = key.name
        wait = 0 if scope["method"] in _READING else rates.take(key.name, key.rate)
        if wait:
            raise Refusal(429, "rate", f"{key.name} may make {key.rate} requests a minute; try again", wait)

    return check


def _presented(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _hostname(host: str) -> str:
    """Of a Host header, in lower case, without port and brackets; "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
