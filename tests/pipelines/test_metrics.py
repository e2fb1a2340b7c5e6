import math
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
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


def by_hand(photo: NDArray[np.uint8], truth: NDArray[np.uint8], scales: int) -> float:
    """MS-SSIM as Wang 2003 writes it, with scipy's filters, of one picture; contrasts must be positive."""
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    weights /= weights.sum()
    channels = []
    for x, y in zip(np.moveaxis(photo.astype(float), -1, 0), np.moveaxis(truth.astype(float), -1, 0), strict=True):
        product = 1.0
        for scale, weight in enumerate(weights):
            if scale:
                x, y = (p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in (x, y))
                x, y = (p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2).mean(axis=(1, 3)) for p in (x, y))
            blur = partial(gaussian_filter, sigma=1.5, radius=5, mode="mirror")
            mx, my = blur(x), blur(y)
            vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
            contrast = (2 * cov + 58.5225) / (vx + vy + 58.5225)
            luminance = (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            seen = contrast[5:-5, 5:-5] if scale < scales - 1 else contrast * luminance  # torchmetrics' borders
            product *= seen.mean() ** weight
        channels.append(product)
    return float(np.mean(channels))


@pytest.mark.parametrize(("side", "scales"), [(256, 5), (128, 4), (64, 3), (40, 2), (20, 1)])
def test_ms_ssim_is_wangs_over_as_many_scales_as_fit(side: int, scales: int) -> None:
    truth = noise(1, side, side + 4)
    photo = near(truth, 2)
    assert metrics.scales(side, side + 4) == scales
    assert metrics.ms_ssim(photo, truth) == pytest.approx(by_hand(photo, truth, scales), abs=1e-5)
    assert metrics.ms_ssim(truth, truth) == pytest.approx(1.0)


@pytest.mark.parametrize(("side", "scales"), [(176, 5), (175, 4), (99, 4), (98, 3), (44, 3), (43, 2), (22, 2), (21, 1)])
def test_the_number_of_scales_is_part_of_ms_ssims_name(side: int, scales: int) -> None:
    assert metrics.ms_ssim_name(side, 300) == ("ms_ssim" if scales == 5 else f"ms_ssim_{scales}_scales")
    assert 0 <= metrics.ms_ssim(noise(1, side, 300), noise(2, side, 300)) < 1


def test_ms_ssim_refuses_a_picture_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="40 x 10; MS-SSIM needs 11"):
        metrics.ms_ssim(noise(1, 10, 40), noise(1, 10, 40))


def test_ssim_inside_is_the_map_over_the_destroyed_pixels() -> None:
    truth, mask = noise(1), np.zeros((40, 33), bool)
    photo = near(truth, 2)
    mask[:20, :9] = True
    _, likeness = structural_similarity(  # type: ignore[no-untyped-call]
        truth,
        photo,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert metrics.ssim_inside(photo, truth, mask) == pytest.approx(likeness[5:20, 5:9].mean(), abs=1e-9)
    assert metrics.score(photo, truth, mask).ssim_inside == metrics.ssim_inside(photo, truth, mask)


def test_ssim_inside_of_nothing_is_not_a_number() -> None:
    edge = np.zeros((40, 33), bool)
    assert math.isnan(metrics.ssim_inside(noise(1), noise(2), edge))
    edge[:5] = True
    assert math.isnan(metrics.ssim_inside(noise(1), noise(2), edge))
