"""The gateway as Ray Serve runs it: HTTP in front, handles to the models behind. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from models.task import Task
from serving import edge
from serving.albums.deployment import RemoteAlbums
from serving.albums.state import AlbumLimits
from serving.draining import Door, Traffic
from serving.gateway import api
from serving.handles import Handles
from serving.limits import Limits
from serving.routing import Trial


@serve.ingress()
class Gateway:
    """HTTP in front of the models and albums; the routes are `serving.gateway`'s, what guards them `serving.edge`'s."""

    def __init__(
        self,
        models: Mapping[Task, DeploymentHandle[Any]],
        albums: DeploymentHandle[Any],
        limits: Limits,
        album_limits: AlbumLimits,
        trial: Trial,
        settings: edge.Settings,
    ) -> None:
        self._models = Handles(models, limits.large_pixels)
        self._albums = RemoteAlbums(albums)
        self._limits = limits
        self._album_limits = album_limits
        self._trial = trial
        self._settings = settings
        self._traffic = Traffic()

    async def drain(self) -> int:
        """Refuse who comes from now on, and wait for the others: how many are not done after the shortest deadline."""
        return await self._traffic.end(self._limits.seconds)

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = api(self._models, self._limits, self._trial, self._albums, self._album_limits)
        app.add_middleware(Door, traffic=self._traffic)
        edge.guard(app, self._settings)
        return app
