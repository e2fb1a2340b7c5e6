from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.color import fit_to_gamut, lab_to_rgb, rgb_to_lab
from models.image import to_photo, to_tensor
from models.joining import join_colors, working_lightness, working_shape


def lightness(photo: NDArray[Any]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = rgb_to_lab(to_tensor(photo)[None])[0, 0].numpy()
    return found


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [
        (1, 1, (128, 128)),
        (50, 40, (160, 128)),
        (300, 1000, (128, 384)),  # no longer than three times the short side
        (1000, 300, (384, 128)),
        (480, 640, (128, 160)),
        (3000, 4000, (128, 160)),
    ],
)
def test_the_short_side_is_the_working_size(height: int, width: int, shape: tuple[int, int]) -> None:
    assert working_shape(height, width, 128, 32) == shape
    assert working_lightness(np.zeros((height, width, 3), np.uint8), 128, 32).shape == (1, *shape)


def test_working_lightness_is_the_photographs() -> None:
    grey = np.repeat(np.linspace(0, 255, 300).astype(np.uint8)[None, :, None], 200, axis=0).repeat(3, axis=2)
    small = working_lightness(grey, 64, 32)[0].numpy()
    expected = np.interp(np.linspace(0, 299, small.shape[1]), np.arange(300), lightness(grey)[0])
    assert np.abs(small[10] - expected).max() < 1


@pytest.mark.parametrize(("dtype", "off"), [(np.uint8, 0.5), (np.uint16, 0.05)])
def test_lightness_is_kept_to_rounding_whatever_the_colours(dtype: type, off: float) -> None:
    random = np.random.default_rng(1)
    photo = random.integers(0, np.iinfo(dtype).max, (200, 300, 3), dtype=dtype, endpoint=True)
    ab = random.uniform(-110, 110, (2, 32, 64)).astype(np.float32)
    joined = join_colors(photo, ab)
    assert joined.shape == photo.shape
    assert joined.dtype == dtype
    assert np.abs(lightness(joined) - lightness(photo)).max() < off


def test_without_colours_it_is_grey() -> None:
    photo = np.random.default_rng(1).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    joined = join_colors(photo, np.zeros((2, 32, 32), np.float32)).astype(int)
    assert np.abs(joined - joined.mean(axis=2, keepdims=True)).max() <= 1


def test_colours_lie_where_they_were_predicted_without_steps() -> None:
    photo = np.full((512, 512, 3), 120, np.uint8)
    ab = np.zeros((2, 8, 8), np.float32)
    ab[0, :, 4:] = 30.0  # red to the right
    joined = join_colors(photo, ab).astype(int)
    redness = joined[..., 0] - joined[..., 1]
    assert redness[:, :160].max() <= 6
    assert redness[:, 352:].min() > 30
    assert np.abs(np.diff(redness, axis=1)).max() <= 4  # blocks would jump by 45
    assert np.abs(np.diff(redness, axis=0)).max() <= 1


def two_colours(height: int, width: int, edge: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Dark green left of a sharp edge and light red right of it, as grey photograph and as true colours (H, W, 2)."""
    photo = np.full((height, width, 3), 60, np.uint8)
    photo[:, edge:] = 190
    ab = np.empty((height, width, 2), np.float32)
    ab[:, :edge], ab[:, edge:] = (-20, 12), (30, 16)
    return photo, ab


@pytest.mark.parametrize("edge", [300, 307, 313])
def test_at_a_sharp_edge_colour_bleeds_less_than_bicubic_lets_it(edge: int) -> None:
    photo, truth = two_colours(400, 600, edge)
    high, wide = working_shape(400, 600, 64, 32)
    small = cv2.resize(truth, (wide, high), interpolation=cv2.INTER_AREA)
    bicubic = cv2.resize(small, (600, 400), interpolation=cv2.INTER_CUBIC)
    joined = join_colors(photo, np.ascontiguousarray(small.transpose(2, 0, 1)))
    found = rgb_to_lab(to_tensor(joined)[None])[0, 1:].permute(1, 2, 0).numpy()
    near = slice(edge - 20, edge + 20)
    bleeding, before = (np.abs(colors - truth)[:, near, 0].mean() for colors in (found, bicubic))
    assert bleeding < 0.6 * before
    assert np.abs(found - truth)[:, : edge - 40].max() < 1.5  # far from the edge nothing changes
    assert np.abs(found - truth)[:, edge + 40 :].max() < 1.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_of_the_photographs_own_size_stay_as_they_are(dtype: type) -> None:
    photo: NDArray[Any] = np.full((48, 64, 3), np.iinfo(dtype).max // 2, dtype)
    photo[:, 32:] //= 2
    ab = np.random.default_rng(2).uniform(-15, 15, (2, 48, 64)).astype(np.float32)
    lab = torch.cat((rgb_to_lab(to_tensor(photo)[None])[:, :1], torch.from_numpy(ab)[None]), dim=1)
    assert np.array_equal(join_colors(photo, ab), to_photo(lab_to_rgb(fit_to_gamut(lab))[0], dtype))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (33, 90), (700, 200)])
def test_any_size_is_joined(shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(1).integers(0, 255, (*shape, 3), dtype=np.uint8)
    joined = join_colors(photo, np.full((2, 64, 96), 20, np.float32))
    assert joined.shape == photo.shape
    assert np.abs(lightness(joined) - lightness(photo)).max() < 0.5


def test_bands_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = np.random.default_rng(1).integers(0, 255, (70, 50, 3), dtype=np.uint8)
    ab = np.random.default_rng(2).uniform(-60, 60, (2, 32, 32)).astype(np.float32)
    whole = join_colors(photo, ab)
    monkeypatch.setattr("models.joining.BAND", 50 * 7)
    assert np.array_equal(join_colors(photo, ab), whole)
