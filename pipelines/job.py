"""One training as its workers know it, and what each of them does: build, resume, train, leave the bundle."""

from dataclasses import dataclass
from pathlib import Path

import torch

from models import bundle
from models.catalogue import CATALOGUE
from models.recipe import Recipe, Setting
from pipelines.checkpoints import Checkpoints
from pipelines.curves import write_curves
from pipelines.diary import METRICS
from pipelines.identity import all_params
from pipelines.loop import Data, Journal, Settings, train
from pipelines.palette import load_palette
from pipelines.params import Damage, RecipeSection
from pipelines.photos import First, Photographs, batches, held_out, steps_per_epoch
from pipelines.place import Place, bfloat16, cores
from pipelines.stage import StageError, fresh_folder

EXAMPLES = 8  # held-out photographs that are drawn after each epoch


@dataclass(frozen=True)
class Job:
    """What is trained, on what, and where it is left. Paths are absolute."""

    recipe: str
    section: RecipeSection
    damage: Damage | None  # None: the photographs stay as they are
    data: dict[str, str]  # set -> sha256 of its manifest
    manifests: dict[str, Path]
    run: str  # the run's name
    folder: Path  # of the run
    bundle: Path  # the folder of the bundle
    curves: Path  # the folder of the curves that DVC plots
    palette: Path | None  # the folder of the palette, for a recipe that asks for it

    @property
    def finished(self) -> Path:
        """A file that is there once the training has ended."""
        return self.folder / "finished"

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        return Checkpoints(self.folder / "checkpoints")


def build(job: Job, photographs: Photographs) -> Recipe:
    """The recipe with its initial weights, a function of the seed; StageError where its numbers cannot be."""
    setting = Setting(
        classes=len(photographs.classes),
        size=photographs.size,
        palette=None if job.palette is None else load_palette(job.palette, job.data),
        real=photographs.real is not None,
    )
    torch.manual_seed(job.section.training.seed)
    try:
        return CATALOGUE[job.recipe].recipe(job.section.recipe, setting)
    except ValueError as error:
        raise StageError(f"{job.recipe}: {error}") from error


def work(job: Job, photographs: Photographs, validation: Photographs, place: Place, journal: Journal | None) -> None:
    """What every worker does; rank 0, who has a journal, leaves the bundle."""
    training = job.section.training
    recipe = build(job, photographs)
    settings = Settings(training.seed, bfloat16(place.device, training.precision), training.checkpoint_every)
    data = _data(job, _first(job.recipe, recipe), photographs, validation, place)
    train(recipe, data, settings, place, job.checkpoints, journal)
    if place.rank == 0:
        _leave(job, recipe, photographs.size)


def _first(name: str, recipe: Recipe) -> First | None:
    """What the recipe mends before its network sees a photograph, of which training knows no mask either."""
    first, keywords = CATALOGUE[name].first, recipe.network_config()
    return None if first is None else lambda photo: first(photo, None, keywords)[0]


def _data(job: Job, first: First | None, photographs: Photographs, validation: Photographs, place: Place) -> Data:
    training, threads = job.section.training, max(2, cores() // place.world)
    # A share of the held-out photographs for every worker, however few there are.
    share = min(training.batch, len(validation)) // place.world
    if share == 0:
        raise StageError(
            f"{len(validation)} held-out photographs and a batch of {training.batch} for {place.world} workers; "
            "there must be at least one for each"
        )
    return Data(
        epoch=lambda epoch, start: batches(
            photographs,
            damage=job.damage,
            batch=training.batch,
            seed=training.seed,
            epoch=epoch,
            rank=place.rank,
            world=place.world,
            start=start,
            threads=threads,
            first=first,
        ),
        steps=steps_per_epoch(len(photographs), training.batch),
        held_out=lambda: held_out(
            validation,
            damage=job.damage,
            batch=share * place.world,
            seed=training.seed,
            rank=place.rank,
            world=place.world,
            threads=threads,
            first=first,
        ),
        examples=next(held_out(validation, damage=job.damage, batch=EXAMPLES, seed=training.seed, first=first)),
    )


def _leave(job: Job, recipe: Recipe, size: int) -> None:
    network = recipe.predictor().to(device="cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    config = bundle.Config(
        recipe=job.recipe,
        task=recipe.task,
        size=size,
        network=recipe.network_config(),
        params=all_params(job.section, job.damage),
        data=job.data,
        run=job.run,
    )
    bundle.save(job.bundle, config, network)
    if CATALOGUE[job.recipe].learns:
        write_curves(job.folder / METRICS, job.curves)
    else:
        with fresh_folder(job.curves):
            pass  # DVC wants the folder, and there is nothing to draw
    job.finished.touch()
