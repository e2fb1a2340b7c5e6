import hashlib
import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.bins import (
    BINS,
    annealed_mean,
    histogram,
    nearest,
    points,
    rebalancing,
    soft_cross_entropy,
    soft_encode,
)
from models.color import rgb_to_lab

PUBLISHED = "2a39983ed60d5b52b717842d56d5f766982289e6d5a609582155f437cecc1045"  # of pts_in_hull.npy's (313, 2) int64


def colors(reach: float = 120.0, height: int = 9, width: int = 7) -> Tensor:
    """Ab of any kind, in sRGB's gamut and out of it."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(2, 2, height, width, generator=generator) * 2 - 1) * reach


def distances(ab: Tensor) -> Tensor:
    """Squared distances to every bin, (B, 313, H, W)."""
    differences = ab[:, None].double() - points().double()[None, :, :, None, None]
    return differences.square().sum(2)


def somewhere() -> Tensor:
    """A palette of the few colours that photographs have."""
    near = (-points().double().square().sum(1) / 800).exp()
    return near / near.sum()


def cell_corners() -> set[tuple[int, int]]:
    """Corners of every 10 x 10 cell of the ab plane that holds a colour of the sRGB cube's surface."""
    sides = torch.linspace(0, 1, 256)
    inside = torch.cartesian_prod(sides, sides)
    faces = [
        torch.cat((inside[:, :axis], torch.full_like(inside[:, :1], end), inside[:, axis:]), dim=1)
        for axis, end in product(range(3), (0.0, 1.0))
    ]
    ab = rgb_to_lab(torch.cat(faces).T[None, :, :, None])[0, 1:, :, 0] / 10
    found = set()
    for a, b in product((torch.floor, torch.ceil), repeat=2):
        corners = (torch.stack((a(ab[0]), b(ab[1])), dim=1) * 10).int()
        found |= {(int(x), int(y)) for x, y in np.unique(corners.numpy(), axis=0)}
    return found


def test_the_bins_are_the_published_ones_in_their_order() -> None:
    assert points().shape == (BINS, 2) == (313, 2)
    assert hashlib.sha256(points().numpy().astype("<i8").tobytes()).hexdigest() == PUBLISHED


def test_all_but_four_are_corners_of_cells_with_srgb_colours() -> None:
    published = {(int(a), int(b)) for a, b in points()}
    found = cell_corners()
    assert found < published
    assert published - found == {(40, 90), (100, -90), (100, -10), (100, 0)}


@pytest.mark.parametrize("neighbours", [1, 5, 10])
def test_nearest_finds_what_looking_at_all_bins_finds(neighbours: int) -> None:
    ab = colors(height=60, width=60)
    indices, found = nearest(ab, neighbours)
    expected = distances(ab).topk(neighbours, dim=1, largest=False)
    assert indices.shape == (2, neighbours, 60, 60)
    torch.testing.assert_close(found.double(), expected.values, atol=1e-2, rtol=1e-5)
    torch.testing.assert_close(distances(ab).gather(1, indices), expected.values, atol=1e-2, rtol=1e-5)


def test_a_bins_own_colour_is_nearest_to_it() -> None:
    indices, found = nearest(points().T[None, :, :, None], 1)
    assert torch.equal(indices.flatten(), torch.arange(BINS))
    assert not found.any()


def test_colours_beyond_everything_have_a_nearest_bin_too() -> None:
    far = torch.tensor([1e4, -1e4])[None, :, None, None]
    assert points()[nearest(far, 1)[0]].flatten().tolist() == [90.0, -110.0]


def test_soft_shares_are_gaussian_in_the_distance() -> None:
    indices, shares = soft_encode(colors(reach=80))
    expected = (-distances(colors(reach=80)).gather(1, indices) / (2 * 5.0**2)).exp()
    expected = expected / expected.sum(1, keepdim=True)
    torch.testing.assert_close(shares.double(), expected, atol=1e-5, rtol=0)
    assert (shares[:, :-1] >= shares[:, 1:]).all()


def test_grey_is_mostly_grey_and_alike_on_four_sides() -> None:
    indices, shares = soft_encode(torch.zeros(1, 2, 1, 1))
    sides = math.exp(-2)  # at 10 Lab units, sigma 5
    assert points()[indices[0, 0, 0, 0]].tolist() == [0.0, 0.0]
    expected = torch.tensor([1.0, sides, sides, sides, sides]) / (1 + 4 * sides)
    torch.testing.assert_close(shares.flatten(), expected)


def test_shares_far_outside_the_gamut_are_numbers() -> None:
    shares = soft_encode(torch.full((1, 2, 1, 1), -120.0))[1]
    assert shares.sum() == pytest.approx(1)


def test_cross_entropy_is_that_of_the_dense_code() -> None:
    logits = torch.randn(2, BINS, 9, 7, generator=torch.Generator().manual_seed(1))
    indices, shares = soft_encode(colors())
    dense = torch.zeros(2, BINS, 9, 7).scatter(1, indices, shares)
    expected = functional.cross_entropy(logits, dense, reduction="none")
    torch.testing.assert_close(soft_cross_entropy(logits, indices, shares), expected)


