from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import bundle, classical
from models.bundle import Config
from models.catalogue import CATALOGUE, Entry
from models.classical import (
    Classical,
    ClassicalParams,
    Method,
    Unchanged,
    find_defects,
    inpaint,
    inpaint_small,
    large_parts,
    mend,
    network,
)
from models.predictor import Predictor
from models.recipe import Setting
from models.task import Task

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"
KEYWORDS: dict[str, Any] = {"method": "telea", "radius": 3}


def scene(size: int = 256, seed: int = 0) -> NDArray[np.uint8]:
    """Soft shapes, some edges, and noise of two levels."""
    rng = np.random.default_rng(seed)
    spots = rng.uniform(60, 190, (6, 6, 3)).astype(np.float32)
    picture = cv2.resize(spots, (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        corner, sides = rng.integers(0, size, 2), rng.integers(size // 6, size // 3, 2)
        color = rng.uniform(60, 190, 3).tolist()
        cv2.rectangle(picture, corner.tolist(), (corner + sides).tolist(), color, cv2.FILLED, cv2.LINE_AA)
    return np.asarray(np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255), np.uint8)


def scratched(photo: NDArray[np.uint8], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    damaged, mask = photo.copy(), np.zeros(photo.shape[:2], np.uint8)
    for number in range(8):
        ends = rng.integers(0, len(photo), (2, 2)).tolist()
        cv2.line(damaged, ends[0], ends[1], (20,) * 3 if number % 4 == 0 else (250,) * 3, 1 + number % 2)
        cv2.line(mask, ends[0], ends[1], 255, 1 + number % 2)
    return damaged, mask > 0


@pytest.mark.parametrize("size", [256, 384])
def test_scratches_are_found(size: int) -> None:
    recalls = []
    for seed in range(5):
        damaged, mask = scratched(scene(size, seed), seed)
        found = find_defects(damaged)
        recalls.append((found & mask).sum() / mask.sum())
        rim = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert (found & rim).sum() / found.sum() > 0.8
    assert np.mean(recalls) > 0.7
    assert min(recalls) > 0.5


def test_specks_are_found() -> None:
    photo = scene()
    places = [(40, 50), (120, 200), (210, 90)]
    for place in places:
        cv2.circle(photo, place, 1, (250, 250, 250), cv2.FILLED)
    found = find_defects(photo)
    assert all(found[y, x] for x, y in places)


def test_sixteen_bits_find_what_eight_do() -> None:
    damaged, _ = scratched(scene())
    assert np.array_equal(find_defects(damaged.astype(np.uint16) * 257), find_defects(damaged))


def test_an_even_texture_is_no_defect() -> None:
    """Thresholds follow the picture's own noise and texture, whatever its contrast."""
    y, x = np.mgrid[:256, :256]
    for contrast in (10, 40, 100):
        weave = 128 + contrast * np.sign(np.sin(x * 2.1) * np.sin(y * 1.9))
        assert find_defects(np.repeat(weave[..., None], 3, 2).astype(np.uint8)).mean() < 0.01
        noise = np.random.default_rng(0).normal(128, contrast / 2, (256, 256, 1))
        assert find_defects(np.repeat(noise, 3, 2).clip(0, 255).astype(np.uint8)).mean() < 0.01


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"{PHOTOS} is not here")
@pytest.mark.parametrize("size", [128, 256])
def test_photographs_without_damage_are_left_alone(size: int) -> None:
    files = sorted(PHOTOS.glob("coco/images/*.jpg"))[::25][:40]
    marked = []
    for file in files:
        photo = cv2.imread(str(file))
        assert photo is not None
        side = min(photo.shape[:2])
        square = cv2.resize(photo[:side, :side], (size, size), interpolation=cv2.INTER_AREA)
        marked.append(find_defects(np.asarray(square[:, :, ::-1], np.uint8)).mean())
    assert len(marked) > 10
    assert np.median(marked) < 0.03


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("method", ["telea", "navier_stokes"])
def test_inpainting_fills_the_mask_and_touches_nothing_else(method: str, dtype: type) -> None:
    """A plane is known everywhere: what is filled in must be it again, to a few levels of 255."""
    y, x = np.mgrid[:64, :96]
    top = np.iinfo(dtype).max
    plane: NDArray[Any] = (np.stack((x / 96, y / 64, (x + y) / 160), 2) * top).astype(dtype)
    mask = np.zeros((64, 96), np.bool_)
    mask[20:24, 10:80] = True
    damaged = plane.copy()
    damaged[mask] = top
    before = damaged.copy()
    mended = inpaint(damaged, mask, method, 3)
    assert mended.dtype == dtype
    assert np.array_equal(damaged, before)
    assert np.array_equal(mended[~mask], plane[~mask])
    assert np.abs(mended.astype(float) - plane)[mask].max() / top < 0.04
    if dtype is np.uint16:
        assert len(np.unique(mended[mask] % 257)) > 50  # more than 8 bits of levels


def test_nothing_is_taken_from_what_is_unknown() -> None:
    photo = np.full((40, 40, 3), 100, np.uint8)
    hole, beside = np.zeros((40, 40), np.bool_), np.zeros((40, 40), np.bool_)
    hole[18:20, 5:20], beside[10:30, 20:36] = True, True
    photo[hole | beside] = 255
    assert inpaint(photo, hole, "telea", 3)[hole].max() > 150  # white has run in
    assert inpaint(photo, hole, "telea", 3, beside)[hole].max() <= 103
    assert (inpaint(photo, hole, "telea", 3, beside)[beside & ~hole] == 255).all()


def test_what_cannot_be_inpainted_is_refused() -> None:
    photo, mask = scene(64), np.zeros((64, 64), np.bool_)
    with pytest.raises(ValueError, match="method is 'magic'; it must be 'telea' or 'navier_stokes'"):
        inpaint(photo, mask, "magic", 3)
    with pytest.raises(ValueError, match=r"mask is bool \(64, 63\); it must be bool \(64, 64\)"):
        inpaint(photo, mask[:, :63], "telea", 3)
    with pytest.raises(ValueError, match="the mask is the whole photograph"):
        inpaint(photo, ~mask, "telea", 3)


def test_small_damage_is_mended_and_large_left() -> None:
    photo, mask = scene(), np.zeros((256, 256), np.bool_)
    mask[100:160, 100:160] = True  # a hole
    scratch, speck = np.zeros_like(mask), np.zeros_like(mask)
    scratch[40:43, 20:230], speck[200:204, 50:54] = True, True
    bridge = np.zeros_like(mask)
    bridge[60:96, 128:131] = True  # grows out of the hole's rim
    hole, every = mask, mask | scratch | speck | bridge
    damaged = photo.copy()
    damaged[every] = 255
    mended, left = inpaint_small(damaged, every, {"width": 16})
    assert left is not None
    assert np.array_equal(left, hole)
    assert np.array_equal(mended[left], damaged[left])
    assert np.array_equal(mended[~every], photo[~every])
    small = every & ~hole
    error = np.abs(mended.astype(float) - photo)[small].mean()
    assert error < 0.2 * np.abs(damaged.astype(float) - photo)[small].mean()


def test_large_parts_keep_their_corners() -> None:
    mask = np.zeros((200, 200), np.bool_)
    mask[20:60, 30:90] = True
    assert np.array_equal(large_parts(mask), mask)
    assert not large_parts(np.zeros((200, 200), np.bool_)).any()


def test_without_a_mask_the_found_is_mended() -> None:
    photo = scene()
    damaged, mask = scratched(photo)
    for mended, left in (inpaint_small(damaged, None, {}), mend(damaged, None, KEYWORDS)):
        assert left is None
        before, after = (np.abs(picture.astype(float) - photo)[mask].mean() for picture in (damaged, mended))
        assert after < 0.5 * before


def test_a_mask_is_mended_whole() -> None:
    photo, mask = scene(), np.zeros((256, 256), np.bool_)
    mask[100:160, 100:160] = True
    mended, left = mend(np.where(mask[..., None], np.uint8(255), photo), mask, KEYWORDS)
    assert left is not None
    assert not left.any()
    assert mended[mask].max() < 255
    assert np.array_equal(mended[~mask], photo[~mask])


@pytest.mark.parametrize("method", ["telea", "navier_stokes"])
def test_the_recipe_is_a_bundle_without_weights(
    method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Classical(ClassicalParams(method, 2), Setting(0, 64))
    assert recipe.phases(lambda module: module) == ()
    recipe.load_state_dict(recipe.state_dict())
    entry = Entry(Task.RESTORE, ClassicalParams, Classical, lambda keywords: network(**keywords), mend)
    monkeypatch.setitem(CATALOGUE, "classical", entry)
    config = Config("classical", Task.RESTORE, 64, recipe.network_config(), {}, {}, "classical-0")
    bundle.save(tmp_path / "bundle", config, recipe.predictor())
    loaded, again = bundle.load(tmp_path / "bundle")
    assert loaded == config
    assert isinstance(again, Unchanged)
    damaged, mask = scratched(scene(100))
    for photo in (damaged, damaged.astype(np.uint16) * 257 + 3):
        (restored,) = Predictor.from_bundle(tmp_path / "bundle").predict([photo], [mask])
        assert np.array_equal(restored, inpaint(photo, mask, method, 2))
        (found,) = Predictor.from_bundle(tmp_path / "bundle").predict([photo], [None])
        assert np.array_equal(found, inpaint(photo, find_defects(photo), method, 2))


def test_the_network_changes_nothing() -> None:
    rgb = torch.rand(1, 3, 5, 7)
    assert torch.equal(classical.network("telea", 3)(rgb), rgb)
