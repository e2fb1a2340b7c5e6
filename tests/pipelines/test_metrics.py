import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pipelines import metrics


def noise(seed: int, height: int = 40, width: int = 33) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def near(truth: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    change = np.random.default_rng(seed).normal(0, 20, truth.shape)
    return np.clip(truth + change, 0, 255).astype(np.uint8)


def test_psnr_is_scikit_images() -> None:
    truth = noise(1)
    photo = near(truth, 2)
    expected = peak_signal_noise_ratio(truth, photo, data_range=255)  # type: ignore[no-untyped-call]
    assert metrics.psnr(photo, truth) == pytest.approx(expected)


def test_psnr_of_equal_pictures_is_the_ceiling() -> None:
    assert metrics.psnr(noise(1), noise(1)) == 100.0


def test_psnr_closed_form() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert metrics.psnr(black + np.uint8(255), black) == 0.0
    assert metrics.psnr(black + np.uint8(1), black) == pytest.approx(20 * math.log10(255))


@pytest.mark.parametrize(("height", "width"), [(40, 33), (11, 64)])
def test_ssim_is_scikit_images_with_wangs_settings(height: int, width: int) -> None:
    truth = noise(1, height, width)
    photo = near(truth, 2)
    expected = structural_similarity(  # type: ignore[no-untyped-call]
        truth, photo, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim(photo, truth) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_equal_pictures_is_one() -> None:
    assert metrics.ssim(noise(1), noise(1)) == pytest.approx(1.0)


def test_ssim_refuses_a_picture_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="40 x 10; SSIM needs 11"):
        metrics.ssim(noise(1, 10, 40), noise(1, 10, 40))


def test_colourfulness_of_grey_is_zero() -> None:
    grey = np.repeat(noise(1)[:, :, :1], 3, axis=2)
    assert metrics.colourfulness(grey) == 0.0


def test_colourfulness_closed_form() -> None:
    half = np.zeros((2, 2, 3), np.uint8)
    half[0] = (100, 0, 0)  # red - green 100 and 0: mean 50, spread 50; yellow - blue 50 and 0: mean 25, spread 25
    assert metrics.colourfulness(half) == pytest.approx(1.3 * math.hypot(50, 25))


def test_colourfulness_is_signed() -> None:
    opposite = np.zeros((2, 2, 3), np.uint8)
    opposite[0], opposite[1] = (100, 0, 50), (0, 100, 50)  # red - green 100 and -100: an unsigned form sees no spread
    assert metrics.colourfulness(opposite) == pytest.approx(100.0)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(40, 33, 3\) and its truth \(33, 40, 3\)"):
        metrics.psnr(noise(1), noise(1, 33, 40))


def test_score_measures_the_destroyed_pixels_alone() -> None:
    truth, mask = noise(1), np.zeros((40, 33), bool)
    mask[:10] = True
    photo = truth.copy()
    photo[mask] = near(truth, 2)[mask]
    scores = metrics.score(photo, truth, mask)
    assert scores.psnr_inside == pytest.approx(scores.psnr + 10 * math.log10(0.25))
    assert math.isnan(metrics.score(photo, truth, np.zeros_like(mask)).psnr_inside)
