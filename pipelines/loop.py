"""The training loop: phases, validation, checkpoints and reports, a function of its arguments.

It is the same code under Ray Train, in a unit test and in a plain process on a bare GPU machine: it knows neither Ray
nor MLflow. What it needs of the world is given to it, and what happens it tells a `Journal`.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.recipe import Batch, Phase, Recipe
from pipelines.checkpoints import Checkpoints
from pipelines.pictures import grid
from pipelines.place import Place
from pipelines.progress import progress


class DivergedError(Exception):
    """A loss that is no number any more; training on would only spoil the checkpoint."""


@dataclass(frozen=True)
class Row:
    """What was measured at one step: losses, or the validation at the end of an epoch."""

    step: int  # counted over all phases
    time: int  # milliseconds since 1970
    values: Mapping[str, float]  # such as `adversarial/generator`, `adversarial/validation/l1`


class Journal(Protocol):
    """Where a training's story is written. Only rank 0 has one."""

    def metrics(self, rows: Sequence[Row]) -> None:
        """Rows in the order of steps, told once the checkpoint that holds them is on disk.

        After a resume the loop may offer rows again; the journal leaves out what it has.
        """

    def picture(self, name: str, picture: NDArray[np.uint8]) -> None:
        """A picture, (H, W, 3) sRGB; told again after a resume, it replaces the first."""


@dataclass(frozen=True)
class Data:
    """The photographs of one worker, on the CPU."""

    epoch: Callable[[int, int], Iterable[Batch]]  # (epoch, first step) -> its batches from there on
    steps: int  # of one epoch
    held_out: Callable[[], Iterable[Batch]]
    examples: Batch  # held-out photographs that are drawn after each epoch


@dataclass(frozen=True)
class Settings:
    """How the loop runs, whatever the recipe."""

    seed: int
    bfloat16: bool
    checkpoint_every: int  # steps


@dataclass(frozen=True)
class Position:
    """The next step to make."""

    phase: int = 0
    epoch: int = 0  # of the phase
    step: int = 0  # of the epoch
    epochs: int = 0  # over all phases, so that no phase sees the damage of another again
    steps: int = 0  # over all phases


def train(
    recipe: Recipe, data: Data, settings: Settings, place: Place, checkpoints: Checkpoints, journal: Journal | None
) -> None:
    """Train `recipe` to its end, from the newest whole checkpoint where there is one.

    Every worker calls it with the same settings; a run that has ended is only restored. The initial weights are the
    recipe's as given. Raises DivergedError where a loss is not finite.
    """
    loop = _Loop(recipe, recipe.phases(place.prepare), data, settings, place, checkpoints, journal)
    loop.resume()
    loop.run()


