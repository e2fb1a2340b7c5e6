import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from models import bundle
from pipelines import train
from pipelines.loop import DivergedError
from pipelines.stage import StageError
from tests.pipelines import trial

BARE = ("-m", "pipelines.train", "pix2pix", "--bare")
# Packages that a GPU machine for bare trainings need not have.
WITHOUT = """
import importlib.machinery, runpy, sys
absent = {"ray", "mlflow", "pandas", "dvc", "fastapi", "starlette"}
finder = importlib.machinery.PathFinder
there = finder.find_spec
finder.find_spec = lambda name, *more: None if name.partition(".")[0] in absent else there(name, *more)
sys.argv = ["pipelines.train", "pix2pix", "--bare"]
runpy.run_module("pipelines.train", run_name="__main__")
"""


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_bare_training_needs_neither_ray_nor_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = trial.set_up(tmp_path)
    status, said = trial.run(folder, "-c", WITHOUT)
    assert status == 0, said
    assert "step" in said

    config, _ = bundle.load(folder / "build/bundles/pix2pix")
    assert (config.recipe, config.task, config.size) == ("pix2pix", "restore", trial.SIZE)
    assert config.run == trial.the_run(folder).name
    assert config.params["width"] == 4
    assert config.params["damage.holes"] == 1.0

    told = trial.losses(folder)
    assert [step for step, _ in told["discriminator/discriminator"]] == [1, 2, 3, 4]
    assert [step for step, _ in told["adversarial/l1"]] == list(range(5, 13))
    assert [step for step, _ in told["adversarial/validation/psnr"]] == [8, 12]
    pictures = sorted(path.name for path in (trial.the_run(folder) / "pictures").iterdir())
    assert pictures == ["adversarial-epoch-001.png", "adversarial-epoch-002.png", "discriminator-epoch-001.png"]

    before = digests(folder / "build/bundles/pix2pix")
    (folder / "build/bundles/pix2pix/config.json").unlink()  # as DVC removes an out before the stage
    monkeypatch.chdir(folder)
    train.train_bare(train.prepare_training("pix2pix"))
    assert "step" not in "".join(capfd.readouterr())
    assert digests(folder / "build/bundles/pix2pix") == before
    assert trial.losses(folder) == told


def train_here(folder: Path, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> Path:
    monkeypatch.chdir(trial.set_up(folder, **changed))
    train.train_bare(train.prepare_training("pix2pix"))
    return folder / "build/bundles/pix2pix"


def test_two_bare_trainings_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (train_here(tmp_path / name, monkeypatch, epochs=1) for name in ("one", "two"))
    assert digests(one) == digests(two)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"batch": 100}, "pix2pix.batch is 100; it must be at most 16"),
        ({"normalization": "instance"}, "pix2pix: size is 64; it must be"),
        ({"data": ["imagenet", "more"]}, "prepared/more/manifest.parquet cannot be read"),
    ],
)
def test_what_cannot_be_trained_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], named: str
) -> None:
    monkeypatch.chdir(trial.set_up(tmp_path, **changed))
    with pytest.raises(StageError, match=re.escape(named)):
        train.prepare_training("pix2pix")


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DivergedError, match="it must be finite"):
        train_here(tmp_path, monkeypatch, learning_rate=1e30)
    assert not (tmp_path / "build/bundles").exists()


def test_two_workers_have_the_losses_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Instance norm, for batch norm on CPUs sees only its worker's share; no dropout, for each worker draws its own;
    # small steps, for Adam makes a whole step of a rounding error in a gradient near 0.
    same: dict[str, Any] = {"normalization": "instance", "dropout": 0.0, "size": 128, "epochs": 1}
    same |= {"learning_rate": 0.00002, "average": 0.5}
    train_here(tmp_path / "one", monkeypatch, **same)
    folder = trial.set_up(tmp_path / "two", **same)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    status, said = trial.run(folder, *launcher, *BARE, OMP_NUM_THREADS="1")
    assert status == 0, said
    one, two = trial.losses(tmp_path / "one"), trial.losses(folder)
    assert set(one) == set(two)
    for name, values in one.items():
        assert [step for step, _ in two[name]] == [step for step, _ in values]
        assert [loss for _, loss in two[name]] == pytest.approx([loss for _, loss in values], rel=1e-4), name
    assert trial.the_run(folder).name == trial.the_run(tmp_path / "one").name
    assert bundle.load(folder / "build/bundles/pix2pix")[0] == bundle.load(tmp_path / "one/build/bundles/pix2pix")[0]
