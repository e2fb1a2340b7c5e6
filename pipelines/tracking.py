"""Runs in MLflow: of a whole `dvc repro`, of each of its stages, of trainings; and never left RUNNING.

A training's run is found again by its tag `autochrome.run`, so a killed training goes on in the run that it began. The
driver begins and ends runs; rank 0 of the workers tells them what happens. Every run of a stage that DVC started is a
child of the run of that `dvc repro` (docs/tracking.md).
"""

import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from pipelines import family
from pipelines.locks import held, is_free
from pipelines.loop import Row
from pipelines.stage import StageError

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunStatus
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

logging.getLogger("mlflow").setLevel(logging.WARNING)

EXPERIMENT = "autochrome"
SQLITE = "sqlite:///"
UI = "http://127.0.0.1:5000"  # where `make ui` shows what is in a database file
REPRO_TAG = "autochrome.repro"  # on the run of a `dvc repro`: its process
PROCESS_TAG = "autochrome.process"  # on the run of a stage: its process
PARENT_TAG = "mlflow.parentRunId"
METRICS_A_BATCH = 1000  # what a tracking server takes at once
PARAMS_A_BATCH = 100


@dataclass(frozen=True)
class Description:
    """What is said of a training when its run begins."""

    run: str  # run name
    recipe: str
    stage: str
    params: Mapping[str, Any]
    params_hash: str
    data: Mapping[str, str]  # set -> sha256 of its manifest
    manifests: Mapping[str, Path]  # set -> its manifest
    folder: Path  # of the run; its `lock` is held while a driver is at work


def address() -> str:
    """The tracking address, good in any working directory; the database is made where there is none yet."""
    address: str = mlflow.get_tracking_uri()
    if address.startswith(SQLITE):
        address = SQLITE + str(Path(address.removeprefix(SQLITE)).absolute())
    # Processes that make a fresh database together trip over each other: one makes it, the others wait.
    with held(Path("build/locks/tracking.lock"), "the first use of the tracking database", patience=120):
        client = mlflow.MlflowClient(address)
        if client.get_experiment_by_name(EXPERIMENT) is None:
            client.create_experiment(EXPERIMENT)
    return address


def find_run(run: str) -> str | None:
    """The MLflow run id of the training called `run`; None where there is none."""
    found = _search(mlflow.MlflowClient(address()), f"tags.`autochrome.run` = '{run}'")
    return found[0].info.run_id if found else None


def start_or_continue(run: str, tags: Mapping[str, str]) -> str:
    """The MLflow run id of the training called `run`, made with its tag where there is none; RUNNING from now on."""
    client = mlflow.MlflowClient(address())
    every = {**tags, "autochrome.run": run}
    run_id = find_run(run)
    if run_id is None:
        created: str = client.create_run(_experiment(client), run_name=run, tags=every).info.run_id
        return created
    client.update_run(run_id, status=RunStatus.to_string(RunStatus.RUNNING))
    for key, value in every.items():
        client.set_tag(run_id, key, value)
    return run_id


@contextmanager
def training_run(description: Description) -> Iterator[str]:
    """The MLflow run of a training, by id: FINISHED when the block ends well, FAILED however else it ends.

    Runs of this folder that a killed driver left RUNNING are ended as FAILED first.
    """
    reconcile(description.folder.parent)
    client = mlflow.MlflowClient(address())
    with _child(client) as parent:
        run_id = start_or_continue(description.run, {**_tags(description), **parent})
        with _ending(client, run_id):
            _describe(client, run_id, description)
            yield run_id


@contextmanager
def stage_run(name: str) -> Iterator[str]:
    """The MLflow run of one stage, such as `prepare@coco`, by id: FINISHED when the block ends well, else FAILED.

    It is new every time. In a `dvc repro` it is a child of that one's run, which says RUNNING meanwhile.
    """
    client = mlflow.MlflowClient(address())
    _end_the_killed(client)
    own = {"autochrome.stage": name, PROCESS_TAG: family.key(os.getpid()), **checkout_tags()}
    with _child(client) as parent:
        run_id: str = client.create_run(_experiment(client), run_name=name, tags={**own, **parent}).info.run_id
        with _ending(client, run_id):
            yield run_id


