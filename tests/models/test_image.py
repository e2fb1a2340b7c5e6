from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.image import to_photo, to_tensor


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_survives_the_way_there_and_back(dtype: type) -> None:
    values: NDArray[Any] = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    photo = np.stack([values.reshape(-1, 16)] * 3, axis=-1)
    photo[..., 1] = photo[::-1, :, 1]
    tensor = to_tensor(photo)
    assert tensor.shape == (3, photo.shape[0], 16)
    assert tensor.dtype is torch.float32
    assert (float(tensor.min()), float(tensor.max())) == (0.0, 1.0)
    back = to_photo(tensor, dtype)
    assert back.dtype == dtype
    assert np.array_equal(back, photo)


def test_what_is_out_of_range_is_clamped_and_the_rest_rounded() -> None:
    tensor = torch.tensor([-0.5, 0.4999 / 255, 0.5001 / 255, 1.5]).expand(3, 1, 4)
    assert to_photo(tensor, np.uint8)[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        (np.zeros((4, 4), np.uint8), r"shape is \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"shape is \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape is \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), "depth is float32"),
    ],
)
def test_what_is_no_photograph_is_refused(photo: NDArray[Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        to_tensor(photo)
