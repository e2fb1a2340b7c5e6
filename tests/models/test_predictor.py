from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import bundle
from models.bundle import Config
from models.catalogue import CATALOGUE
from models.color import rgb_to_lab
from models.hints import Hint
from models.image import to_tensor
from models.predictor import Predictor
from models.task import Task

RESTORE = Config(
    recipe="pix2pix",
    task=Task.RESTORE,
    size=64,
    network={"width": 2, "normalization": "batch", "dropout": 0.5},
    params={},
    data={},
    run="pix2pix-1a2b3c4d5e",
)
COLORIZE = replace(
    RESTORE,
    recipe="colorgan",
    task=Task.COLORIZE,
    network={"generator": "unet", "width": 2, "normalization": "batch", "dropout": 0.5},
)
SHAPES = [(1, 1), (50, 40), (64, 64), (65, 200), (300, 1000)]


class Recorder(nn.Module):
    """Does something simple to every pixel and notes the shapes that it was given."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        return x * self.gain


def photo(shape: tuple[int, int], dtype: type = np.uint8, seed: int = 0) -> NDArray[Any]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (*shape, 3), dtype=dtype, endpoint=True)


def trained(config: Config) -> Predictor:
    torch.manual_seed(0)
    network = CATALOGUE[config.recipe].network(config.network)
    for module in network.modules():  # as if trained: untrained weights answer grey
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.1)
    return Predictor(config, network, batch=4)


def lightness(picture: NDArray[Any]) -> Tensor:
    return rgb_to_lab(to_tensor(picture)[None])[0, 0]


@pytest.mark.parametrize("config", [RESTORE, COLORIZE])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_size_and_depth_comes_back_as_it_went(config: Config, dtype: type) -> None:
    photos = [photo(shape, dtype) for shape in SHAPES]
    originals = [picture.copy() for picture in photos]
    answers = trained(config).predict(photos, [None] * len(photos))
    for answer, picture, original in zip(answers, photos, originals, strict=True):
        assert answer.shape == picture.shape
        assert answer.dtype == dtype
        assert np.array_equal(picture, original)
        assert not np.array_equal(answer, picture)


@pytest.mark.parametrize("config", [RESTORE, COLORIZE])
def test_many_at_once_are_what_each_is_alone(config: Config) -> None:
    predictor = trained(config)
    photos = [photo(shape, seed=seed) for seed, shape in enumerate([*SHAPES, *reversed(SHAPES)])]
    together = predictor.predict(photos, [None] * len(photos))
    for picture, answer in zip(photos, together, strict=True):
        (alone,) = predictor.predict([picture], [None])
        assert np.abs(alone.astype(int) - answer.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_leave_no_trace(shape: tuple[int, int], dtype: type) -> None:
    """A network that changes nothing gives back every bit."""
    picture = photo(shape, dtype)
    (answer,) = Predictor(RESTORE, Recorder(1.0)).predict([picture], [None])
    assert np.array_equal(answer, picture)


def test_tiles_of_several_photographs_share_batches() -> None:
    network = Recorder(1.0)
    Predictor(RESTORE, network, batch=5).predict([photo((64, 112)), photo((30, 30)), photo((112, 112))], [None] * 3)
    assert network.shapes == [(5, 3, 64, 64), (2, 3, 64, 64)]


def test_only_masked_pixels_change() -> None:
    picture = photo((100, 150))
    mask = np.zeros((100, 150), bool)
    mask[20:90, 30:100] = True
    (answer,) = Predictor(RESTORE, Recorder(0.4)).predict([picture], [mask])
    assert np.array_equal(answer[~mask], picture[~mask])
    assert (answer[mask] == 102).all()  # 0.4 of white: what was under the mask is not seen
    (empty,) = Predictor(RESTORE, Recorder(0.4)).predict([picture], [np.zeros_like(mask)])
    assert np.array_equal(empty, picture)


def test_tiles_in_which_nothing_may_change_are_not_worked_on() -> None:
    picture = photo((300, 400))
    mask = np.zeros((300, 400), bool)
    mask[250:260, 350:355] = mask[100, 0] = True
    network, whole = Recorder(0.4), Recorder(0.4)
    (answer,) = Predictor(RESTORE, network, batch=4).predict([picture], [mask])
    Predictor(RESTORE, whole, batch=4).predict([picture], [np.ones_like(mask)])
    assert sum(shape[0] for shape in network.shapes) <= 8 < sum(shape[0] for shape in whole.shapes)
    assert np.array_equal(answer[~mask], picture[~mask])
    assert (answer[mask] == 102).all()


def test_colour_keeps_lightness() -> None:
    for shape in SHAPES:
        picture = photo(shape)
        (answer,) = trained(COLORIZE).predict([picture], [None])
        assert (lightness(answer) - lightness(picture)).abs().max() < 0.5


def test_colour_sees_no_colour() -> None:
    """Two photographs of the same lightness get the same colours."""
    grey = np.repeat(photo((80, 80))[..., :1], 3, axis=2)
    (tinted,) = Predictor(COLORIZE, _Tint()).predict([grey], [None])
    assert not np.array_equal(tinted, grey)
    first, second = trained(COLORIZE).predict([grey, tinted], [None, None])
    assert np.abs(first.astype(int) - second.astype(int)).mean() < 1


class _Tint(nn.Module):
    multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, lightness: Tensor) -> Tensor:
        self.shapes.append(tuple(lightness.shape))
        return torch.tensor([8.0, -6.0]).view(1, 2, 1, 1).expand(len(lightness), 2, *lightness.shape[2:])


def test_working_sides_are_multiples_of_what_the_network_takes() -> None:
    network = _Tint()
    network.multiple = 32
    Predictor(COLORIZE, network).predict([photo((300, 420)), photo((90, 30))], [None, None])
    assert sorted(network.shapes) == [(1, 1, 64, 96), (1, 1, 192, 64)]


def test_no_photographs_is_no_work() -> None:
    assert trained(RESTORE).predict([], []) == []
    assert trained(COLORIZE).predict([], []) == []


def test_a_bundle_predicts_what_its_network_did(tmp_path: Path) -> None:
    predictor = trained(RESTORE)
    bundle.save(tmp_path / "bundle", RESTORE, predictor.network)
    again = Predictor.from_bundle(tmp_path / "bundle")
    assert again.config == RESTORE
    picture = photo((90, 70))
    assert np.array_equal(again.predict([picture], [None])[0], predictor.predict([picture], [None])[0])


@pytest.mark.parametrize(
    ("picture", "mask", "says"),
    [
        (np.zeros((4, 4), np.uint8), None, r"shape is \(4, 4\)"),
        (np.zeros((4, 4, 3), np.float64), None, "depth is float64"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), bool), r"mask's shape is \(4, 5\); it must be .* \(4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), "mask's type is uint8; it must be bool"),
    ],
)
def test_what_cannot_be_predicted_is_named(picture: NDArray[Any], mask: NDArray[Any] | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        trained(RESTORE).predict([picture], [mask])


def test_as_many_masks_as_photographs() -> None:
    with pytest.raises(ValueError, match="1 photographs and 2 masks"):
        trained(RESTORE).predict([photo((4, 4))], [None, None])


def test_a_batch_has_at_least_one() -> None:
    with pytest.raises(ValueError, match="batch is 0"):
        Predictor(RESTORE, Recorder(1.0), batch=0)


class Masked(nn.Module):
    """Paints what the mask says is destroyed black, and half where no one said anything."""

    masked = True

    def forward(self, rgb: Tensor, mask: Tensor | None = None) -> Tensor:
        return rgb / 2 if mask is None else rgb * (1 - mask)


class Hinted(nn.Module):
    """Answers with the hints."""

    hinted = True

    def forward(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        return lightness.new_zeros(len(lightness), 2, *lightness.shape[2:]) if hints is None else hints[:, :2]


class Finder(nn.Module):
    """What is white is destroyed."""

    def forward(self, rgb: Tensor) -> Tensor:
        return (rgb.amin(dim=1, keepdim=True) > 0.99).float()


def test_a_masked_network_is_given_the_mask_where_there_is_one() -> None:
    pictures = [photo((70, 90), seed=seed) for seed in range(2)]
    mask = np.zeros((70, 90), bool)
    mask[20:30, 40:60] = True
    told, untold = Predictor(RESTORE, Masked(), batch=4).predict(pictures, [mask, None])
    assert not told[mask].any()
    np.testing.assert_array_equal(told[~mask], pictures[0][~mask])
    assert np.abs(untold.astype(int) - pictures[1] / 2).max() <= 0.5


def test_hints_reach_the_network_and_no_other_is_given_any() -> None:
    picture = np.full((80, 100, 3), 120, np.uint8)
    hint = Hint(x=75.0, y=20.0, a=40.0, b=-30.0, radius=8.0)
    plain, hinted = Predictor(COLORIZE, Hinted()).predict([picture, picture], [None, None], [[], [hint]])
    np.testing.assert_allclose(plain, picture, atol=1)
    lab = rgb_to_lab(to_tensor(hinted)[None])[0]
    assert lab[1, 20, 75] == pytest.approx(40, abs=3)
    assert lab[2, 20, 75] == pytest.approx(-30, abs=3)
    assert lab[1:, 60, 20].abs().max() < 1
    with pytest.raises(ValueError, match="colorgan takes no colour hints; a recipe that does is guided"):
        trained(COLORIZE).predict([picture], [None], [[hint]])
    with pytest.raises(ValueError, match="there are 1 photographs and 2 lists of hints; give as many"):
        trained(COLORIZE).predict([picture], [None], [[], []])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_detectors_picture_is_white_where_the_photograph_is_destroyed(dtype: type) -> None:
    picture = photo((150, 90), dtype) // 2
    picture[30:40, 20:60] = np.iinfo(dtype).max
    detect = replace(RESTORE, task=Task.DETECT, recipe="scratches", network={"width": 2})
    (found,) = Predictor(detect, Finder()).predict([picture], [None])
    expected = np.zeros_like(picture)
    expected[30:40, 20:60] = np.iinfo(dtype).max
    np.testing.assert_array_equal(found, expected)


def test_what_a_recipe_mends_first_is_not_left_to_its_network() -> None:
    """`classical` has nothing but what is mended first: the network hands it on."""
    config = replace(RESTORE, recipe="classical", network={"method": "telea", "radius": 3})
    picture = np.full((90, 120, 3), 120, np.uint8)
    picture[40:44, 10:100] = 255
    mask = (picture == 255).all(axis=2)
    predictor = Predictor(config, CATALOGUE["classical"].network(config.network))
    (answer,) = predictor.predict([picture], [mask])
    np.testing.assert_allclose(answer, np.full_like(picture, 120), atol=3)
    np.testing.assert_array_equal(answer[~mask], picture[~mask])


@pytest.mark.parametrize(
    ("recipe", "network"),
    [
        ("pix2pix", RESTORE.network),
        ("sagan", {"width": 4, "normalization": "batch"}),
        ("latent", {"width": 4, "blocks": 1, "normalization": "batch"}),
        ("classical", {"method": "navier_stokes", "radius": 3}),
    ],
)
def test_a_found_mask_serves_every_restorer(recipe: str, network: dict[str, Any]) -> None:
    picture = photo((80, 100)) // 2
    picture[30:40, 20:60] = 255
    detect = replace(RESTORE, task=Task.DETECT, recipe="scratches", network={"width": 2})
    (found,) = Predictor(detect, Finder()).predict([picture], [None])
    mask = found[:, :, 0] > 127
    (answer,) = trained(replace(RESTORE, recipe=recipe, network=network)).predict([picture], [mask])
    np.testing.assert_array_equal(answer[~mask], picture[~mask])
    assert (answer[mask] != picture[mask]).any()