def log_report(run_id: str, report: Mapping[str, Any], files: Sequence[Path] = ()) -> None:
    """Logs a stage's report: its numbers as metrics, all of it as `report.json`, and `files` (folders too) beside it.

    `{"splits": {"train": 200}}` becomes the metric `splits/train`. Lists and texts are in report.json alone.
    """
    client, now = mlflow.MlflowClient(address()), time.time_ns() // 1_000_000
    client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in _numbers(report)])
    client.log_dict(run_id, dict(report), "report.json")
    log_files(run_id, files)


def log_files(run_id: str, files: Sequence[Path], artifact_path: str | None = None) -> None:
    """Logs files, and folders under their names."""
    client = mlflow.MlflowClient(address())
    for path in files:
        client.log_artifact(run_id, str(path), artifact_path=artifact_path)


def parent_of(run_id: str) -> str | None:
    """The run of the `dvc repro` that a run is a child of."""
    parent: str | None = mlflow.MlflowClient(address()).get_run(run_id).data.tags.get(PARENT_TAG)
    return parent


def run_url(run_id: str) -> str:
    """Where MLflow shows a run: on the tracking server, or where `make ui` does for a database file."""
    client = mlflow.MlflowClient(address())
    server = client.tracking_uri if client.tracking_uri.startswith("http") else UI
    return f"{server.rstrip('/')}/#/experiments/{_experiment(client)}/runs/{run_id}"


def reconcile(runs: Path) -> None:
    """End as FAILED every run that says RUNNING and whose lock in the folder `runs` nobody holds."""
    client = mlflow.MlflowClient(address())
    _end_the_killed(client)
    for run in _search(client, f"attributes.status = 'RUNNING' and tags.`autochrome.place` = '{_place(runs)}'"):
        if is_free(runs / run.data.tags["autochrome.run"] / "lock"):
            client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.FAILED))


class Tracker:
    """The loop's journal in MLflow."""

    def __init__(self, tracking_uri: str, run_id: str) -> None:
        self.client = mlflow.MlflowClient(tracking_uri)
        self.run_id = run_id
        self.told = {name: self._last_step(name) for name in self.client.get_run(run_id).data.metrics}

    def metrics(self, rows: Sequence[Row]) -> None:
        """Log what the run does not have yet, many metrics a request."""
        fresh = [
            Metric(name, value, row.time, row.step)
            for row in rows
            for name, value in row.values.items()
            if row.step > self.told.get(name, -1)
        ]
        for first in range(0, len(fresh), METRICS_A_BATCH):
            self.client.log_batch(self.run_id, metrics=fresh[first : first + METRICS_A_BATCH])
        self.told.update({metric.key: metric.step for metric in fresh})

    def picture(self, name: str, picture: NDArray[np.uint8]) -> None:
        """Log a picture as `pictures/<name>.png`."""
        self.client.log_image(self.run_id, picture, artifact_file=f"pictures/{name}.png")

    def _last_step(self, name: str) -> int:
        return max(int(metric.step) for metric in self.client.get_metric_history(self.run_id, name))


@contextmanager
def system_metrics(tracking_uri: str, run_id: str) -> Iterator[None]:
    """Processor, memory, disk, network and GPU of this machine, logged while the block runs."""
    monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=tracking_uri)  # type: ignore[no-untyped-call]
    monitor.start()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        monitor.finish()  # type: ignore[no-untyped-call]


def log_evaluation(run: str, tags: Mapping[str, str], metrics: Mapping[str, float], files: Sequence[Path]) -> str:
    """Add an evaluation to the training called `run`; one that was trained elsewhere gets a run. Its run id."""
    run_id = find_run(run)
    client = mlflow.MlflowClient(address())
    if run_id is None:
        run_id = start_or_continue(run, tags)
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED))
    now = time.time_ns() // 1_000_000
    client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])
    log_files(run_id, files, "evaluation")
    return run_id


def log_params(client: mlflow.MlflowClient, run_id: str, params: Mapping[str, Any]) -> None:
    """Log params as text, many a request; the same ones again do no harm."""
    every = [Param(name, str(value)) for name, value in params.items()]
    for first in range(0, len(every), PARAMS_A_BATCH):
        client.log_batch(run_id, params=every[first : first + PARAMS_A_BATCH])


