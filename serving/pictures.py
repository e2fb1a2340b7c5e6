"""The routes that answer with a picture: revive, restore, colorize and mask."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from fastapi import APIRouter, Header, Query, Request, Response
from starlette.background import BackgroundTask

from models.task import Task
from serving import masks, photo, points, upload
from serving.accept import chosen
from serving.deadline import Deadline
from serving.errors import REFUSALS
from serving.form import COLOR_FORM, MASK_FORM, PICTURE, PNG
from serving.job import Job, Models
from serving.limits import Limits
from serving.metrics import observe_answer, observe_stage
from serving.refusal import Refusal
from serving.routing import PATTERN, Routing
from serving.shadow import Answered, Shadow

T = TypeVar("T")

_ROUTES = {
    "revive": ((Task.RESTORE, Task.COLORIZE), "Repair the photograph, then colour it"),
    "restore": ((Task.RESTORE,), "Repair the photograph"),
    "colorize": ((Task.COLORIZE,), "Colour the photograph"),
}
_WISH = rf"[ \t]*({PATTERN})[ \t]*"
_ModelHeader = Annotated[
    list[str],
    Header(
        description="An alias such as challenger, or exact versions such as colorizer/3, comma separated",
        json_schema_extra={"items": {"type": "string", "pattern": f"^{_WISH}(,{_WISH})*$"}},
    ),
]


@dataclass(frozen=True)
class Wish:
    """What a client wants done."""

    tasks: Sequence[Task]  # in order
    format: photo.Format
    keep_metadata: bool
    models: Sequence[str]  # X-Model's values


@dataclass(frozen=True)
class _Opened:
    """A form whose picture is decoded."""

    photo: photo.Photo
    job: Job


class Pictures:
    """Photographs in, pictures out."""

    def __init__(self, models: Models, limits: Limits, routing: Routing) -> None:
        self._models = models
        self._limits = limits
        self._routing = routing
        self._shadow = Shadow(models, routing, limits.large_pixels)
        # Decoding and encoding release the GIL: one thread a core, so that many uploads do not fill the memory at once.
        self._pool = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="photo")

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        for verb, (tasks, summary) in _ROUTES.items():
            router.add_api_route(
                f"/v1/{verb}",
                self._route(tasks),
                methods=["POST"],
                name=verb,
                summary=summary,
                response_class=Response,
                responses=PICTURE | REFUSALS,
                openapi_extra=COLOR_FORM if Task.COLORIZE in tasks else MASK_FORM,
            )
        router.add_api_route(
            "/v1/mask",
            self._mask,
            methods=["POST"],
            name="mask",
            summary="Find what is destroyed, as a mask: white where it is",
            response_class=Response,
            responses=PNG | REFUSALS,
            openapi_extra=MASK_FORM,
        )
        return router

    def _route(self, tasks: Sequence[Task]) -> Callable[..., Any]:
        async def answer(
            request: Request,
            format: Annotated[photo.Format | None, Query(description="Wins over Accept")] = None,  # noqa: A002
            accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
            find_damage: Annotated[bool, Query(description="The detector finds the mask, beside a given one")] = False,
            metadata: Annotated[Literal["keep"] | None, Query(description="keep: GPS and maker notes too")] = None,
            x_model: _ModelHeader = [],  # noqa: B006 - FastAPI copies it
        ) -> Response:
            if find_damage and Task.RESTORE not in tasks:
                raise Refusal(422, "find_damage", "find_damage is true; only a request that restores has use for it")
            detecting = (Task.DETECT,) if find_damage else ()
            wish = Wish((*detecting, *tasks), format or chosen(accept), metadata == "keep", x_model)
            return await self._answered(request, wish)

        return answer

    async def _mask(self, request: Request, x_model: _ModelHeader = []) -> Response:  # noqa: B006
        return await self._answered(request, Wish((Task.DETECT,), photo.Format.PNG, False, x_model))

    async def _answered(self, request: Request, wish: Wish) -> Response:
        begun = time.perf_counter()
        async with Deadline(self._limits.seconds) as deadline:
            versions = await self._routing.asked(wish.models, wish.tasks)
            async with upload.received(request, self._limits.upload_bytes) as sent:
                opened = await self._timed("decode", lambda: self._opened(sent, wish))
            deadline.extend(self._limits.more_seconds(opened.job.area))
            working = time.perf_counter()
            done = await self._run(wish, opened.job, versions)
            seconds = time.perf_counter() - working
            body = await self._timed("encode", lambda: _encoded(opened.photo, done, wish))
        observe_stage("total", time.perf_counter() - begun)
        return self._response(body, wish, opened.photo, Answered(wish.tasks, opened.job, done, seconds))

    async def _run(self, wish: Wish, job: Job, versions: Mapping[Task, str]) -> Job:
        canary = {} if wish.models else self._routing.canary(wish.tasks)
        if not canary:
            return await self._models.run(wish.tasks, job, versions)
        try:
            return await self._models.run(wish.tasks, job, canary)
        except Refusal as refusal:
            # Nobody asked for the challenger: where it cannot be had, the followed version answers.
            if refusal.code not in ("no_model", "no_version"):
                raise
            return await self._models.run(wish.tasks, job, {})

    def _response(self, body: bytes, wish: Wish, given: photo.Photo, answered: Answered) -> Response:
        made_by = answered.done.made_by
        for version in made_by.values():
            observe_answer(version)
        headers = {f"X-{task.model.title()}": version for task, version in made_by.items()}
        if given.notes:
            headers["X-Note"] = " ".join("; ".join(given.notes).split()).encode("ascii", "replace").decode()
        shadowed = not wish.models and wish.tasks != (Task.DETECT,)
        after = BackgroundTask(self._shadow.follow, answered) if shadowed else None
        return Response(body, media_type=wish.format.media_type, headers=headers, background=after)

    def _opened(self, sent: upload.Upload, wish: Wish) -> _Opened:
        hints = points.read(sent.hints) if sent.hints else ()
        if hints and Task.COLORIZE not in wish.tasks:
            raise Refusal(422, "hints", f"{len(hints)} hints are given; only a request that colorizes has use for them")
        given = photo.decode(sent.photo.read(), self._limits.pixels)
        photo.check_fits(given, wish.format)
        points.check_inside(hints, *given.pixels.shape[:2])
        mask = None if sent.mask is None else photo.decode_mask(sent.mask.read(), given, self._limits.pixels)
        return _Opened(given, Job(given.pixels, mask, hints))

    async def _timed(self, stage: Literal["decode", "encode"], work: Callable[[], T]) -> T:
        begun = time.perf_counter()
        result = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        observe_stage(stage, time.perf_counter() - begun)
        return result


def _encoded(given: photo.Photo, done: Job, wish: Wish) -> bytes:
    made_by = list(done.made_by.values())
    if wish.tasks == (Task.DETECT,):
        return masks.encode(np.zeros(given.pixels.shape[:2], np.bool_) if done.mask is None else done.mask, made_by)
    return photo.encode(given.with_pixels(done.pixels), wish.format, made_by, keep_metadata=wish.keep_metadata)
