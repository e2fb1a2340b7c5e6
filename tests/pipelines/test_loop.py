from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.recipe import Batch, Phase, Prepare
from models.task import Task
from pipelines import place
from pipelines.checkpoints import Checkpoints
from pipelines.loop import Data, DivergedError, Row, Settings, train

STEPS = 5
SETTINGS = Settings(seed=3, bfloat16=False, checkpoint_every=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class KilledError(Exception):
    pass


@dataclass
class Repaint:
    """A phase that learns the clean photograph from the damaged one, with dropout."""

    name: str
    network: nn.Module
    shared: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: int
    enough: float
    seen: list[Batch]

    def step(self, batch: Batch) -> dict[str, Tensor]:
        self.seen.append(batch)
        self.network.train()
        loss = (self.shared(batch.damaged) - batch.clean).abs().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"l1": loss.detach()}

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        return {"l1": (self.network.eval()(batch.damaged) - batch.clean).abs().mean()}

    def finished(self, validation: Mapping[str, float]) -> bool:
        return validation["l1"] < self.enough


class Tiny:
    task = Task.RESTORE

    def __init__(self, enough: float = 0.0, dropout: float = 0.5) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Dropout(dropout), nn.Conv2d(8, 3, 1))
        self.enough = enough
        self.seen: list[Batch] = []

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        shared = prepare(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01)
        names = (("first", 2), ("skipped", 0), ("second", 3))
        return [
            Repaint(name, self.network, shared, self.optimizer, epochs, self.enough, self.seen)
            for name, epochs in names
        ]

    def predictor(self) -> nn.Module:
        return self.network

    def network_config(self) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


@dataclass
class Book:
    """A journal that is kept over deaths, as MLflow is."""

    rows: list[Row] = field(default_factory=list)
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    dies_at: int = -1  # before it writes down the metrics of this step

    def metrics(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.step == self.dies_at:
                raise KilledError
            if not any(row.step == old.step and set(row.values) <= set(old.values) for old in self.rows):
                self.rows.append(row)

    def picture(self, name: str, picture: NDArray[np.uint8]) -> None:
        self.pictures[name] = picture

    def losses(self, name: str) -> dict[int, float]:
        return {row.step: row.values[name] for row in self.rows if name in row.values}


def batch(*numbers: int, photographs: int = 4) -> Batch:
    drawn = torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
    clean = torch.rand(photographs, 3, 8, 8, generator=drawn)
    return Batch(clean, clean * 0.5, torch.zeros(photographs, 1, 8, 8), torch.zeros(photographs, 1))


def data(dies_at: int = -1) -> Data:
    """Five batches an epoch, each a function of (epoch, step); dies when it is asked for the step `dies_at` of all."""

    def epoch(number: int, start: int) -> Iterator[Batch]:
        for step in range(start, STEPS):
            if number * STEPS + step == dies_at:
                raise KilledError
            yield batch(number, step)

    return Data(
        epoch=epoch,
        steps=STEPS,
        held_out=lambda: iter([batch(100), batch(101, photographs=1)]),
        examples=batch(100, photographs=2),
    )


def trained(folder: Path, recipe: Tiny, book: Book | None = None, source: Data | None = None) -> Book:
    book = book or Book()
    train(recipe, source or data(), SETTINGS, place.alone(), Checkpoints(folder), book)
    return book


def test_phases_follow_each_other_and_steps_count_on(tmp_path: Path) -> None:
    recipe = Tiny()
    book = trained(tmp_path, recipe)
    assert list(book.losses("first/l1")) == list(range(1, 11))
    assert list(book.losses("second/l1")) == list(range(11, 26))
    assert list(book.losses("second/validation/l1")) == [15, 20, 25]
    assert list(book.pictures) == [f"first-epoch-00{n}" for n in (1, 2)] + [f"second-epoch-00{n}" for n in (1, 2, 3)]
    assert book.pictures["first-epoch-001"].shape == (2 * 8, 3 * 8, 3)
    expected = [batch(epoch, step).clean for epoch in range(5) for step in range(STEPS)]
    assert all(torch.equal(one.clean, other) for one, other in zip(recipe.seen, expected, strict=True))


def test_validation_weighs_by_photographs(tmp_path: Path) -> None:
    recipe = Tiny()
    book = trained(tmp_path, recipe)
    with torch.no_grad():
        errors = [recipe.network.eval()(b.damaged).sub(b.clean).abs() for b in (batch(100), batch(101, photographs=1))]
    assert book.losses("second/validation/l1")[25] == pytest.approx(torch.cat(errors).mean().item(), rel=1e-5)


def test_a_finished_phase_ends_early(tmp_path: Path) -> None:
    book = trained(tmp_path, Tiny(enough=10.0))
    assert list(book.losses("first/l1")) == [1, 2, 3, 4, 5]
    assert list(book.losses("second/l1")) == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("step", [0, 4, 5, 10, 13])
def test_killed_at_a_step_it_ends_as_if_undisturbed(tmp_path: Path, step: int) -> None:
    undisturbed, resumed = Tiny(), Tiny()
    expected = trained(tmp_path / "undisturbed", undisturbed)
    book = Book()
    with pytest.raises(KilledError):
        trained(tmp_path / "killed", Tiny(), book, data(dies_at=step))
    trained(tmp_path / "killed", resumed, book)
    assert_same(book, expected)
    assert_equal(undisturbed, resumed)


@pytest.mark.parametrize("step", [6, 10, 25])
def test_killed_between_checkpoint_and_journal_no_metric_is_lost(tmp_path: Path, step: int) -> None:
    expected = trained(tmp_path / "undisturbed", Tiny())
    book = Book(dies_at=step)
    with pytest.raises(KilledError):
        trained(tmp_path / "killed", Tiny(), book)
    trained(tmp_path / "killed", Tiny(), replace(book, dies_at=-1))
    assert_same(book, expected)


def test_an_ended_training_is_only_restored(tmp_path: Path) -> None:
    first, again = Tiny(), Tiny()
    book = trained(tmp_path, first)
    rows = list(book.rows)
    trained(tmp_path, again, book)
    assert book.rows == rows
    assert again.seen == []
    assert_equal(first, again)


def test_a_half_precision_step_is_one(tmp_path: Path) -> None:
    dtypes: list[torch.dtype] = []
    recipe = Tiny()
    recipe.network[0].register_forward_hook(lambda module, given, made: dtypes.append(made.dtype))
    settings = replace(SETTINGS, bfloat16=True)
    train(recipe, data(), settings, place.alone(), Checkpoints(tmp_path), None)
    assert set(dtypes) == {torch.bfloat16}


@pytest.mark.parametrize("harm", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_saved(tmp_path: Path, harm: float) -> None:
    recipe = Tiny()
    with torch.no_grad():
        next(recipe.network.parameters()).fill_(harm)
    with pytest.raises(DivergedError, match="at step 1; it must be finite"):
        trained(tmp_path, recipe)
    assert Checkpoints(tmp_path).newest_valid() is None


def assert_same(book: Book, expected: Book) -> None:
    """The same metrics at the same steps, each once; to the last bit."""
    told: Callable[[Book], list[tuple[int, dict[str, float]]]] = lambda book: sorted(  # noqa: E731
        ((row.step, dict(row.values)) for row in book.rows), key=lambda row: (row[0], sorted(row[1]))
    )
    assert told(book) == told(expected)


def assert_equal(one: Tiny, other: Tiny) -> None:
    for name, weights in one.network.state_dict().items():
        assert torch.equal(weights, other.network.state_dict()[name]), name
