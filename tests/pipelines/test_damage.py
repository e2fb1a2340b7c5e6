from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.damage import KINDS, TONES, damage, pair
from pipelines.damage_sheet import photographs, sheet
from pipelines.defects import DEFECTS
from pipelines.params import Damage, damage_params
from pipelines.stage import StageError

GENUINE = Path(__file__).resolve().parents[2] / "../shared/photos/imagenet"
DEFAULTS = damage_params(Path(__file__).resolve().parents[2] / "params.yaml")
NOTHING = replace(DEFAULTS, **dict.fromkeys(KINDS, 0.0))
EVERYTHING = replace(DEFAULTS, severity=1.0, **dict.fromkeys(KINDS, 1.0))
CASES = range(8)


def only(kind: str, severity: float = 0.5) -> Damage:
    return replace(NOTHING, severity=severity, **{kind: 1.0})


def scene(height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Smooth, colourful and between 60 and 190, so that every kind can darken it and brighten it."""
    rng = np.random.default_rng(7)
    small = rng.uniform(60, 190, (6, 8, 3)).astype(np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def change(photo: NDArray[np.uint8], params: Damage) -> float:
    """How far the photograph moves, on average over several draws."""
    moved = [np.abs(damage(photo, params, 0, 0, index)[0].astype(int) - photo).mean() for index in CASES]
    return float(np.mean(moved))


def test_kinds_are_those_of_the_params() -> None:
    assert sorted(KINDS) == sorted(set(vars(DEFAULTS)) - {"severity", "monochrome"})
    assert len(KINDS) == len(set(KINDS))


@pytest.mark.parametrize("size", [(32, 32), (33, 200), (300, 47), (256, 256)])
def test_any_shape_keeps_shape_and_type(size: tuple[int, int]) -> None:
    photo = scene(*size)
    for index in range(4):
        damaged, mask = damage(photo, EVERYTHING, 1, 0, index)
        assert damaged.shape == photo.shape
        assert damaged.dtype == np.uint8
        assert mask.shape == size
        assert mask.dtype == np.bool_
        assert 0 < mask.mean() < 1


def test_large_photographs_lose_the_same_share_as_small_ones() -> None:
    params = replace(EVERYTHING, severity=0.5)
    shares = []
    for side in (256, 2000):
        masks = [damage(scene(side, side), params, 1, 0, index)[1] for index in range(3)]
        shares.append(np.mean(masks))
    assert shares[1] == pytest.approx(shares[0], rel=0.3)


def test_same_arguments_same_damage_and_the_input_stays() -> None:
    photo = scene()
    before = photo.copy()
    first, second = (damage(photo, EVERYTHING, 3, 2, 11) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(photo, before)


def test_a_photograph_that_is_read_only_or_a_view_is_taken() -> None:
    wide = scene(96, 256)
    wide.setflags(write=False)
    view = wide[:, ::-2]
    expected, got = damage(np.ascontiguousarray(view), EVERYTHING, 0, 0, 0), damage(view, EVERYTHING, 0, 0, 0)
    np.testing.assert_array_equal(expected[0], got[0])
    assert not np.shares_memory(damage(wide, NOTHING, 0, 0, 0)[0], wide)


@pytest.mark.parametrize("other", [(4, 2, 11), (3, 5, 11), (3, 2, 12)])
def test_seed_epoch_and_index_each_matter(other: tuple[int, int, int]) -> None:
    damaged, mask = damage(scene(), EVERYTHING, 3, 2, 11)
    differs, elsewhere = damage(scene(), EVERYTHING, *other)
    assert (damaged != differs).any()
    assert (mask != elsewhere).any()


def test_threads_give_what_one_thread_gives() -> None:
    photo = scene()

    def draw(index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        return damage(photo, EVERYTHING, 0, index % 3, index)

    serial = [draw(index) for index in range(48)]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(draw, range(48)))
    for (damaged, mask), (other, elsewhere) in zip(serial, threaded, strict=True):
        np.testing.assert_array_equal(damaged, other)
        np.testing.assert_array_equal(mask, elsewhere)


def test_random_numbers_of_others_are_left_alone() -> None:
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    damage(scene(), EVERYTHING, 0, 0, 0)
    assert np.random.random() == expected


@pytest.mark.parametrize("params", [replace(EVERYTHING, severity=0.0), NOTHING], ids=["severity 0", "every kind 0"])
def test_no_damage_is_no_change(params: Damage) -> None:
    photo = scene()
    damaged, mask = damage(photo, params, 0, 0, 0)
    np.testing.assert_array_equal(damaged, photo)
    assert not mask.any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_does_more_when_more_severe(kind: str) -> None:
    changes = [change(scene(), only(kind, severity)) for severity in (0.1, 0.4, 0.7, 1.0)]
    assert 0 < changes[0] < changes[1] < changes[2] < changes[3], changes


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_more_severe_picture_has_the_milder_ones_defects(kind: str) -> None:
    for index in CASES:
        mild, severe = (damage(scene(), only(kind, severity), 0, 0, index)[1] for severity in (0.3, 0.9))
        assert severe[mild].mean() > 0.85
        assert severe.sum() > mild.sum()


def test_jpeg_tells_red_from_blue() -> None:
    damaged, _ = damage(scene(), only("jpeg"), 0, 0, 0)
    bgr = np.ascontiguousarray(scene()[..., ::-1])
    saved = [cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for quality in range(8, 61)]
    opened = [cv2.imdecode(one, cv2.IMREAD_COLOR_RGB) for one in saved]
    assert any(one is not None and np.array_equal(one, damaged) for one in opened)


@pytest.mark.parametrize("kind", TONES)
def test_a_tone_destroys_nothing(kind: str) -> None:
    for index in CASES:
        damaged, mask = damage(scene(), only(kind, 1.0), 0, 0, index)
        assert not mask.any()
        assert (damaged != scene()).any()


@pytest.mark.parametrize("kind", [kind for kind in DEFECTS if kind != "creases"])
@pytest.mark.parametrize("value", [0, 128])
def test_a_defect_changes_its_mask_and_nothing_else(kind: str, value: int) -> None:
    photo = np.full((96, 128, 3), value, np.uint8)
    for index in CASES:
        damaged, mask = damage(photo, only(kind), 0, 0, index)
        changed = (damaged != photo).any(2)
        assert not changed[~mask].any()
        # a tenth of dark dirt over black is less than a grey level, and may not show
        assert changed[mask].mean() > (0.98 if value else 0.8)
    assert mask.any()


def test_a_crease_shades_softly_around_its_core() -> None:
    photo = np.full((128, 128, 3), 128, np.uint8)
    for index in CASES:
        damaged, mask = damage(photo, only("creases", 1.0), 0, 0, index)
        outside = damaged[~mask] / 128
        assert mask.any()
        assert outside.min() >= 0.59
        assert outside.max() <= 1.31
        assert (outside != 1).mean() < 0.75  # most of the picture, far from the folds, is as it was


def test_stains_are_brown_and_spare_most_of_the_picture() -> None:
    photo = np.full((128, 128, 3), 200, np.uint8)
    for index in CASES:
        damaged, _ = damage(photo, only("stains", 1.0), 0, 0, index)
        red, green, blue = damaged[(damaged != photo).any(2)].T.astype(int)
        assert (red >= green - 1).all()
        assert (green >= blue - 1).all()


def test_fading_lifts_black_dulls_white_and_warms() -> None:
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, 32:] = 255
    damaged, _ = damage(photo, only("fading", 1.0), 0, 0, 0)
    black, white = damaged[0, 0].astype(int), damaged[0, -1].astype(int)
    assert (black > 20).all()
    assert (white < 255).all()
    assert black[0] > black[2]
    assert white[0] > white[2]


def test_the_papers_masked_image_is_white_holes_and_the_rest_untouched() -> None:
    for index in CASES:
        damaged, mask = damage(scene(), only("holes"), 0, 0, index)
        assert (damaged[mask] == 255).all()
        np.testing.assert_array_equal(damaged[~mask], scene()[~mask])
        assert 0.001 < mask.mean() < 0.6


def test_turning_a_kind_off_leaves_the_others_where_they_were() -> None:
    both = replace(only("scratches"), corners=1.0)
    scratched, torn = (damage(scene(), only(kind), 0, 0, 5)[1] for kind in ("scratches", "corners"))
    np.testing.assert_array_equal(damage(scene(), both, 0, 0, 5)[1], scratched | torn)


def test_a_kind_strikes_as_often_as_asked() -> None:
    params = replace(NOTHING, holes=0.3)
    struck = np.mean([damage(scene(32, 32), params, 0, 0, index)[1].any() for index in range(600)])
    assert struck == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(
    "photo",
    [np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.uint8), np.zeros((31, 64, 3), np.uint8)],
    ids=["float", "grey", "tiny"],
)
def test_another_array_is_refused_by_name(photo: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"photo is .*; it must be uint8"):
        damage(photo, DEFAULTS, 0, 0, 0)


def test_sheet_holds_every_kind_and_the_mask(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), scene(100 + number, 140))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    photos = photographs(tmp_path)
    assert len(photos) == 3
    board = sheet(photos, replace(DEFAULTS, holes=1.0))
    columns = np.split(board[22:, :], len(KINDS) + 3, axis=1)
    for name, column in zip(KINDS, columns[1:], strict=False):
        assert (column != columns[0]).any(), name
    assert set(np.unique(columns[-1])) == {0, 32, 255}


def test_sheet_without_a_photograph_says_so(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="--photos"):
        photographs(tmp_path)


@pytest.mark.skipif(not GENUINE.is_dir(), reason="no genuine photographs beside this checkout")
def test_genuine_photographs_are_damaged_as_usual() -> None:
    for index, path in enumerate(sorted(GENUINE.rglob("*.JPEG"))[:6]):
        photo = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), np.uint8)
        damaged, mask = damage(photo, DEFAULTS, 0, 0, index)
        assert damaged.shape == photo.shape
        assert mask.mean() < 0.6


def test_a_share_of_the_truths_is_black_and_white() -> None:
    photo, params = scene(), replace(NOTHING, monochrome=0.5)
    truths = [pair(photo, params, 1907, 0, index)[0] for index in range(200)]
    grey = [bool((truth[..., 0] == truth[..., 1]).all() and (truth[..., 1] == truth[..., 2]).all()) for truth in truths]
    assert 70 < sum(grey) < 130
    for truth, is_grey in zip(truths, grey, strict=True):
        assert is_grey or np.array_equal(truth, photo)
    assert np.array_equal(truths[7], pair(photo, params, 1907, 0, 7)[0])


def test_what_is_damaged_is_the_truth() -> None:
    truth, damaged, mask = pair(scene(), replace(DEFAULTS, monochrome=1.0), 1907, 3, 5)
    again, again_mask = damage(truth, DEFAULTS, 1907, 3, 5)
    assert np.array_equal(damaged, again)
    assert np.array_equal(mask, again_mask)
