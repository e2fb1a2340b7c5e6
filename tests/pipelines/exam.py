"""A tiny line for the tests: prepared sets, frozen sets, untrained bundles; in one folder, which is the current one."""

import hashlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from models import bundle
from models.catalogue import CATALOGUE
from models.task import Task
from pipelines import evaluate, freeze, register
from pipelines.params import Damage, Evaluate, Freeze, Register

SIZE = 64
NETWORKS: dict[str, dict[str, Any]] = {
    "pix2pix": {"width": 4, "normalization": "batch", "dropout": 0.5},
    "colorgan": {"generator": "unet", "width": 4, "normalization": "batch", "dropout": 0.5},
}
PREPARED = Path("build/prepared")


def photograph(seed: int) -> NDArray[np.uint8]:
    """Soft blobs of colour, (64, 64, 3)."""
    blobs = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(blobs, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def prepare(name: str, photographs: int, split: str = "test") -> None:
    """A set as `pipelines/prepare.py` leaves it."""
    rows = []
    for index in range(photographs):
        encoded = freeze.encode(photograph(index))
        content = hashlib.sha256(encoded).hexdigest()
        row = {"index": index, "photo": encoded, "split": split, "labels": ["sea"]}
        rows.append(row | {"source": f"{name}/{index}.png", "sha256": content})
    (PREPARED / name).mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    with pa.OSFile(str(PREPARED / name / "shard-00000.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as to:
        to.write_table(table)
    (PREPARED / name / "manifest.parquet").write_bytes(name.encode())


def damage() -> Damage:
    return Damage(**{field.name: 0.5 for field in fields(Damage)})


def frozen(task: Task, photographs: int = 3, seed: int = 1, folder: Path | None = None) -> dict[str, Any]:
    target = folder or freeze.FROZEN / task
    struck = damage() if task is Task.RESTORE else None
    return freeze.freeze(task, Freeze(["coco"], photographs, seed), struck, PREPARED, target)


def made_bundle(recipe: str, run: str, seed: int = 0, folder: Path | None = None) -> Path:
    """An untrained network's bundle; a seed's run is the same."""
    torch.manual_seed(seed)
    entry, network = CATALOGUE[recipe], NETWORKS[recipe]
    config = bundle.Config(recipe, entry.task, SIZE, network, {"batch": 16, "data": ["coco"]}, {"coco": "abc"}, run)
    target = folder or evaluate.BUNDLES / recipe
    bundle.save(target, config, entry.network(network))
    return target


def evaluated(recipe: str) -> dict[str, Any]:
    task = CATALOGUE[recipe].task
    target = evaluate.EVALUATION / recipe
    return evaluate.evaluate(recipe, Evaluate(2, 2), evaluate.BUNDLES / recipe, freeze.FROZEN / task, target)


def registered(recipe: str, promote: bool = True, margin: float = 0.0) -> dict[str, Any]:
    bundles, evaluation = evaluate.BUNDLES / recipe, evaluate.EVALUATION / recipe
    frozen_set = freeze.FROZEN / CATALOGUE[recipe].task
    return register.register(recipe, Register(promote, margin), 2, bundles, evaluation, frozen_set)
