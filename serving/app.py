"""The application: typed arguments to a graph of deployments, gateway -> detector, restorer, colorizer and albums.

`serve run serving.app:build`, `serve run serving.app:build alias=challenger` or `serve deploy serving/config.yaml`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from ray import serve
from ray.serve import Application

from models.acceleration import Choice
from models.task import Task
from serving import edge, logs
from serving.albums.deployment import AlbumsDeployment
from serving.albums.state import AlbumLimits
from serving.batching import Batching
from serving.deployments import Following, Machine, ModelDeployment
from serving.gateway import TASKS
from serving.ingress import Gateway
from serving.limits import Limits
from serving.registry import tracking_uri
from serving.routing import Trial


def _split(value: object) -> object:
    """`serve run` has text alone for a list: a,b."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


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

    keys: Annotated[Path | None, Field(description="File of keys, on every node; none: this machine alone")] = None
    origins: Annotated[Names, Field(description="Other sites whose pages may ask, such as https://archive.org")] = ()
    hosts: Annotated[Names, Field(description="Names besides this machine's that requests may have, without keys")] = ()

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

    album_folder: Annotated[Path, Field(description="On a cluster: one that every node sees")] = Path("build/albums")
    album_photographs: Annotated[int, Field(ge=1, description="In one album")] = 500
    album_zip_bytes: Annotated[int, Field(ge=1, description="Of an album's upload")] = 2 * 1024**3
    album_unpacked_bytes: Annotated[int, Field(ge=1, description="Of an album's files")] = 4 * 1024**3
    albums_unfinished: Annotated[int, Field(ge=1, description="Albums that are sent, waiting or worked on")] = 16
    albums_disk_bytes: Annotated[int, Field(ge=1, description="Of all albums that are kept")] = 20 * 1024**3
    album_keep_hours: Annotated[float, Field(gt=0, description="After its last photograph")] = 24.0
    album_upload_seconds: Annotated[float, Field(gt=0, description="For an album's upload")] = 3600.0


def build(args: AppArgs) -> Application:
    """The application graph. What `serving/config.yaml` does not override is set here.

    Raises `serving.edge.Exposed` where it would answer more than this machine, and there are no keys.
    """
    settings = edge.Settings(args.keys.resolve() if args.keys else None, args.origins, args.hosts)
    edge.refuse_exposure(settings.keys)
    models = {task: _model(args, task) for task in TASKS}
    limits = Limits(
        args.max_upload_bytes, args.max_pixels, args.deadline_seconds, args.seconds_per_megapixel, args.large_pixels
    )
    trial = Trial(args.alias, args.canary_percent, args.shadow_percent, args.poll_seconds)
    albums = _albums(args, models)
    options = _options("gateway", args, num_cpus=0)  # it waits for the models: their cores are counted there
    options |= {"max_ongoing_requests": 64, "max_queued_requests": 64}  # wide, or a few slow uploads starve the others
    return serve.deployment(**options)(Gateway).bind(models, albums, limits, album_limits(args), trial, settings)


def album_limits(args: AppArgs) -> AlbumLimits:
    """What albums may cost."""
    return AlbumLimits(
        photographs=args.album_photographs,
        zip_bytes=args.album_zip_bytes,
        unpacked_bytes=args.album_unpacked_bytes,
        photo_bytes=args.max_upload_bytes,
        pixels=args.max_pixels,
        unfinished=args.albums_unfinished,
        disk_bytes=args.albums_disk_bytes,
        keep_hours=args.album_keep_hours,
        upload_seconds=args.album_upload_seconds,
    )


def _model(args: AppArgs, task: Task) -> Application:
    # Only who asks for it uses the detector: it must not keep the others from a small machine's cores.
    options = _options(task.model, args, num_cpus=0 if task is Task.DETECT else 1)
    options["max_ongoing_requests"] = 2 * args.batch_photographs  # one batch at work, the next one gathering
    options["max_queued_requests"] = 32
    return serve.deployment(**options)(ModelDeployment).bind(
        task,
        Following(args.alias, tracking_uri(), args.cache.resolve(), args.poll_seconds),
        Batching(args.batch_photographs, args.batch_wait_seconds, args.large_pixels),
        Machine(args.threads, args.engine, args.replica_memory_bytes),
    )


def _albums(args: AppArgs, models: Mapping[Task, Application]) -> Application:
    """One replica: it owns the folder, and a second one would wait for it."""
    options = _options("albums", args, num_cpus=0)
    options |= {"max_ongoing_requests": 64, "max_queued_requests": 64}
    return serve.deployment(**options)(AlbumsDeployment).bind(
        models[Task.RESTORE], models[Task.COLORIZE], args.album_folder.resolve(), album_limits(args), args.large_pixels
    )


def _options(name: str, args: AppArgs, num_cpus: int) -> dict[str, Any]:
    """What is the same for every deployment."""
    return {
        "name": name,
        "ray_actor_options": {"num_cpus": num_cpus},
        "graceful_shutdown_timeout_s": args.deadline_seconds,
        "health_check_period_s": 2,
        "health_check_timeout_s": 5,
        "logging_config": logs.CONFIG,
    }