@dataclass
class _Loop:
    recipe: Recipe
    phases: Sequence[Phase]
    data: Data
    settings: Settings
    place: Place
    checkpoints: Checkpoints
    journal: Journal | None
    at: Position = Position()
    measured: list[tuple[int, int, dict[str, Tensor]]] = field(
        default_factory=list
    )  # this worker's, still on its device
    rows: list[Row] = field(default_factory=list)  # of all workers, not yet in the journal

    def resume(self) -> None:
        state = self.checkpoints.newest_valid()
        if state is None:
            return
        self.recipe.load_state_dict(state["recipe"])
        self.at = Position(**state["position"])
        self._tell([Row(**row) for row in state["rows"]])

    def run(self) -> None:
        while self.at.phase < len(self.phases):
            phase = self.phases[self.at.phase]
            over = self.at.epoch >= phase.epochs
            if not over:
                over = self._epoch(phase) or self.at.epoch >= phase.epochs
            if over:
                self.at = replace(self.at, phase=self.at.phase + 1, epoch=0)
                self._commit()

    def _epoch(self, phase: Phase) -> bool:
        """The rest of an epoch and its validation; whether the phase is finished by it."""
        title = f"{phase.name} {self.at.epoch + 1}/{phase.epochs}"
        with progress(title, self.data.steps, self.at.step, shown=self.place.rank == 0) as shown:
            for batch in self._batches():
                losses = self._step(phase, batch)
                shown.advance(losses)
                if self.at.steps % self.settings.checkpoint_every == 0:
                    self._commit()
        self._settle()
        validation = self._validate(phase)
        named = {f"{phase.name}/validation/{name}": value for name, value in validation.items()}
        self.rows.append(Row(self.at.steps, _now(), named))
        self._draw(f"{phase.name}-epoch-{self.at.epoch + 1:03d}")
        self.at = replace(self.at, epoch=self.at.epoch + 1, step=0, epochs=self.at.epochs + 1)
        return phase.finished(validation)

    def _batches(self) -> Iterable[Batch]:
        if self.at.step == self.data.steps:  # resumed between the last step and the validation
            return ()
        return self.data.epoch(self.at.epochs, self.at.step)

    def _step(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        self._seed()
        with self._autocast():
            losses = phase.step(self._here(batch))
        self.at = replace(self.at, step=self.at.step + 1, steps=self.at.steps + 1)
        self.measured.append((self.at.steps, _now(), {f"{phase.name}/{name}": loss for name, loss in losses.items()}))
        return losses

    def _validate(self, phase: Phase) -> dict[str, float]:
        """The means over all held-out photographs of all workers; the same numbers on every worker."""
        self._seed()
        sums: dict[str, Tensor] = {}
        count = torch.zeros((), dtype=torch.float64, device=self.place.device)
        with torch.no_grad():
            for batch in self.data.held_out():
                with self._autocast():
                    means = phase.validate(self._here(batch))
                count += len(batch.clean)
                for name, mean in means.items():
                    sums[name] = sums.get(name, 0.0) + mean.double() * len(batch.clean)
        names = sorted(sums)
        numbers = torch.stack([*(sums[name] for name in names), count])
        *totals, everything = self.place.total(numbers).tolist()
        return {name: total / everything for name, total in zip(names, totals, strict=True)}

    def _draw(self, name: str) -> None:
        if self.journal is None:
            return
        sheet = grid(self.recipe.predictor(), self.recipe.task, self._here(self.data.examples))
        self.journal.picture(name, sheet)

    def _settle(self) -> None:
        """Turn the measured losses into rows: one sum over the workers for all steps since the last time."""
        if not self.measured:
            return
        flat = torch.stack([losses[name].float() for _, _, losses in self.measured for name in sorted(losses)])
        means = iter((self.place.total(flat) / self.place.world).tolist())
        for step, moment, losses in self.measured:
            row = Row(step, moment, {name: next(means) for name in sorted(losses)})
            _check(row)
            self.rows.append(row)
        self.measured.clear()

    def _commit(self) -> None:
        """Write a checkpoint, then tell the journal what it holds."""
        self._settle()
        if self.place.rank == 0:
            state = {
                "recipe": self.recipe.state_dict(),
                "position": asdict(self.at),
                "rows": [asdict(row) for row in self.rows],
            }
            self.checkpoints.write(self.at.steps, state)
        self._tell(self.rows)
        self.rows = []

    def _tell(self, rows: Sequence[Row]) -> None:
        if self.journal is not None and rows:
            self.journal.metrics(rows)

    def _seed(self) -> None:
        """Dropout is a function of (seed, rank, step), so that a resumed training repeats it exactly."""
        words = np.random.SeedSequence([self.settings.seed, self.place.rank, self.at.steps]).generate_state(
            1, np.uint64
        )
        torch.manual_seed(int(words[0]))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.place.device.type, torch.bfloat16, enabled=self.settings.bfloat16)

    def _here(self, batch: Batch) -> Batch:
        def move(tensor: Tensor) -> Tensor:
            return tensor.to(self.place.device, non_blocking=True)

        real = None if batch.real is None else move(batch.real)
        return Batch(move(batch.clean), move(batch.damaged), move(batch.mask), move(batch.labels), real)


def _check(row: Row) -> None:
    for name, value in row.values.items():
        if not np.isfinite(value):
            raise DivergedError(f"{name} is {value} at step {row.step}; it must be finite: lower the learning rate")


def _now() -> int:
    return time.time_ns() // 1_000_000
