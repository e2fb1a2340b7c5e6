"""The application: typed arguments to a graph of deployments, gateway -> restorer -> colorizer.

`serve run serving.app:build`, `serve run serving.app:build alias=challenger` or `serve deploy serving/config.yaml`.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application, Deployment

from models.task import Task
from serving.deployments import Batching, Following, Gateway, ModelDeployment
from serving.gateway import Limits
from serving.registry import tracking_uri


class AppArgs(BaseModel):
    """What an operator may say; MLflow's address is MLflow's own MLFLOW_TRACKING_URI."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alias: Annotated[str, Field(min_length=1, description="Registry alias of the versions to serve")] = "champion"
    poll_seconds: Annotated[float, Field(gt=0, description="How often each replica looks at the alias")] = 10.0
    cache: Annotated[Path, Field(description="Folder of fetched bundles, on every node")] = Path("build/serving")
    max_upload_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    max_pixels: Annotated[int, Field(ge=1, description="Of a photograph, read from its header")] = 25_000_000
    deadline_seconds: Annotated[float, Field(gt=0, description="From the first byte read to the answer")] = 120.0
    batch_photographs: Annotated[int, Field(ge=1, description="Small photographs in one batch")] = 8
    batch_wait_seconds: Annotated[float, Field(ge=0, description="How long a batch waits to fill")] = 0.01
    threads: Annotated[int, Field(ge=0, description="Of each model replica; 0: all cores of its machine")] = 0


def build(args: AppArgs) -> Application:
    """The application graph. What `serving/config.yaml` does not override is set here."""
    following = Following(args.alias, tracking_uri(), args.cache.resolve(), args.poll_seconds)
    batching = Batching(args.batch_photographs, args.batch_wait_seconds, args.max_pixels)
    restorer, colorizer = (
        _model(args, task).bind(task, following, batching, args.threads) for task in (Task.RESTORE, Task.COLORIZE)
    )
    limits = Limits(args.max_upload_bytes, args.max_pixels, args.deadline_seconds)
    return _gateway(args).bind(restorer, colorizer, limits)


def _model(args: AppArgs, task: Task) -> Deployment:
    return serve.deployment(
        name=task.model,
        max_ongoing_requests=2 * args.batch_photographs,  # one batch at work, the next one gathering
        max_queued_requests=32,
        graceful_shutdown_timeout_s=args.deadline_seconds,
        health_check_period_s=5,
        health_check_timeout_s=30,
    )(ModelDeployment)


def _gateway(args: AppArgs) -> Deployment:
    return serve.deployment(
        name="gateway",
        ray_actor_options={"num_cpus": 0},  # it waits for the models: their cores are counted there
        max_ongoing_requests=64,  # wide, or a few slow uploads starve the others
        max_queued_requests=64,
        graceful_shutdown_timeout_s=args.deadline_seconds,
        health_check_period_s=5,
        health_check_timeout_s=30,
    )(Gateway)
