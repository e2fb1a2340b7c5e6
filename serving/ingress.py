"""The gateway as Ray Serve runs it: HTTP in front, handles to the models behind. Imports no torch."""

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from models.task import Task
from serving.gateway import api
from serving.handles import Handles
from serving.limits import Limits
from serving.routing import Trial


@serve.ingress()
class Gateway:
    """HTTP in front of the models; the routes are `serving.gateway`'s."""

    def __init__(
        self,
        detector: DeploymentHandle[Any],
        restorer: DeploymentHandle[Any],
        colorizer: DeploymentHandle[Any],
        limits: Limits,
        trial: Trial,
    ) -> None:
        self._models = Handles({Task.DETECT: detector, Task.RESTORE: restorer, Task.COLORIZE: colorizer})
        self._limits = limits
        self._trial = trial

    def __serve_build_asgi_app__(self) -> FastAPI:
        return api(self._models, self._limits, self._trial)
