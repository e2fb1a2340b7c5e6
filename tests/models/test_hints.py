import math
from dataclasses import replace

import pytest
import torch

from models.hints import PATCH, Hint, hint_tensor, reveal, simulate

HINT = Hint(x=10.0, y=20.0, a=30.0, b=-40.0, radius=3.0)


def by_hand(hint: Hint, photo: tuple[int, int], working: tuple[int, int]) -> set[tuple[int, int]]:
    """The working pixels of one hint, one at a time."""
    found = {(math.floor(hint.y / photo[0] * working[0]), math.floor(hint.x / photo[1] * working[1]))}
    for row in range(working[0]):
        for column in range(working[1]):
            y, x = (row + 0.5) * photo[0] / working[0], (column + 0.5) * photo[1] / working[1]
            if math.hypot(y - hint.y, x - hint.x) <= hint.radius:
                found.add((row, column))
    return found


@pytest.mark.parametrize(
    ("hint", "photo", "working"),
    [
        (HINT, (40, 30), (40, 30)),
        (HINT, (40, 30), (16, 8)),
        (replace(HINT, radius=12.5), (40, 30), (80, 120)),
        (replace(HINT, x=0.0, y=39.9, radius=5.0), (40, 30), (24, 24)),
    ],
)
def test_a_disc_has_its_colour_and_nothing_else_has(
    hint: Hint, photo: tuple[int, int], working: tuple[int, int]
) -> None:
    tensor = hint_tensor([hint], photo, working)
    assert tensor.shape == (3, *working)
    assert tensor.dtype is torch.float32
    covered = {(int(row), int(column)) for row, column in tensor[2].nonzero()}
    assert covered == by_hand(hint, photo, working)
    expected = torch.tensor([hint.a, hint.b, 1.0])[:, None, None] * (tensor[2] == 1)
    assert torch.equal(tensor, expected)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (999.9, 699.9), (500.0, 350.0), (123.4, 567.8)])
def test_the_smallest_hint_on_a_large_photograph_covers_one_working_pixel(x: float, y: float) -> None:
    tensor = hint_tensor([replace(HINT, x=x, y=y, radius=0.0)], (700, 1000), (32, 48))
    assert tensor[2].nonzero().tolist() == [[int(y * 32 / 700), int(x * 48 / 1000)]]


def test_a_later_hint_lies_over_an_earlier_one() -> None:
    tensor = hint_tensor([HINT, replace(HINT, a=-5.0, radius=0.0)], (40, 30), (40, 30))
    assert tensor[:, 20, 10].tolist() == [-5.0, -40.0, 1.0]
    assert tensor[:, 20, 12].tolist() == [30.0, -40.0, 1.0]


def test_a_hint_of_grey_is_a_hint() -> None:
    tensor = hint_tensor([replace(HINT, a=0.0, b=0.0)], (40, 30), (40, 30))
    assert tensor[2].sum() > 1


def test_no_hints_are_zeros() -> None:
    assert torch.equal(hint_tensor([], (40, 30), (16, 8)), torch.zeros(3, 16, 8))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"x": 30.0}, r"hints\[1\]\.x is 30\.0; it must be from 0 to below 30, the photograph's width"),
        ({"x": -0.1}, r"hints\[1\]\.x is -0\.1"),
        ({"y": 40.0}, r"hints\[1\]\.y is 40\.0; it must be from 0 to below 40, the photograph's height"),
        ({"y": math.nan}, r"hints\[1\]\.y is nan"),
        ({"a": 110.1}, r"hints\[1\]\.a is 110\.1; it must be from -110 to 110"),
        ({"b": -111.0}, r"hints\[1\]\.b is -111\.0; it must be from -110 to 110"),
        ({"radius": -1.0}, r"hints\[1\]\.radius is -1\.0; it must be 0 or more"),
        ({"radius": math.inf}, r"hints\[1\]\.radius is inf"),
    ],
)
def test_what_is_no_hint_is_named(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        hint_tensor([HINT, replace(HINT, **wrong)], (40, 30), (16, 8))


def test_a_simulated_hint_is_the_mean_of_its_square() -> None:
    torch.manual_seed(0)
    ab = torch.randn(40, 2, 32, 24)
    for truth, hint in zip(ab, reveal(ab, [1] * 40), strict=True):
        rows, columns = hint[2].nonzero().T
        side = int(rows.max() - rows.min()) + 1
        assert hint[2].sum() == side * side
        mean = truth[:, rows, columns].mean(dim=1)
        assert torch.allclose(hint[:2, rows, columns], mean[:, None].expand(-1, side * side), atol=1e-5)
        assert not hint[:2, hint[2] == 0].any()


def test_sides_and_places_are_distributed_as_in_the_paper() -> None:
    torch.manual_seed(0)
    mask = reveal(torch.zeros(1800, 2, 64, 128), [1] * 1800)[:, 2]
    sides = mask.sum(dim=(1, 2)).sqrt().long()
    counts = torch.bincount(sides, minlength=PATCH + 1)[1:]
    assert (counts - 200).abs().max() < 60  # 4.5 standard deviations
    for axis, length in ((2, 64), (1, 128)):
        line = mask.amax(dim=axis)  # (1800, length)
        middles = (line * (torch.arange(length) + 0.5)).sum(dim=1) / line.sum(dim=1)
        assert abs(float(middles.mean()) - length / 2) < 0.02 * length
        # A normal of a quarter of the side, clipped at two standard deviations, has 0.96 of it.
        assert abs(float(middles.std()) / length - 0.96 * 0.25 * (length - 4) / length) < 0.015


def test_the_number_of_hints_is_geometric_and_some_photographs_are_revealed() -> None:
    torch.manual_seed(0)
    ab = torch.randn(3000, 2, 16, 16)
    hints = simulate(ab, hints=1.0, revealed=0.2)
    everything = (hints[:, 2] == 1).all(dim=2).all(dim=1)
    nothing = (hints[:, 2] == 0).all(dim=2).all(dim=1)
    assert abs(float(everything.float().mean()) - 0.2) < 0.03
    assert abs(float(nothing.float().mean()) - 0.8 * 0.5) < 0.04  # geometric of p = 1 / (1 + 1)
    assert torch.equal(hints[everything, :2], ab[everything])


def test_a_mean_of_seven_hints_is_the_papers_one_in_eight_without_any() -> None:
    torch.manual_seed(0)
    hints = simulate(torch.ones(1500, 2, 8, 8), hints=7.0, revealed=0.0)
    assert abs(float((hints[:, 2].sum(dim=(1, 2)) == 0).float().mean()) - 1 / 8) < 0.035


def test_simulated_hints_are_a_function_of_torchs_seed() -> None:
    ab = torch.randn(4, 2, 32, 32)
    torch.manual_seed(5)
    first, second = simulate(ab, 7.0, 0.01), simulate(ab, 7.0, 0.01)
    torch.manual_seed(5)
    assert torch.equal(simulate(ab, 7.0, 0.01), first)
    assert not torch.equal(first, second)


def test_hints_from_a_generator_of_ones_own_leave_torchs_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    reveal(torch.zeros(2, 2, 32, 32), [3, 0], torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_as_many_hints_as_counted() -> None:
    torch.manual_seed(0)
    hints = reveal(torch.ones(3, 2, 256, 256), [0, 1, 30])
    assert hints[0].sum() == 0
    assert hints[1, 2].sum() <= PATCH**2
    assert hints[2, 2].sum() > 30
