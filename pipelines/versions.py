"""The registry part of MLflow: a bundle becomes a version of a registered model, is found again, and gets its aliases.

`pipelines/tracking.py` is the other part, runs. The two agree about the address.
"""

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelStatus, RunStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema

import models
from pipelines import tracking

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
logging.getLogger("mlflow").setLevel(logging.WARNING)  # a stage says itself what it did

BUNDLE = "bundle"  # the version's folder artifacts/bundle
BUNDLE_TAG = "autochrome.bundle_sha256"
METRICS_TAG = "autochrome.metrics"  # JSON: frozen_sha256, protocol, and what was measured
GATE_TAG = "autochrome.gate"  # JSON: the verdict and every number that led to it
DESCRIPTION = 5000  # characters: MLflow's column, which sqlite does not enforce and PostgreSQL does
_CUT = "\n\n(cut here: the whole text is among the run's artifacts)"

# What a registered model needs to run elsewhere: pinned to what it was measured with, never guessed from imports.
PACKAGES = ("annotated-types", "mlflow", "numpy", "opencv-python-headless", "pandas", "safetensors", "torch")

_CODE = Path(__file__).with_name("pyfunc.py")
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such model; no such alias


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    number: int
    tags: Mapping[str, str]
    run_id: str  # of the run that it came from
    created: float  # seconds since 1970


class Registry:
    """The versions of one registered model, `restorer` or `colorizer`."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._client = mlflow.MlflowClient(tracking.address())

    def find(self, bundle_sha256: str) -> Version | None:
        """The version made of that bundle; the first, should several processes on several machines have made more."""
        query = f"name = '{self.model}' and tags.`{BUNDLE_TAG}` = '{bundle_sha256}'"
        found = sorted(self._client.search_model_versions(query), key=lambda one: int(one.version))
        return _version(found[0]) if found else None

    def every(self) -> list[Version]:
        """Every version, the first first; none where the model was never registered."""
        found = self._client.search_model_versions(f"name = '{self.model}'")
        return sorted((_version(one) for one in found), key=lambda version: version.number)

    def under(self, alias: str) -> Version | None:
        """The version that `alias` points at."""
        try:
            found = self._client.get_model_version_by_alias(self.model, alias)
        except MlflowException as error:
            if error.error_code in _MISSING:
                return None
            raise
        return _version(found)

    def aliases(self, version: Version) -> list[str]:
        """The aliases that point at `version`, sorted."""
        return sorted(self._client.get_model_version(self.model, str(version.number)).aliases)

    def add(self, bundle: Path, run_id: str, tags: Mapping[str, str], example: Mapping[str, bytes]) -> Version:
        """Logs the bundle as a model of the run and makes a version of it, which carries its tags from the start.

        A process killed between the two leaves a logged model; it is found by its tag and taken up.
        """
        model_id = self._logged(run_id, tags[BUNDLE_TAG]) or self._log(bundle, run_id, tags, example)
        try:
            self._client.create_registered_model(self.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = self._client.create_model_version(
            self.model, source=f"models:/{model_id}", run_id=run_id, tags=dict(tags), model_id=model_id
        )
        return _version(made)

    def point(self, alias: str, version: Version) -> None:
        """Moves `alias` to `version`."""
        self._client.set_registered_model_alias(self.model, alias, str(version.number))

    def tag(self, version: Version, key: str, value: str) -> None:
        """Sets a tag of `version`."""
        self._client.set_model_version_tag(self.model, str(version.number), key, value)

    def describe(self, version: Version, text: str) -> None:
        """Sets what MLflow shows of `version`, markdown; what is too long for its database is cut at a line's end."""
        if len(text) > DESCRIPTION:
            text = text[: DESCRIPTION - len(_CUT)].rpartition("\n")[0] + _CUT
        self._client.update_model_version(self.model, str(version.number), text)

    def download(self, version: Version, folder: Path) -> Path:
        """The version's bundle, fetched into `folder`; OSError where it cannot be had."""
        uri, address = f"models:/{self.model}/{version.number}", tracking.address()
        try:
            fetched = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=address)
        except MlflowException as error:
            raise OSError(f"{uri} cannot be fetched: {error.message}") from error
        return Path(fetched) / "artifacts" / BUNDLE

    def _logged(self, run_id: str, bundle_sha256: str) -> str | None:
        experiment = self._client.get_run(run_id).info.experiment_id
        found = self._client.search_logged_models([experiment], f"tags.`{BUNDLE_TAG}` = '{bundle_sha256}'")
        whole = [one.model_id for one in found if one.status == LoggedModelStatus.READY]
        return str(whole[0]) if whole else None

    def _log(self, bundle: Path, run_id: str, tags: Mapping[str, str], example: Mapping[str, bytes]) -> str:
        experiment = self._client.get_run(run_id).info.experiment_id
        model = self._client.create_logged_model(experiment, self.model, source_run_id=run_id, tags=dict(tags))
        with TemporaryDirectory() as scratch, _no_bytecode():
            # MLflow names the artifact's folder after the folder it comes from.
            shutil.copytree(bundle, Path(scratch) / BUNDLE)
            Model.log(
                artifact_path=None,
                model_id=model.model_id,
                flavor=mlflow.pyfunc,
                run_id=run_id,  # leaves the run's status alone, which `start_run` would not
                python_model=str(_CODE),
                artifacts={BUNDLE: str(Path(scratch) / BUNDLE)},
                code_paths=[str(Path(models.__file__).parent)],
                signature=_signature(),
                input_example=pd.DataFrame({name: [value] for name, value in example.items()}),
                pip_requirements=_requirements(PACKAGES),
            )
        return str(model.model_id)


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """MLflow runs a model's code in the folder that it logs: this Python's bytecode of it would be logged too."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def complete_run(run_id: str, params: Mapping[str, object]) -> None:
    """Logs the params of a training that had no MLflow, and ends its run as FINISHED; again does no harm."""
    client = mlflow.MlflowClient(tracking.address())
    tracking.log_params(client, run_id, params)
    client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED))


def run_tags(run_id: str) -> dict[str, str]:
    """The run's tags of ours."""
    tags = mlflow.MlflowClient(tracking.address()).get_run(run_id).data.tags
    return {key: value for key, value in tags.items() if key.startswith("autochrome.")}


def _version(found: ModelVersion) -> Version:
    return Version(int(found.version), found.tags, str(found.run_id), found.creation_timestamp / 1000)


def run_file(run_id: str, path: str) -> bytes | None:
    """An artifact of a run; None where the run has none of that name, or is gone."""
    with TemporaryDirectory() as folder:
        try:
            fetched = mlflow.MlflowClient(tracking.address()).download_artifacts(run_id, path, folder)
            return Path(fetched).read_bytes()
        except (MlflowException, OSError):
            return None


def _signature() -> ModelSignature:
    photo, mask = ColSpec(DataType.binary, "photo"), ColSpec(DataType.binary, "mask", required=False)
    return ModelSignature(inputs=Schema([photo, mask]), outputs=Schema([photo]))


def _requirements(packages: Sequence[str]) -> list[str]:
    """Pinned without local labels such as torch's `+cpu`, which PyPI does not have."""
    return [f"{name}=={installed(name).partition('+')[0]}" for name in packages]
