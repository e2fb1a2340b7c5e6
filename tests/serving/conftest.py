import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from models import bundle
from models.catalogue import CATALOGUE
from models.task import Task
from tests.serving.living import Service, running

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

    def bundle(self, task: Task, seed: int, recipe: str | None = None) -> Path:
        recipe = recipe or RECIPES[task][0]
        keywords = KEYWORDS[recipe]
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

    def release(self, task: Task, seed: int) -> str:
        """A new champion."""
        version = self.add(task.model, self.bundle(task, seed))
        self.point(task.model, version)
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
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all the files that ask for it."""
    with running(Archive(tmp_path_factory.mktemp("archive")), tmp_path_factory.mktemp("service")) as started:
        yield started
