"""An alias of MLflow's registry to a verified bundle on this machine: the only place in serving that imports mlflow."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mlflow
import mlflow.store.db_migrations
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from models.bundle import BundleError, digest

# Who asks here asks again: MLflow's own seven tries would keep a new replica from starting for four minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

_ABSENT = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}


class RegistryError(Exception):
    """The registry cannot be asked, or what it holds is not what it says; the message names which."""


class AbsentRegistryError(RegistryError):
    """There is no registry: nobody has registered anything yet, or it is gone."""


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
    """Reads model versions; `folder` holds fetched bundles by their sha256 and may be removed at any time."""

    def __init__(self, uri: str, folder: Path) -> None:
        self._uri = uri
        self._folder = folder

    def find(self, model: str, alias: str) -> Version | None:
        """The version that `alias` names, or None where there is none; raises RegistryError."""
        return self._asked(f"{model}@{alias}", lambda client: client.get_model_version_by_alias(model, alias))

    def version(self, model: str, number: str) -> Version | None:
        """The version of this number, or None where there is none; raises RegistryError."""
        return self._asked(f"{model}/{number}", lambda client: client.get_model_version(model, number))

    def _asked(self, name: str, question: Callable[[MlflowClient], ModelVersion]) -> Version | None:
        self._check()
        try:
            found = question(MlflowClient(tracking_uri=self._uri, registry_uri=self._uri))
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise self._unheard(name, error) from error
        except SQLAlchemyError as error:
            raise self._unheard(name, error) from error
        return Version(
            model=found.name,
            number=str(found.version),
            sha256=found.tags.get("autochrome.bundle_sha256", ""),
            recipe=found.tags.get("autochrome.recipe", ""),
            run=found.tags.get("autochrome.run", ""),
        )

    def fetch(self, version: Version) -> Path:
        """The folder of the version's bundle, its sha256 verified; raises RegistryError."""
        if not version.sha256:
            raise RegistryError(f"{version} has no tag autochrome.bundle_sha256; it must name its bundle's sha256")
        folder = self._folder / version.sha256
        if _holds(folder, version.sha256):
            return folder
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=self._folder) as temporary:
            bundle = self._download(version, temporary)
            found = _digest(version, bundle)
            if found != version.sha256:
                raise RegistryError(f"{version}'s bundle has sha256 {found}; its tag says {version.sha256}")
            if not _holds(folder, version.sha256):  # another replica may have been faster, and load from it now
                _put(bundle, folder)
        return folder

    def _download(self, version: Version, folder: str) -> Path:
        # A models:/ address is looked up at the process's own tracking address, whatever is passed with it.
        mlflow.set_tracking_uri(self._uri)
        mlflow.set_registry_uri(self._uri)
        try:
            path = mlflow.artifacts.download_artifacts(f"models:/{version}/artifacts/bundle", dst_path=folder)
        except (MlflowException, OSError) as error:
            raise RegistryError(f"{version}'s bundle cannot be fetched: {error}") from error
        return Path(path)

    def _unheard(self, name: str, error: Exception) -> RegistryError:
        return RegistryError(f"{self._uri} cannot be asked for {name}: {' '.join(str(error).split())}")

    def _check(self) -> None:
        """Raises RegistryError where MLflow may not open the registry: no sqlite file, or one of another schema.

        MLflow makes tables in an sqlite file just by looking at it, and two processes that do so at once break each
        other: a service that waits for its first model would break the training that is about to register it.
        """
        database = make_url(self._uri).database if self._uri.startswith("sqlite") else None
        if not database:
            return
        if not Path(database).exists():
            raise AbsentRegistryError(f"{self._uri} does not exist")
        found = _schema(Path(database))
        if found != _newest_schema():
            raise RegistryError(
                f"{self._uri} has schema {found}; it must be {_newest_schema()}, that of MLflow {mlflow.__version__}: "
                "it is being made, or needs `mlflow db upgrade`"
            )


def _schema(database: Path) -> str | None:
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            tables = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
            if connection.execute(tables).fetchone() == (0,):
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(row[0]) if row else None
    except sqlite3.Error as error:
        raise RegistryError(f"{database} cannot be read: {error}") from error


@cache
def _newest_schema() -> str | None:
    return ScriptDirectory(str(Path(mlflow.store.db_migrations.__file__).parent)).get_current_head()


def _digest(version: Version, bundle: Path) -> str:
    try:
        return digest(bundle)
    except BundleError as error:
        raise RegistryError(f"{version} holds no bundle: {error}") from error


def _holds(folder: Path, sha256: str) -> bool:
    with suppress(BundleError):
        return digest(folder) == sha256
    return False


def _put(bundle: Path, folder: Path) -> None:
    """Rename `bundle` to `folder`, whose damaged files go; another replica may do the same with the same bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        bundle.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
