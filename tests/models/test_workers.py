"""Every recipe under DistributedDataParallel, in real processes over gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
COMMON: dict[str, Any] = {
    "epochs": 1,
    "width": 2,
    "dropout": 0.0,
    "l1": 100.0,
    "learning_rate": 0.00002,  # Adam turns a rounding error in a gradient near 0 into a step of this size
    "beta1": 0.5,
    "average": 0.5,
}
PIX2PIX = COMMON | {"discriminator_epochs": 1, "fooled_below": 0.1}
COLORGAN = COMMON | {"backbone_weights": "", "backbone_sha256": "", "backbone_epochs": 1, "l1_epochs": 1}
RECIPES = {
    "pix2pix": ("pix2pix", PIX2PIX),
    "colorgan": ("colorgan", COLORGAN | {"generator": "resnet18"}),
    "colorgan-unet": ("colorgan", COLORGAN | {"generator": "unet"}),
}
SIZES = {"batch": 64, "instance": 128}  # an instance norm needs more than one pixel of what is left at the bottom
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    f"{case}-{normalization}": (recipe, params | {"normalization": normalization}, size)
    for case, (recipe, params) in RECIPES.items()
    for normalization, size in SIZES.items()
}
# Each worker of these draws its own noise, hints or places, or has batch norm: one worker and two are not the same.
OTHERS: dict[str, dict[str, Any]] = {
    "sagan": {
        "epochs": 1, "width": 8, "normalization": "batch", "l1": 100.0, "generator_rate": 0.0002,
        "discriminator_rate": 0.0002, "beta1": 0.0, "average": 0.5,
    },
    "scratches": {"epochs": 1, "width": 2, "learning_rate": 0.001, "average": 0.5},
    "latent": {
        "epochs": 1, "scratches_epochs": 1, "autoencoder_epochs": 1, "real": [], "width": 4, "blocks": 1,
        "normalization": "batch", "kl": 0.001, "reconstruction": 10.0, "adversarial": 1.0, "latent_l1": 10.0,
        "feature_matching": 1.0, "l1": 60.0, "learning_rate": 0.0002, "beta1": 0.5, "average": 0.5,
    },
    "colorful": {
        "epochs": 1, "width": 2, "weights": "", "weights_sha256": "", "uniform": 0.5, "temperature": 0.38,
        "learning_rate": 0.001, "weight_decay": 0.0, "average": 0.5,
    },
    "guided": {
        "epochs": 1, "classification_epochs": 1, "width": 2, "hints": 7.0, "revealed": 0.01, "learning_rate": 0.001,
        "classification_learning_rate": 0.001, "average": 0.5, "weights": "", "weights_sha256": "",
    },
    "hypercolumn": {
        "epochs": 1, "width": 2, "hidden": 8, "samples": 16, "bins": 8, "window": 7, "hue": 5.0,
        "chroma_from": "median", "learning_rate": 0.001, "beta1": 0.9, "average": 0.5,
    },
}  # fmt: skip
CASES |= {name: (name, params, 64) for name, params in OTHERS.items()}
Results = list[dict[str, Any]]


def train(world: int, folder: Path, cases: list[str]) -> Results:
    """What each of `world` workers has in the end, by case."""
    told = json.dumps({case: CASES[case] for case in cases})
    script = str(Path(__file__).with_name("worker.py"))
    meeting = str(folder / f"meeting-{world}")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, script, str(rank), str(world), meeting, told, str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=240)
        assert worker.returncode == 0, errors
    return [torch.load(folder / f"{rank}-of-{world}.pt", weights_only=True) for rank in range(world)]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return train(1, tmp_path_factory.mktemp("one"), [f"{case}-instance" for case in RECIPES])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return train(2, tmp_path_factory.mktemp("two"), list(CASES))


@pytest.mark.parametrize("case", sorted(RECIPES))
def test_two_workers_train_what_one_does(case: str, one: Results, two: Results) -> None:
    case = f"{case}-instance"
    alone, pair = one[0][case], [worker[case] for worker in two]
    for step, losses in enumerate(alone["losses"]):
        for name, loss in losses.items():
            mean = sum(worker["losses"][step][name] for worker in pair) / 2
            assert mean == pytest.approx(loss, rel=1e-3), (name, step)
    for name, weight in alone["weights"].items():
        assert torch.equal(pair[0]["weights"][name], pair[1]["weights"][name]), name
        assert (pair[0]["weights"][name] - weight).abs().mean() < 1e-5, name


@pytest.mark.parametrize("case", [*(f"{name}-batch" for name in sorted(RECIPES)), *sorted(OTHERS)])
def test_two_workers_have_the_same_weights(case: str, two: Results) -> None:
    """Each worker normalises its own share, and still all have the same weights."""
    first, second = (worker[case] for worker in two)
    for name, weight in first["weights"].items():
        if not name.endswith(("running_mean", "running_var")):
            assert torch.equal(weight, second["weights"][name]), name
    assert first["losses"] != second["losses"]
