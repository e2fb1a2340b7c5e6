"""A tiny line for the tests: prepared sets, frozen sets, untrained bundles; in one folder, which is the current one."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from models import bundle
from models.catalogue import CATALOGUE, Entry
from models.task import Task
from pipelines import baselines, evaluate, freeze, register
from pipelines.params import Damage, Evaluate, Freeze, Register

ROOT = Path(__file__).resolve().parents[2]
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


class Gain(nn.Module):
    """A restorer of `darkened` photographs that is as good as its one number is near 2."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


GAIN = Entry(Task.RESTORE, type, lambda params, setting: None, lambda keywords: Gain())  # type: ignore[arg-type,return-value]


def gain_bundle(gain: float, recipe: str = "gain") -> Path:
    """The catalogue must have GAIN as `recipe`."""
    network = Gain()
    network.gain.data.fill_(gain)
    config = bundle.Config(recipe, Task.RESTORE, SIZE, {}, {"gain": gain}, {"coco": "abc"}, f"{recipe}-{gain:g}")
    bundle.save(evaluate.BUNDLES / recipe, config, network)
    return evaluate.BUNDLES / recipe


def darkened(photographs: int = 4, left: float = 0.5) -> None:
    """A frozen set for restorers whose only damage is that but `left` of the light is gone."""
    rows = []
    for number in range(photographs):
        clean = photograph(number)
        dark = np.rint(clean * left).astype(np.uint8)
        row = {"index": number, "clean": freeze.encode(clean), "input": freeze.encode(dark), "labels": ["sea"]}
        mask = freeze.encode(np.zeros((SIZE, SIZE), np.uint8))
        rows.append(row | {"mask": mask, "source": f"coco/{number}.png", "sha256": str(number)})
    target = freeze.folder(Task.RESTORE)
    target.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    with pa.OSFile(str(target / "pairs.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as to:
        to.write_table(table)


def made_bundle(recipe: str, run: str, seed: int = 0, folder: Path | None = None) -> Path:
    """An untrained network's bundle; a seed's run is the same."""
    torch.manual_seed(seed)
    entry, network = CATALOGUE[recipe], NETWORKS[recipe]
    config = bundle.Config(recipe, entry.task, SIZE, network, {"batch": 16, "data": ["coco"]}, {"coco": "abc"}, run)
    target = folder or evaluate.BUNDLES / recipe
    bundle.save(target, config, entry.network(network))
    return target


def evaluate_section() -> dict[str, Any]:
    """Two photographs at a time and in the grid; MobileNetV2 with random weights looks at them."""
    files = ("mobilenet_weights", "mobilenet_sha256", "inception_weights", "inception_sha256", "alexnet_weights")
    return {
        "batch": 2,
        "pictures": 2,
        **dict.fromkeys((*files, "alexnet_sha256", "lpips_heads", "lpips_heads_sha256"), ""),
    }


def register_section(promote: bool = True, unproven: bool = True) -> dict[str, Any]:
    return {"promote": promote, "unproven": unproven, "resamples": 200, "confidence": 0.95, "seed": 1907}


def params_file(folder: Path) -> None:
    """The repository's params.yaml with these sections."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"evaluate": evaluate_section(), "register": register_section()}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def measured(task: Task) -> dict[str, Any]:
    """The task's baselines."""
    target = baselines.BASELINES / task
    return baselines.baselines(task, Evaluate(**evaluate_section()), freeze.folder(task), target)


def evaluated(recipe: str) -> dict[str, Any]:
    """Beside baselines that are measured where this frozen set has none."""
    task = CATALOGUE[recipe].task
    frozen_set, kept = freeze.folder(task), baselines.BASELINES / task
    report = kept / "report.json"
    sha256 = freeze.FrozenSet.open(frozen_set).sha256
    if not report.is_file() or json.loads(report.read_text())["frozen_sha256"] != sha256:
        measured(task)
    bundles, target = evaluate.BUNDLES / recipe, evaluate.EVALUATION / recipe
    return evaluate.evaluate(recipe, Evaluate(**evaluate_section()), bundles, frozen_set, kept, target)


@dataclass(frozen=True)
class Examined:
    """A folder with four photographs frozen for both tasks, baselines and an examined untrained bundle of each."""

    folder: Path
    reports: dict[str, Any]  # by recipe


def examined(folder: Path) -> Examined:
    """Made in the current folder, which is `folder`."""
    prepare("coco", 4)
    reports = {}
    for recipe, task in (("pix2pix", Task.RESTORE), ("colorgan", Task.COLORIZE)):
        frozen(task, photographs=4)
        made_bundle(recipe, f"{recipe}-1")
        reports[recipe] = evaluated(recipe)
    return Examined(folder, reports)


def registered(recipe: str, promote: bool = True, unproven: bool = True) -> dict[str, Any]:
    task = CATALOGUE[recipe].task
    folders = register.Folders(
        bundle=evaluate.BUNDLES / recipe,
        evaluation=evaluate.EVALUATION / recipe,
        baselines=baselines.BASELINES / task,
        frozen=freeze.folder(task),
    )
    params = Register(**register_section(promote, unproven))
    return register.register(recipe, params, Evaluate(**evaluate_section()), folders)
