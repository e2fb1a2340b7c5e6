"""A folder in which a tiny recipe can be trained: prepared photographs and params.yaml."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from pipelines.params import Damage

ROOT = Path(__file__).resolve().parents[2]
SIZE = 64
PIX2PIX: dict[str, Any] = {
    "data": ["imagenet"],
    "batch": 4,
    "seed": 7,
    "epochs": 2,
    "checkpoint_every": 3,
    "precision": "float32",
    "width": 4,
    "normalization": "batch",
    "dropout": 0.5,
    "discriminator_epochs": 1,
    "l1": 100.0,
    "learning_rate": 0.0002,
    "beta1": 0.5,
    "fooled_below": 0.0,
    "average": 0.0,
}
DAMAGE = {field.name: 0.0 for field in fields(Damage)} | {"severity": 0.5, "holes": 1.0}


def photograph(seed: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Soft blobs of colour."""
    blobs = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(blobs, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def set_up(folder: Path, photographs: int = 16, validation: int = 6, size: int = SIZE, **changed: Any) -> Path:
    """Make `folder` one in which pix2pix can be trained, with params.yaml's numbers as `changed`."""
    prepare(folder / "build/prepared/imagenet", photographs, validation, size)
    section = {"pix2pix": PIX2PIX | changed, "damage": DAMAGE}
    (folder / "params.yaml").write_text(yaml.safe_dump(section), encoding="utf-8")
    return folder


def prepare(folder: Path, photographs: int, validation: int, size: int) -> None:
    """A set as `pipelines/prepare.py` leaves it."""
    rows = []
    for index in range(photographs + validation):
        split = "train" if index < photographs else "validation"
        encoded = cv2.imencode(".png", photograph(index, size))[1].tobytes()
        row = {"index": index, "photo": encoded, "split": split, "labels": ["sea" if index % 2 else "sand"]}
        rows.append(row | {"source": f"{index}.png", "sha256": hashlib.sha256(encoded).hexdigest()})
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    with pa.OSFile(str(folder / "shard-00000.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    (folder / "manifest.parquet").write_bytes(repr((photographs, validation, size)).encode())


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`python <arguments>` in the folder, as `dvc repro` would run it."""
    own = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "", "RAY_ADDRESS": "", "AUTOCHROME_WORKERS": ""}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | own | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit status of `python <arguments>` and all that it said."""
    process = start(folder, *arguments, **environment)
    try:
        said, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, said


def the_run(folder: Path) -> Path:
    """The folder of the one run."""
    (only,) = (folder / "build/runs").iterdir()
    return only


def losses(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What a bare training wrote: metric -> (step, value) in the order written."""
    told: dict[str, list[tuple[int, float]]] = {}
    for line in (the_run(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for name, value in row["values"].items():
            told.setdefault(name, []).append((row["step"], value))
    return told
