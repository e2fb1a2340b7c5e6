"""`python -m pipelines.train <recipe>`: prepared photographs -> a bundle in build/bundles/<recipe>.

Ray Train starts the workers (`pipelines/workers.py`) and MLflow hears of everything. With `--bare` the same training
runs in this process, without Ray and MLflow and where neither is installed: its metrics and pictures are written
to the run's folder. Started by torchrun, `--bare` uses every GPU that torchrun gives it.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import distributed

from models.catalogue import CATALOGUE
from models.task import Task
from pipelines import place
from pipelines.diary import Diary, Journals
from pipelines.identity import all_params, params_hash, run_name
from pipelines.job import Job, build, work
from pipelines.locks import held
from pipelines.loop import DivergedError
from pipelines.params import RecipeSection, damage_params, recipe_params
from pipelines.photos import Photographs, data_hashes, steps_per_epoch
from pipelines.stage import StageError, stage

BUILD = Path("build")


def main() -> None:
    """Train one recipe of the catalogue."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.train", description=__doc__)
    parser.add_argument("recipe", help="a recipe of models/catalogue.py: " + ", ".join(sorted(CATALOGUE)))
    parser.add_argument("--bare", action="store_true", help="in this process, without Ray and MLflow")
    arguments = parser.parse_args()
    first = int(os.environ.get("RANK", "0")) == 0  # torchrun's other processes are the same stage
    with stage(f"train@{arguments.recipe}") if first else nullcontext():
        training = prepare_training(arguments.recipe)
        with held(training.job.folder / "lock", f"training {training.job.run}") if first else nullcontext():
            try:
                (train_bare if arguments.bare else train_tracked)(training)
            except DivergedError as error:
                raise StageError(str(error)) from error


@dataclass(frozen=True)
class Training:
    """A job and its photographs."""

    job: Job
    photographs: Photographs
    validation: Photographs


def prepare_training(recipe: str) -> Training:
    """What params.yaml and the prepared sets say is to be trained; ParamsError or StageError where it cannot be."""
    section = recipe_params(recipe)
    entry = CATALOGUE[recipe]
    damage = damage_params() if entry.task in (Task.RESTORE, Task.DETECT) else None
    sets, real = _sets(section.training.data), _real(section)
    data = data_hashes([*sets, *real])
    run = run_name(recipe, section, damage, data)
    job = Job(
        recipe=recipe,
        section=section,
        damage=damage,
        data=data,
        manifests={folder.name: folder / "manifest.parquet" for folder in (*sets, *real)},
        run=run,
        folder=BUILD.absolute() / "runs" / run,
        bundle=BUILD.absolute() / "bundles" / recipe,
        curves=BUILD.absolute() / "curves" / recipe,
        palette=BUILD.absolute() / "palettes" / recipe if entry.palette else None,
    )
    old = Photographs.open(real, "train") if real else None
    training = Training(
        job,
        replace(Photographs.open(sets, "train"), real=old),
        replace(Photographs.open(sets, "validation"), real=old),
    )
    _check(training)
    return training


def _sets(names: Sequence[str]) -> list[Path]:
    return [BUILD.absolute() / "prepared" / name for name in names]


def _real(section: RecipeSection) -> list[Path]:
    """The sets of genuine old photographs that the recipe asks for and that hold some."""
    asked = _sets(getattr(section.recipe, "real", ()))
    found = [folder for folder in asked if any(folder.glob("shard-*.arrow"))]
    for folder in asked:
        if folder not in found:
            print(f"data/{folder.name} holds no photographs: training goes on with made damage alone", file=sys.stderr)
    return found


def train_bare(training: Training) -> None:
    """Train in this process, or in this and its fellows where torchrun started it."""
    place.tune(place.cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    with _place() as here:
        diary = Diary(training.job.folder, pictures=True) if here.rank == 0 else None
        work(training.job, training.photographs, training.validation, here, diary)


def train_tracked(training: Training) -> None:
    """Train under Ray Train with a run in MLflow; a training that has ended only writes its bundle again."""
    from pipelines import tracking, workers  # not for a machine that has neither MLflow nor Ray

    job = training.job
    description = tracking.Description(
        run=job.run,
        recipe=job.recipe,
        stage=f"train@{job.recipe}",
        params=all_params(job.section, job.damage),
        params_hash=params_hash(job.section, job.damage),
        data=job.data,
        manifests=job.manifests,
        folder=job.folder,
    )
    with tracking.training_run(description) as run_id:
        address = tracking.address()
        if job.finished.exists() or not CATALOGUE[job.recipe].learns:
            place.tune(place.cores())
            journal = Journals(tracking.Tracker(address, run_id), Diary(job.folder, pictures=False))
            work(job, training.photographs, training.validation, place.alone(), journal)
        else:
            workers.fit(job, training.photographs, training.validation, address, run_id)


def _check(training: Training) -> None:
    """What can be known to be impossible before any worker starts."""
    recipe, batch = training.job.recipe, training.job.section.training.batch
    photographs = len(training.photographs)
    if training.photographs.paired != (CATALOGUE[recipe].task is Task.TRANSLATE):
        wanted = "pairs" if CATALOGUE[recipe].task is Task.TRANSLATE else "photographs that are no pairs"
        raise StageError(f"{recipe}.data is {', '.join(training.job.section.training.data)}; it must name {wanted}")
    if steps_per_epoch(photographs, batch) == 0:
        raise StageError(f"{recipe}.batch is {batch}; it must be at most {photographs}, the training photographs")
    build(training.job, training.photographs)


@contextmanager
def _place() -> Iterator[place.Place]:
    if "WORLD_SIZE" not in os.environ:
        yield place.alone()
        return
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield place.among_workers(device)
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
