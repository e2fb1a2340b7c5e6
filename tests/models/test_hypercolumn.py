import math
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.color import lab_to_rgb, rgb_to_lab
from models.histograms import CHROMA, FADING, HistogramLoss, decode, hue_and_chroma, local_histograms
from models.hypercolumn import Hypercolumn, HypercolumnParams, Hypercolumns, Trunk, even_places, network, random_places
from models.recipe import Batch, Recipe, Setting

TINY = HypercolumnParams(
    epochs=1,
    width=2,
    hidden=8,
    samples=16,
    bins=8,
    window=3,
    hue=5.0,
    chroma_from="median",
    learning_rate=0.001,
    beta1=0.9,
    average=0.0,
)


def batch(photographs: int = 2, size: int = 64, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    spots = torch.rand(photographs, 3, 4, 4, generator=generator)
    clean = functional.interpolate(spots, size, mode="bilinear")
    return Batch(clean, clean, torch.zeros(photographs, 1, size, size), torch.zeros(photographs, 0))


def made(params: HypercolumnParams = TINY) -> Hypercolumn:
    torch.manual_seed(0)
    return Hypercolumn(params, Setting(classes=0, size=64))


def settled(network: Hypercolumns) -> Hypercolumns:
    """In eval mode, with running statistics that are not those it started with."""
    with torch.no_grad():
        for _ in range(5):
            network.train()(torch.rand(2, 1, 64, 64) * 2 - 1, torch.zeros(2, 1, 2, dtype=torch.long))
    return network.eval()


@pytest.fixture
def small() -> Hypercolumns:
    torch.manual_seed(0)
    return settled(Hypercolumns(width=2, hidden=8, bins=4))


def everywhere(photographs: int, height: int, width: int) -> Tensor:
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).expand(photographs, -1, -1)