@contextmanager
def _child(client: mlflow.MlflowClient) -> Iterator[dict[str, str]]:
    """The tag that makes a run a child of this `dvc repro`'s run; none where a stage was started by hand.

    The parent is RUNNING during the block, and FAILED after it if any of its children has failed.
    """
    repro = family.repro()
    if repro is None:
        yield {}
        return
    parent, status = _parent(client, repro), RunStatus.FAILED
    try:
        yield {PARENT_TAG: parent}
        if not _search(client, f"attributes.status = 'FAILED' and tags.`{PARENT_TAG}` = '{parent}'"):
            status = RunStatus.FINISHED
    finally:
        client.set_terminated(parent, RunStatus.to_string(status))


def _parent(client: mlflow.MlflowClient, repro: family.Repro) -> str:
    """The run of a `dvc repro`, RUNNING; its first stage makes it, and no two of its stages run at once."""
    found = _search(client, f"tags.`{REPRO_TAG}` = '{repro.key}'")
    if found:
        client.update_run(found[0].info.run_id, status=RunStatus.to_string(RunStatus.RUNNING))
        return str(found[0].info.run_id)
    tags = {REPRO_TAG: repro.key, "autochrome.command": repro.command, **checkout_tags()}
    return str(client.create_run(_experiment(client), run_name=repro.title, tags=tags).info.run_id)


@contextmanager
def _ending(client: mlflow.MlflowClient, run_id: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.FAILED))
        raise
    client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED))


def _end_the_killed(client: mlflow.MlflowClient) -> None:
    """End as FAILED every stage's and every `dvc repro`'s run that says RUNNING and whose process has ended."""
    for tag in (PROCESS_TAG, REPRO_TAG):
        for run in _search(client, f"attributes.status = 'RUNNING' and tags.`{tag}` LIKE '{socket.gethostname()}:%'"):
            if family.ended(run.data.tags[tag]):
                client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.FAILED))


def _numbers(report: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in report.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)


def _tags(description: Description) -> dict[str, str]:
    return {
        "autochrome.recipe": description.recipe,
        "autochrome.stage": description.stage,
        **checkout_tags(),
        "autochrome.data": json.dumps(dict(description.data), sort_keys=True),
        "autochrome.params_hash": description.params_hash,
        "autochrome.place": _place(description.folder.parent),
    }


def _describe(client: mlflow.MlflowClient, run_id: str, description: Description) -> None:
    log_params(client, run_id, description.params)
    inputs = client.get_run(run_id).inputs
    if inputs is None or not inputs.dataset_inputs:
        client.log_inputs(run_id, [_dataset(name, description) for name in sorted(description.data)])


def _dataset(name: str, description: Description) -> DatasetInput:
    """A prepared set's manifest; its digest is the beginning of the sha256 that the run's name is made of."""
    source = json.dumps({"uri": str(description.manifests[name])})
    dataset = Dataset(name=name, digest=description.data[name][:32], source_type="local", source=source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _search(client: mlflow.MlflowClient, query: str) -> list[Run]:
    return list(client.search_runs([_experiment(client)], query))


def _experiment(client: mlflow.MlflowClient) -> str:
    """Its id; `address` has made it."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        raise StageError(f"the experiment {EXPERIMENT} is gone from {client.tracking_uri}; restore it in MLflow")
    return str(found.experiment_id)


def _place(runs: Path) -> str:
    return f"{socket.gethostname()}:{runs.absolute()}"


def checkout_tags() -> dict[str, str]:
    """What is checked out in the working directory: git's commit, and DVC's hash of the raw photographs."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {"autochrome.git_commit": asked.stdout.strip() or "unknown", "autochrome.dvc_data": _dvc_hash()}


def _dvc_hash() -> str:
    """The hash in data.dvc, or `unknown` where the photographs are not tracked."""
    try:
        return str(yaml.safe_load(Path("data.dvc").read_text(encoding="utf-8"))["outs"][0]["md5"])
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError):
        return "unknown"
