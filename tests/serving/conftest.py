import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from models import bundle
from models.catalogue import CATALOGUE
from models.task import Task
from tests.serving import guarded as guarding
from tests.serving import living

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient

SIZE = 64
RECIPES: dict[Task, tuple[str, dict[str, Any]]] = {
    Task.RESTORE: ("pix2pix", {"width": 4, "normalization": "batch", "dropout": 0.0}),
    Task.COLORIZE: ("colorgan", {"generator": "unet", "width": 4, "normalization": "batch", "dropout": 0.0}),
    Task.DETECT: ("scratches", {"width": 4}),
}
KEYWORDS: dict[str, dict[str, Any]] = dict(RECIPES.values()) | {"guided": {"width": 4}}


@dataclass(frozen=True)
class Archive:
    """An MLflow registry on this disk, and tiny models with random weights to put into it."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "mlflow.db"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.database}"

    def bundle(self, task: Task, seed: int, recipe: str | None = None, **other: Any) -> Path:
        """A network of the recipe (the task's tiny one) with these keywords in place of its own."""
        recipe = recipe or RECIPES[task][0]
        keywords = KEYWORDS[recipe] | other
        torch.manual_seed(seed)
        network = CATALOGUE[recipe].network(keywords)
        config = bundle.Config(recipe, task, SIZE, keywords, params={}, data={}, run=f"{recipe}-{seed}")
        folder = self.folder / "bundles" / f"{recipe}-{seed}"
        bundle.save(folder, config, network)
        return folder

    def add(self, model: str, folder: Path, sha256: str | None = None) -> str:
        """A version in the layout that `register` makes: the bundle in the model's folder artifacts/bundle."""
        client = self._client()
        experiment = client.get_experiment_by_name("serving") or client.get_experiment(
            client.create_experiment("serving", artifact_location=str(self.folder / "artifacts"))
        )
        run = client.create_run(experiment.experiment_id)
        client.log_artifacts(run.info.run_id, str(folder), "model/artifacts/bundle")
        tags = {
            "autochrome.bundle_sha256": sha256 or bundle.digest(folder),
            "autochrome.recipe": bundle.load(folder)[0].recipe,
            "autochrome.run": folder.name,
        }
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        source = f"{run.info.artifact_uri}/model"
        return str(client.create_model_version(model, source, run_id=run.info.run_id, tags=tags).version)

    def point(self, model: str, version: str, alias: str = "champion") -> None:
        self._client().set_registered_model_alias(model, alias, version)

    def withdraw(self, model: str, alias: str) -> None:
        self._client().delete_registered_model_alias(model, alias)

    def release(self, task: Task, seed: int, recipe: str | None = None, alias: str = "champion") -> str:
        """A new version that has the alias."""
        version = self.add(task.model, self.bundle(task, seed, recipe))
        self.point(task.model, version, alias)
        return version

    def release_corrupt(self, task: Task, seed: int) -> str:
        """A new champion whose weights have a flipped byte, so that they load but are not what the tag says."""
        folder = self.bundle(task, seed)
        sha256 = bundle.digest(folder)
        weights = folder / bundle.WEIGHTS
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        version = self.add(task.model, folder, sha256)
        self.point(task.model, version)
        return version

    def _client(self) -> MlflowClient:
        if not self.database.exists():
            whole = self.folder / "whole"
            whole.write_bytes(tables())
            whole.rename(self.database)
        return _opened(self.database)


@cache
def tables() -> bytes:
    """A registry that is empty: MLflow takes seconds to make one."""
    with TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        _opened(database).search_registered_models()
        return database.read_bytes()


def _opened(database: Path) -> MlflowClient:
    uri = f"sqlite:///{database}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[living.Service]:
    """One without keys for all the files that ask for it."""
    with living.running(Archive(tmp_path_factory.mktemp("archive")), tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[guarding.Guarded]:
    """One with keys for all the files that ask for it."""
    with guarding.running(Archive(tmp_path_factory.mktemp("archive")), tmp_path_factory.mktemp("guarded")) as running:
        yield running
