"""The HTTP face: every route of the service. Knows no Ray; the models are behind a protocol."""

import asyncio
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from models.task import Task
from serving import manual, page
from serving.albums import routes
from serving.albums.state import AlbumLimits, Albums
from serving.deadline import Deadline
from serving.errors import GUARDED, answer_in_json
from serving.job import Models
from serving.limits import Limits
from serving.pictures import Pictures
from serving.routing import Routing, Trial
from serving.state import ModelState

TASKS = (Task.DETECT, Task.RESTORE, Task.COLORIZE)
_NEEDED = (Task.RESTORE, Task.COLORIZE)  # the detector is for who asks for it
_PROBE_SECONDS = 5.0  # that /readyz waits for replicas that are busy


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


class Readiness(BaseModel):
    """Whether photographs can be answered, and what is missing where they cannot."""

    status: str
    missing: dict[str, str]


def api(models: Models, limits: Limits, trial: Trial, albums: Albums, album_limits: AlbumLimits) -> FastAPI:
    """The application: every route of the service, open to whoever reaches it (`serving.edge` stands before it)."""
    # FastAPI's own pages load their scripts from a CDN; /docs is made here instead.
    app = FastAPI(title="Autochrome", version="1", docs_url=None, redoc_url=None, responses=GUARDED)
    answer_in_json(app)
    app.include_router(Pictures(models, limits, Routing(models, trial)).router())
    app.include_router(routes.router(albums, album_limits))
    page.mount(app)
    _add_states(app, models, limits)
    _add_manual(app)
    return app


def _add_states(app: FastAPI, models: Models, limits: Limits) -> None:
    probe = Probe(models)

    @app.get("/v1/models", summary="Which versions are served, and why not newer ones")
    async def models_served() -> ModelsBody:
        async with Deadline(limits.seconds):
            states = await models.states(TASKS)
        return ModelsBody(
            models=[ModelReplicas(model=task.model, replicas=replicas) for task, replicas in states.items()]
        )

    @app.get("/healthz", summary="Whether the gateway answers")
    async def healthz() -> Health:
        return Health(status="ok")

    @app.get(
        "/readyz",
        summary="Whether every model that is needed is loaded",
        responses={503: {"model": Readiness, "description": "Not yet, or no more; `missing` says what"}},
    )
    async def readyz(response: Response) -> Readiness:
        missing = await probe.missing()
        response.status_code = 503 if missing else 200
        return Readiness(status="missing" if missing else "ready", missing=missing)


class Probe:
    """What the needed models lack. Replicas that are too busy to say are taken as they last were."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._heard: Mapping[Task, Sequence[ModelState]] = {}

    async def missing(self) -> dict[str, str]:
        """Model -> why it cannot answer; empty where all can."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                self._heard = await self._models.states(_NEEDED)
        except TimeoutError:
            pass
        return {task.model: lack for task in _NEEDED if (lack := _lack(self._heard.get(task, ())))}


def _lack(replicas: Sequence[ModelState]) -> str | None:
    if not replicas:
        return "no replica runs"
    return next((replica.error or "not loaded" for replica in replicas if replica.version is None), None)


def _add_manual(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(manual.page(app.openapi()), headers={"Content-Security-Policy": manual.POLICY})
