"""The application: typed arguments to a graph of deployments, gateway -> detector, restorer, colorizer.

`serve run serving.app:build`, `serve run serving.app:build alias=challenger` or `serve deploy serving/config.yaml`.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application, Deployment

from models.acceleration import Choice
from models.task import Task
from serving.batching import Batching
from serving.deployments import Following, Machine, ModelDeployment
from serving.ingress import Gateway
from serving.limits import Limits
from serving.registry import tracking_uri
from serving.routing import Trial


class AppArgs(BaseModel):
    """What an operator may say; MLflow's address is MLflow's own MLFLOW_TRACKING_URI."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alias: Annotated[str, Field(min_length=1, description="Registry alias of the versions to serve")] = "champion"
    poll_seconds: Annotated[float, Field(gt=0, description="How often each replica looks at the alias")] = 10.0
    canary_percent: Annotated[
        float, Field(ge=0, le=100, description="Requests that the challenger answers, where there is one")
    ] = 0.0
    shadow_percent: Annotated[
        float, Field(ge=0, le=100, description="Requests that the challenger repeats after the answer, for metrics")
    ] = 0.0
    cache: Annotated[Path, Field(description="Folder of fetched bundles, on every node")] = Path("build/serving")
    max_upload_bytes: Annotated[int, Field(ge=1, description="100 megapixels of 8 bits fit")] = 320 * 1024 * 1024
    max_pixels: Annotated[int, Field(ge=1, description="Of a photograph, read from its header")] = 120_000_000
    deadline_seconds: Annotated[float, Field(gt=0, description="From the first byte read to the answer")] = 120.0
    seconds_per_megapixel: Annotated[float, Field(ge=0, description="More for each million pixels")] = 30.0
    batch_photographs: Annotated[int, Field(ge=1, description="Photographs of like size in one batch")] = 8
    batch_wait_seconds: Annotated[float, Field(ge=0, description="An idle model waits for a second one")] = 0.01
    large_pixels: Annotated[int, Field(ge=1, description="A photograph of more is worked on alone")] = 4_000_000
    threads: Annotated[int, Field(ge=0, description="Of each model replica; 0: all cores of its machine")] = 0
    engine: Annotated[Choice, Field(description="auto: the fastest that is right, measured at load")] = "auto"
    replica_memory_bytes: Annotated[
        int, Field(ge=1, description="What one photograph's work may take in a replica")
    ] = 4 * 1024**3


def build(args: AppArgs) -> Application:
    """The application graph. What `serving/config.yaml` does not override is set here."""
    following = Following(args.alias, tracking_uri(), args.cache.resolve(), args.poll_seconds)
    batching = Batching(args.batch_photographs, args.batch_wait_seconds, args.large_pixels)
    machine = Machine(args.threads, args.engine, args.replica_memory_bytes)
    models = [
        _model(args, task).bind(task, following, batching, machine)
        for task in (Task.DETECT, Task.RESTORE, Task.COLORIZE)
    ]
    limits = Limits(
        args.max_upload_bytes, args.max_pixels, args.deadline_seconds, args.seconds_per_megapixel, args.large_pixels
    )
    trial = Trial(args.alias, args.canary_percent, args.shadow_percent, args.poll_seconds)
    return _gateway(args).bind(*models, limits, trial)


def _model(args: AppArgs, task: Task) -> Deployment:
    return serve.deployment(
        name=task.model,
        # Only who asks for it uses the detector: it must not keep the others from a small machine's cores.
        ray_actor_options={"num_cpus": 0 if task is Task.DETECT else 1},
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
