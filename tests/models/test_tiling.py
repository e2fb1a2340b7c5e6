from itertools import pairwise

import numpy as np
import pytest
import torch

from models.tiling import Tiling, reflected, starts, weights


@pytest.mark.parametrize("length", [1, 63, 64, 65, 112, 113, 500, 1000])
def test_tiles_cover_a_side_and_overlap_by_a_quarter(length: int) -> None:
    size = 64
    found = starts(length, size)
    assert found[0] == 0
    assert found[-1] == max(0, length - size)
    assert all(later - earlier <= size - size // 4 for earlier, later in pairwise(found))


@pytest.mark.parametrize("length", [1, 50, 64, 65, 200])
def test_shares_add_up_to_one_everywhere_and_change_gently(length: int) -> None:
    total = torch.zeros(length)
    for start, share in zip(starts(length, 64), weights(starts(length, 64), 64, length), strict=True):
        total[start : start + len(share)] += share
        assert len(share) < 2 or share.diff().abs().max() < 0.1
    assert torch.allclose(total, torch.ones(length))


def test_a_short_side_is_reflected_as_often_as_need_be() -> None:
    assert reflected(0, 8, 3).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert reflected(0, 3, 1).tolist() == [0, 0, 0]
    assert reflected(2, 3, 9).tolist() == [2, 3, 4]


def test_masked_pixels_are_white_to_the_network() -> None:
    photo = np.full((10, 20, 3), 51, np.uint8)
    mask = np.zeros((10, 20), bool)
    mask[2:4, 5:8] = True
    (tile,) = Tiling(photo, mask, 32, masked=False).tiles()
    assert tile.shape == (3, 32, 32)
    assert (tile[:, 2:4, 5:8] == 1).all()
    assert (tile[:, :10, :20] == 1).sum() == 3 * 6
    assert photo.max() == 51


def test_a_network_that_asks_for_the_mask_gets_it_below_the_tile() -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:4, 5:8] = True
    (tile,) = Tiling(np.full((10, 20, 3), 51, np.uint8), mask, 32, masked=True).tiles()
    assert tile.shape == (4, 32, 32)
    assert torch.equal(tile[3, :10, :20], torch.from_numpy(mask).float())
    assert (tile[:3, 2:4, 5:8] == 1).all()


def test_a_seam_between_two_answers_is_a_ramp() -> None:
    photo = np.zeros((64, 112, 3), np.uint8)
    tiling = Tiling(photo, None, 64, masked=False)
    answers = iter([torch.zeros(3, 64, 64), torch.ones(3, 64, 64)])
    row = tiling.blend(answers)[30, :, 0].astype(int)
    assert (row[:48] == 0).all()
    assert (row[64:] == 255).all()
    steps = np.diff(row[47:65])
    assert (steps > 0).all()
    assert steps.max() < 2 * 255 / 16