def test_the_papers_trunk_layer_by_layer() -> None:
    with torch.device("meta"):
        features = Trunk(64).eval()(torch.empty(1, 1, 256, 256))
    found = [(f.shape[1], 256 // f.shape[2]) for f in features]
    assert found == [
        *[(1, 1)],
        *[(64, 1)] * 2,
        *[(128, 2)] * 2,
        *[(256, 4)] * 3,
        *[(512, 8)] * 3,
        *[(512, 16)] * 3,
        *[(4096, 32)] * 2,
    ]


def test_the_papers_hypercolumn_has_12417_channels() -> None:
    with torch.device("meta"):
        detailed = Hypercolumns(64, 1024, 32)
    assert sum(detailed.trunk.channels) == 12_417
    assert sum(weights_shape(read)[1] for read in detailed.reads) == 12_417
    assert {weights_shape(read)[0] for read in detailed.reads} == {1024}
    assert (detailed.hue.out_channels, detailed.chroma.out_channels) == (32, 32)


def weights_shape(layer: nn.Module) -> torch.Size:
    assert isinstance(layer, nn.Conv2d)
    return layer.weight.shape


def test_conv6_sees_seven_by_seven() -> None:
    kernels = [layer.kernel_size for layer in Trunk(1).modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [(3, 3)] * 13 + [(7, 7), (1, 1)]


def test_the_readers_are_one_layer_over_the_bilinear_hypercolumn(small: Hypercolumns) -> None:
    """Against numpy: the hypercolumn is put together and multiplied by one matrix, as the paper has it."""
    x = torch.rand(1, 1, 64, 96) * 2 - 1
    row, column = 37, 90
    with torch.no_grad():
        features = [f[0].double().numpy() for f in small.trunk(x)]
        found_hue, found_chroma = small(x, torch.tensor([[[row, column]]]))
    hypercolumn = np.concatenate(
        [bilinear(f, (row + 0.5) * f.shape[1] / 64, (column + 0.5) * f.shape[1] / 64) for f in features]
    )
    matrix = np.concatenate([weights(read)[:, :, 0, 0] for read in small.reads], axis=1)
    hidden = np.maximum(matrix @ hypercolumn + small.bias.detach().numpy(), 0)
    for head, found in ((small.hue, found_hue), (small.chroma, found_chroma)):
        assert head.bias is not None
        expected = weights(head)[:, :, 0, 0] @ hidden + head.bias.detach().numpy()
        np.testing.assert_allclose(found[0, :, 0].numpy(), expected, rtol=1e-4, atol=1e-5)


def weights(layer: nn.Module) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    assert isinstance(layer.weight, Tensor)
    return layer.weight.detach().double().numpy()


def bilinear(
    f: np.ndarray[tuple[int, ...], np.dtype[np.float64]], y: float, x: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The value of f (C, h, w) at a point in cells from the upper left corner; cell i's middle is i + 0.5."""
    y, x = (min(max(at - 0.5, 0), side - 1) for at, side in zip((y, x), f.shape[1:], strict=True))
    top, left = int(y), int(x)
    bottom, right = min(top + 1, f.shape[1] - 1), min(left + 1, f.shape[2] - 1)
    above = f[:, top, left] * (left + 1 - x) + f[:, top, right] * (x - left)
    below = f[:, bottom, left] * (left + 1 - x) + f[:, bottom, right] * (x - left)
    result: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = above * (top + 1 - y) + below * (y - top)
    return result


def test_dense_prediction_is_sparse_prediction_at_every_pixel(small: Hypercolumns) -> None:
    x = torch.rand(2, 1, 64, 32) * 2 - 1
    with torch.no_grad():
        for dense, sparse in zip(small.dense(x, 1), small(x, everywhere(2, 64, 32)), strict=True):
            torch.testing.assert_close(dense.flatten(2), sparse, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("detail", [2, 4])
def test_coarser_prediction_is_sparse_prediction_between_pixels(small: Hypercolumns, detail: int) -> None:
    x = torch.rand(2, 1, 32, 64) * 2 - 1
    places = everywhere(2, 32 // detail, 64 // detail) * detail + (detail - 1) / 2
    with torch.no_grad():
        for dense, sparse in zip(small.dense(x, detail), small(x, places), strict=True):
            assert dense.shape == (2, 4, 32 // detail, 64 // detail)
            torch.testing.assert_close(dense.flatten(2), sparse, rtol=1e-4, atol=1e-5)


def test_hue_and_chroma_are_polar() -> None:
    ab = torch.tensor([[55.0, 0.0], [0.0, 110.0], [-11.0, 0.0], [0.0, -1.1]]).T[None, :, None]  # (1, 2, 1, 4)
    hue, chroma = hue_and_chroma(ab)
    torch.testing.assert_close(hue, torch.tensor([[[0.0, 0.25, 0.5, 0.75]]]))
    torch.testing.assert_close(chroma, torch.tensor([[[0.5, 1.0, 0.1, 0.01]]]))


def test_local_histograms_count_the_window_by_hand() -> None:
    values = torch.tensor([[0.0, 0.1, 0.3], [0.5, 0.6, 0.99], [1.0, 0.26, 0.2]])[None]
    places = torch.tensor([[[1, 1], [0, 0]]])
    found = local_histograms(values, places, bins=4, window=3)
    middle = torch.tensor([3, 2, 2, 2]) / 9
    corner = torch.tensor([4 + 2, 0, 2 + 1, 0]) / 9  # rows and columns 0, 0, 1
    torch.testing.assert_close(found, torch.stack((middle, corner), dim=1)[None])


def test_a_window_of_one_is_the_pixels_own_bin() -> None:
    values = torch.rand(2, 8, 8)
    places = everywhere(2, 8, 8)
    found = local_histograms(values, places, bins=32, window=1)
    assert torch.equal(found.argmax(1).view(2, 8, 8), (values * 32).long())
    assert torch.equal(found.max(1).values, torch.ones(2, 64))


def certain(value: float, bins: int) -> Tensor:
    """Logits (1, bins, 1, 1) that are sure of the bin of a value in [0, 1)."""
    logits = torch.full((1, bins, 1, 1), -100.0)
    logits[:, int(value * bins)] = 100.0
    return logits


@pytest.mark.parametrize("chroma_from", ["median", "expectation"])
@pytest.mark.parametrize(("a", "b"), [(40.0, 0.0), (40.0, -1.0), (-20.0, 60.0), (3.0, -80.0), (-50.0, -0.5)])
def test_what_is_sure_decodes_to_within_half_a_bin(chroma_from: str, a: float, b: float) -> None:
    hue, chroma = hue_and_chroma(torch.tensor([a, b])[None, :, None, None])
    found = decode(certain(float(hue), 32), certain(float(chroma), 32), chroma_from)[0, :, 0, 0]
    radius = math.hypot(a, b)
    assert abs(float(found.norm()) - radius) <= CHROMA / 64 + 1e-3
    turned = math.remainder(math.atan2(float(found[1]), float(found[0])) - math.atan2(b, a), 2 * math.pi)
    assert abs(turned) <= math.pi / 32 + 1e-4


def test_chroma_is_median_or_expectation() -> None:
    """Of the shares 0.4, 0.2, 0.1, 0.3 the median lies in the middle of the second bin."""
    chroma = torch.tensor([0.4, 0.2, 0.1, 0.3]).log()[None, :, None, None]
    hue = certain(0.0, 4)
    median = float(decode(hue, chroma, "median").norm()) / CHROMA
    expectation = float(decode(hue, chroma, "expectation").norm()) / CHROMA
    assert median == pytest.approx((1 + 0.1 / 0.2) / 4, abs=1e-5)
    assert expectation == pytest.approx((0.4 * 0.5 + 0.2 * 1.5 + 0.1 * 2.5 + 0.3 * 3.5) / 4, abs=1e-5)


def test_the_mean_of_hues_goes_round_the_circle() -> None:
    """The first and the last bin are neighbours: between them is hue 0, not hue 0.5."""
    hue = torch.full((1, 8, 1, 1), -100.0)
    hue[:, [0, 7]] = 0.0
    a, b = decode(hue, certain(0.5, 8), "expectation")[0, :, 0, 0]
    assert a > 0
    assert abs(float(b)) < 1e-3


def test_unknown_hue_fades_and_little_doubt_does_not() -> None:
    """With |z| below the paper's eta, chroma is multiplied by |z| / eta."""
    opposite = torch.full((1, 4, 1, 1), -100.0)
    opposite[:, 0], opposite[:, 2] = math.log(0.505), math.log(0.495)  # |z| = 0.01
    faded = float(decode(opposite, certain(0.5, 4), "expectation").norm())
    assert faded == pytest.approx(CHROMA * 0.625 * 0.01 / FADING, rel=1e-3)
    opposite[:, 0], opposite[:, 2] = math.log(0.55), math.log(0.45)  # |z| = 0.1
    assert float(decode(opposite, certain(0.5, 4), "expectation").norm()) == pytest.approx(CHROMA * 0.625, rel=1e-3)
    assert torch.equal(decode(torch.zeros(1, 32, 1, 1), certain(0.9, 32), "median").round(), torch.zeros(1, 2, 1, 1))


def test_an_unknown_way_to_decode_is_refused() -> None:
    with pytest.raises(ValueError, match="chroma_from is 'mode'; it must be 'median' or 'expectation'"):
        decode(torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1), "mode")


def test_the_loss_of_knowing_nothing() -> None:
    """Uniform logits against a single bin: ln 32 for chroma, and for hue that times 5 times the chroma."""
    ab = torch.tensor([33.0, 44.0])[None, :, None, None].expand(2, 2, 16, 16)  # chroma 55 of 110
    places = random_places(2, 10, 16, 16)
    uniform = torch.zeros(2, 32, 10)
    losses = HistogramLoss(bins=32, window=7, hue=5.0)((uniform, uniform), ab, places)
    assert float(losses["chroma"]) == pytest.approx(math.log(32), rel=1e-5)
    assert float(losses["hue"]) == pytest.approx(5 * 0.5 * math.log(32), rel=1e-5)
    assert float(losses["histograms"]) == pytest.approx(3.5 * math.log(32), rel=1e-5)


def test_the_loss_of_the_truth_is_nothing_and_grey_has_no_hue() -> None:
    ab = rgb_to_lab(torch.rand(2, 3, 16, 16))[:, 1:]
    places = random_places(2, 10, 16, 16)
    hue, chroma = (local_histograms(values, places, 8, 5).log().clamp(min=-100) for values in hue_and_chroma(ab))
    loss = HistogramLoss(bins=8, window=5, hue=5.0)
    assert float(loss((hue, chroma), ab, places)["histograms"]) == pytest.approx(0, abs=1e-4)
    grey = loss((torch.randn(2, 8, 10), chroma), torch.zeros(2, 2, 16, 16), places)
    assert float(grey["hue"]) == 0


def test_places_are_whole_photographs() -> None:
    torch.manual_seed(0)
    drawn = random_places(3, 5000, 8, 16)
    assert drawn.shape == (3, 5000, 2)
    assert set(drawn[..., 0].flatten().tolist()) == set(range(8))
    assert set(drawn[..., 1].flatten().tolist()) == set(range(16))
    assert not torch.equal(drawn[0], drawn[1])
    torch.manual_seed(0)
    assert torch.equal(random_places(3, 5000, 8, 16), drawn)


def test_even_places_are_always_the_same() -> None:
    found = even_places(2, 5, 32, 64)
    assert found.tolist() == [[[8, 16], [8, 48], [24, 16], [24, 48]]] * 2


def test_the_predictor_takes_lightness_and_gives_ab() -> None:
    colorizer = made().predictor().eval()
    with torch.no_grad():
        ab = colorizer(torch.rand(2, 1, 64, 128) * 100)
    assert colorizer.multiple == 32
    assert ab.shape == (2, 2, 64, 128)
    assert ab.dtype is torch.float32
    assert float(ab.norm(dim=1).max()) <= CHROMA


def test_keywords_build_the_predictor_again_from_a_meta_device() -> None:
    recipe = made(replace(TINY, average=0.9))
    (phase,) = recipe.phases(lambda module: module)
    phase.step(batch())
    with torch.device("meta"):
        again = network(**recipe.network_config())
    again.load_state_dict(recipe.predictor().state_dict(), assign=True)
    lightness = torch.rand(1, 1, 64, 64) * 100
    with torch.no_grad():
        assert torch.equal(again.eval()(lightness), recipe.predictor().eval()(lightness))


@pytest.mark.parametrize(
    ("params", "size", "says"),
    [(TINY, 80, "size is 80; it must be a multiple of 32")],
)
def test_sizes_that_do_not_fit_are_refused(params: HypercolumnParams, size: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Hypercolumn(params, Setting(classes=0, size=size))


def test_a_window_without_a_middle_is_refused() -> None:
    with pytest.raises(ValueError, match="window is 4; it must be odd"):
        replace(TINY, window=4)


def test_the_phase_of_the_paper() -> None:
    recipe: Recipe = made()
    assert [(phase.name, phase.epochs) for phase in recipe.phases(lambda module: module)] == [("histograms", 1)]


def test_it_learns_a_picture_by_heart() -> None:
    recipe = made(replace(TINY, width=4, hidden=64, samples=128, bins=32, learning_rate=0.003))
    (phase,) = recipe.phases(lambda module: module)
    photographs = batch()
    before = phase.validate(photographs)
    for step in range(80):
        torch.manual_seed(step)
        phase.step(photographs)
    after = phase.validate(photographs)
    grey = lab_to_rgb(rgb_to_lab(photographs.clean) * torch.tensor([1.0, 0.0, 0.0])[:, None, None])
    grey_psnr = float(-10 * (grey - photographs.clean).square().mean().log10())
    assert float(after["histograms"]) < float(before["histograms"]) / 2
    assert float(after["psnr"]) > grey_psnr + 3
    assert float(after["l1"]) < float(before["l1"]) / 1.5


def test_validation_learns_nothing_and_needs_no_luck() -> None:
    recipe = made(replace(TINY, average=0.9))
    (phase,) = recipe.phases(lambda module: module)
    phase.step(batch())
    before = {name: value.clone() for name, value in recipe.learner.network.state_dict().items()}
    torch.manual_seed(1)
    first = phase.validate(batch(seed=1))
    torch.manual_seed(2)
    second = phase.validate(batch(seed=1))
    assert set(first) == {"histograms", "hue", "chroma", "l1", "psnr"}
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in recipe.learner.network.state_dict().items())


def losses(recipe: Hypercolumn, steps: range) -> Iterator[float]:
    for step in steps:
        torch.manual_seed(step)
        yield float(recipe.phase.step(batch(seed=step))["histograms"])


def test_a_resumed_training_repeats_itself() -> None:
    params = replace(TINY, average=0.9)
    first = made(params)
    first.phases(lambda module: module)
    list(losses(first, range(3)))
    file = BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    again = Hypercolumn(params, Setting(classes=0, size=64))
    again.phases(lambda module: module)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert list(losses(again, range(3, 6))) == list(losses(first, range(3, 6)))
    for name, value in again.predictor().state_dict().items():
        assert torch.equal(value, first.predictor().state_dict()[name])


def test_every_weight_learns_in_one_forward() -> None:
    """DistributedDataParallel allows neither a second forward nor a weight without a gradient."""
    calls = []

    class Counted(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *inputs: Tensor) -> object:
            calls.append(len(inputs))
            return self.inner(*inputs)

    recipe = made()
    (phase,) = recipe.phases(Counted)
    phase.step(batch())
    assert calls == [2]
    assert all(parameter.grad is not None for parameter in recipe.learner.network.parameters())


def test_bfloat16_loses_little() -> None:
    recipe = made()
    (phase,) = recipe.phases(lambda module: module)
    exact = float(phase.validate(batch())["histograms"])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = phase.validate(batch())
        phase.step(batch())
    assert rounded["histograms"].dtype is torch.float32
    assert float(rounded["histograms"]) == pytest.approx(exact, rel=0.02)
