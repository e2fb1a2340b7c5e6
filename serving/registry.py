"""An alias of MLflow's registry to a verified bundle on this machine: the only place in serving that imports mlflow."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from sqlalchemy.engine import make_url

from models.bundle import BundleError, digest

_ABSENT = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}


class RegistryError(Exception):
    """The registry cannot be asked, or what it holds is not what it says; the message names which."""


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    model: str
    number: str
    sha256: str  # of the bundle, by models.bundle.digest
    recipe: str
    run: str

    def __str__(self) -> str:
        return f"{self.model}/{self.number}"


def tracking_uri() -> str:
    """MLflow's own address (MLFLOW_TRACKING_URI or its default), absolute, so that every process means the same."""
    uri = mlflow.get_tracking_uri()
    if not uri.startswith("sqlite"):
        return uri
    url = make_url(uri)
    if not url.database:
        return uri
    return url.set(database=str(Path(url.database).resolve())).render_as_string(hide_password=False)


class Registry:
    """Reads model versions; `cache` holds fetched bundles by their sha256 and may be removed at any time."""

    def __init__(self, uri: str, cache: Path) -> None:
        self._uri = uri
        self._cache = cache

    def find(self, model: str, alias: str) -> Version | None:
        """The version that `alias` names, or None where there is none; raises RegistryError."""
        if self._is_unborn():
            return None
        try:
            client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            found = client.get_model_version_by_alias(model, alias)
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise RegistryError(f"{self._uri} cannot be asked for {model}@{alias}: {error}") from error
        return Version(
            model=model,
            number=str(found.version),
            sha256=found.tags.get("autochrome.bundle_sha256", ""),
            recipe=found.tags.get("autochrome.recipe", ""),
            run=found.tags.get("autochrome.run", ""),
        )

    def fetch(self, version: Version) -> Path:
        """The folder of the version's bundle, its sha256 verified; raises RegistryError."""
        if not version.sha256:
            raise RegistryError(f"{version} has no tag autochrome.bundle_sha256; it must name its bundle's sha256")
        folder = self._cache / version.sha256
        if folder.is_dir() and _digest(folder) == version.sha256:
            return folder
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=self._cache) as temporary:
            bundle = self._download(version, temporary)
            found = _digest(bundle)
            if found != version.sha256:
                raise RegistryError(f"{version}'s bundle has sha256 {found}; its tag says {version.sha256}")
            _put(bundle, folder)
        return folder

    def _download(self, version: Version, folder: str) -> Path:
        try:
            path = mlflow.artifacts.download_artifacts(
                artifact_uri=f"models:/{version}/artifacts/bundle",
                dst_path=folder,
                tracking_uri=self._uri,
                registry_uri=self._uri,
            )
        except (MlflowException, OSError) as error:
            raise RegistryError(f"{version}'s bundle cannot be fetched: {error}") from error
        return Path(path)

    def _is_unborn(self) -> bool:
        """Whether the registry is an sqlite file that does not exist: MLflow would make one just by looking."""
        if not self._uri.startswith("sqlite"):
            return False
        database = make_url(self._uri).database
        return bool(database) and not Path(str(database)).exists()


def _digest(bundle: Path) -> str:
    try:
        return digest(bundle)
    except (BundleError, OSError) as error:
        raise RegistryError(f"{bundle} is no bundle: {error}") from error


def _put(bundle: Path, folder: Path) -> None:
    """Rename `bundle` to `folder`; another replica that was faster has put the same bytes there."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        bundle.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
