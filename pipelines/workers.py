"""Ray Train around the loop: starts the workers, restarts them when one dies, and gives each its place."""

import logging
import os
import shutil
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pipelines import place
from pipelines.diary import Diary, Journals
from pipelines.job import Job, work
from pipelines.locks import held
from pipelines.loop import DivergedError
from pipelines.photos import Photographs
from pipelines.stage import StageError
from pipelines.tracking import Tracker, system_metrics

for setting, value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_worker_niceness": "0",  # as a bare training has it; Ray would take 15, and lose to whatever runs beside it
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # else each line of a worker comes twice
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}.items():
    os.environ.setdefault(setting, value)

import ray  # noqa: E402  (it reads the settings above when it is imported)
import ray.train.torch  # noqa: E402
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback  # noqa: E402
from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE  # noqa: E402
from ray.train.v2.api import data_parallel_trainer  # noqa: E402
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig  # noqa: E402
from ray.train.v2.api.exceptions import TrainingFailedError  # noqa: E402

RESTARTS = 3
TAKEOVER = 60.0  # seconds that a new first worker waits for the one it replaces to be gone


@dataclass(frozen=True)
class _Order:
    """What each worker is given."""

    job: Job
    photographs: ray.ObjectRef[tuple[Photographs, Photographs]]
    tracking: str
    run_id: str


def fit(job: Job, photographs: Photographs, validation: Photographs, tracking: str, run_id: str) -> None:
    """Train `job` on the workers that the cluster has room for; StageError where it fails for good."""
    storage = job.folder / "ray"
    shutil.rmtree(storage, ignore_errors=True)
    _failure(job).unlink(missing_ok=True)
    with ExitStack() as stack:
        start_ray()
        stack.callback(ray.shutdown)
        stack.callback(shutil.rmtree, storage, ignore_errors=True)
        trainer = ray.train.torch.TorchTrainer(
            _worker,
            train_loop_config={"order": _Order(job, ray.put((photographs, validation)), tracking, run_id)},
            scaling_config=scaling(ray.cluster_resources()),  # type: ignore[no-untyped-call]
            run_config=RunConfig(  # type: ignore[arg-type]  # the stub is of Train v1
                # Ray resumes whatever it finds under a name: each start has its own, resuming is ours.
                name=f"{job.run}-{time.time_ns()}",
                storage_path=str(storage),
                failure_config=FailureConfig(max_failures=RESTARTS),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise StageError(f"{job.run} failed {RESTARTS + 1} times: {_last_line(error)}") from error
    if _failure(job).exists():
        raise StageError(_failure(job).read_text(encoding="utf-8"))


def scaling(resources: dict[str, float]) -> ScalingConfig:
    """One worker per GPU, or one CPU worker with all cores; AUTOCHROME_WORKERS says otherwise."""
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    workers = _asked() or gpus or 1
    if gpus:
        return ScalingConfig(num_workers=workers, use_gpu=True, resources_per_worker={"CPU": 1, "GPU": 1})
    share = cpus / workers
    return ScalingConfig(num_workers=workers, resources_per_worker={"CPU": int(share) if share >= 1 else share})


def _asked() -> int | None:
    asked = os.environ.get("AUTOCHROME_WORKERS", "")
    if asked and (not asked.isdecimal() or int(asked) < 1):
        raise StageError(f"AUTOCHROME_WORKERS is {asked!r}; it must be a whole number of workers, at least 1")
    return int(asked) if asked else None


def start_ray() -> None:
    """A Ray of our own, or the cluster that RAY_ADDRESS names, which is given our code."""
    handler = signal.getsignal(signal.SIGTERM)
    if os.environ.get("RAY_ADDRESS"):
        root = Path(__file__).resolve().parent.parent
        ray.init(
            runtime_env={"py_modules": [str(root / "models"), str(root / "pipelines")]}, logging_level=logging.ERROR
        )
    else:
        # The cleaner asks the dashboard every second whether the controller lives, and says each second that it has
        # no dashboard. A Ray of our own ends with us and leaves nothing to clean.
        vars(data_parallel_trainer)["PlacementGroupCleanerCallback"] = _NoCleaner
        ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", logging_level=logging.ERROR)
    # Ray Train's helpers look for "the" Ray of this machine, and fail where a service is running beside us.
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    ENV_VARS_TO_PROPAGATE.add("RAY_ADDRESS")
    signal.signal(signal.SIGTERM, handler)  # Ray puts its own there


class _NoCleaner(PlacementGroupCleanerCallback):
    def after_controller_start(self, train_run_context: object) -> None:
        """Start no cleaner."""

    def after_worker_group_start(self, worker_group: object) -> None:
        """Tell none."""


def _worker(config: dict[str, _Order]) -> None:
    """One worker's life. What a restart would not mend is written down, for the driver to say once."""
    order = config["order"]
    context = ray.train.get_context()
    place.tune(place.cores() // context.get_local_world_size())
    here = place.among_workers(ray.train.torch.get_device())
    photographs, validation = ray.get(order.photographs)
    try:
        with ExitStack() as stack:
            journal = None
            if here.rank == 0:
                # A first worker that was given up for dead may still be writing.
                stack.enter_context(held(order.job.folder / "writer.lock", f"{order.job.run}'s first worker", TAKEOVER))
                tracker = Tracker(order.tracking, order.run_id)
                journal = Journals(tracker, Diary(order.job.folder, pictures=False))
                stack.enter_context(system_metrics(order.tracking, order.run_id))
            here.wait()
            work(order.job, photographs, validation, here, journal)
    except (StageError, DivergedError) as error:
        if here.rank == 0:
            _failure(order.job).write_text(str(error), encoding="utf-8")


def _failure(job: Job) -> Path:
    return job.folder / "failure.txt"


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1]