def test_equal_logits_cost_ln_313() -> None:
    loss = soft_cross_entropy(torch.zeros(2, BINS, 9, 7), *soft_encode(colors()))
    torch.testing.assert_close(loss, torch.full((2, 9, 7), math.log(313)))


def test_temperature_1_gives_the_mean() -> None:
    logits = torch.randn(2, BINS, 3, 4, generator=torch.Generator().manual_seed(1)) * 3
    mean = torch.einsum("bqhw,qc->bchw", logits.double().softmax(1), points().double())
    torch.testing.assert_close(annealed_mean(logits, 1.0).double(), mean, atol=1e-4, rtol=0)


def test_temperature_0_is_the_mode() -> None:
    logits = torch.randn(2, BINS, 3, 4, generator=torch.Generator().manual_seed(1)) * 3
    mode = points()[logits.argmax(1)].movedim(-1, 1)
    torch.testing.assert_close(annealed_mean(logits, 1e-4), mode)


def test_between_them_the_likelier_of_two_gains() -> None:
    """0.8 and 0.2 at 0.38 are 0.8 ** (1 / 0.38) and 0.2 ** (1 / 0.38), scaled to add up to 1 (equation 5)."""
    logits = torch.full((1, BINS, 1, 1), -1e4)
    logits[0, 10], logits[0, 200] = math.log(0.8), math.log(0.2)
    first = 0.8 ** (1 / 0.38) / (0.8 ** (1 / 0.38) + 0.2 ** (1 / 0.38))
    expected = first * points()[10] + (1 - first) * points()[200]
    torch.testing.assert_close(annealed_mean(logits).flatten(), expected, atol=1e-3, rtol=0)


def test_autocast_does_not_round_colours() -> None:
    logits = torch.randn(1, BINS, 3, 4, generator=torch.Generator().manual_seed(1))
    expected, code = annealed_mean(logits), soft_encode(colors())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(annealed_mean(logits), expected)
        assert all(torch.equal(a, b) for a, b in zip(soft_encode(colors()), code, strict=True))
        assert soft_cross_entropy(logits.bfloat16(), *soft_encode(torch.zeros(1, 2, 3, 4))).dtype is torch.float32


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_none_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature is {temperature}; it must be above 0"):
        annealed_mean(torch.zeros(1, BINS, 1, 1), temperature)


def test_the_histogram_counts_every_pixel_once() -> None:
    counts = histogram(colors())
    expected = np.bincount(distances(colors()).argmin(1).flatten().numpy(), minlength=BINS)
    assert counts.dtype is torch.int64
    np.testing.assert_array_equal(counts.numpy(), expected)


def test_a_pixel_of_the_palette_weighs_1_on_average() -> None:
    for mix in (0.0, 0.5, 1.0):
        assert float((rebalancing(somewhere(), mix).double() * somewhere()).sum()) == pytest.approx(1, abs=1e-6)


def test_without_smoothing_weights_are_reciprocals_of_the_mixture() -> None:
    mixture = 0.5 * somewhere() + 0.5 / BINS
    expected = 1 / mixture / (somewhere() / mixture).sum()
    torch.testing.assert_close(rebalancing(somewhere(), 0.5, sigma=0.1).double(), expected, atol=1e-5, rtol=0)


def test_smoothing_spreads_a_colour_over_its_neighbours() -> None:
    """All mass in grey: its neighbours at 10 and at 14.1 Lab units have exp(-2) and exp(-4) of its own share."""
    grey = int((points() == 0).all(1).nonzero())
    weights = rebalancing(functional.one_hot(torch.tensor(grey), BINS).double(), mix=0.0).double()
    side, corner = (int((points() == torch.tensor(ab)).all(1).nonzero()) for ab in ([10.0, 0.0], [10.0, 10.0]))
    assert float(weights[side] / weights[grey]) == pytest.approx(math.exp(2), rel=1e-4)
    assert float(weights[corner] / weights[grey]) == pytest.approx(math.exp(4), rel=1e-4)


def test_smoothing_at_the_edge_loses_nothing() -> None:
    """(100, -90) has bins on three of its sides: what it keeps and what it gives add up to what it had."""
    edge = int((points() == torch.tensor([100.0, -90.0])).all(1).nonzero())
    weights = rebalancing(functional.one_hot(torch.tensor(edge), BINS).double(), mix=0.5).double()
    spread = (-(points() - points()[edge]).double().square().sum(1) / 50).exp()
    mixture = 0.5 * spread / spread.sum() + 0.5 / BINS
    torch.testing.assert_close(weights, mixture[edge] / mixture, atol=1e-4, rtol=1e-4)


def test_uniform_alone_weighs_all_alike_and_rare_colours_weigh_more() -> None:
    torch.testing.assert_close(rebalancing(somewhere(), mix=1.0), torch.ones(BINS))
    weights = rebalancing(somewhere())
    assert weights[somewhere().argmin()] > 5 * weights[somewhere().argmax()]
    assert float(weights.max() / weights.min()) <= 1 + BINS * float(somewhere().max())


@pytest.mark.parametrize(
    ("palette", "says"),
    [
        (torch.ones(312) / 312, r"shape is \(312,\); it must be \(313,\)"),
        (torch.ones(313), "adds up to 313; it must be shares that add up to 1"),
    ],
)
def test_what_is_no_palette_is_refused(palette: Tensor, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rebalancing(palette)
