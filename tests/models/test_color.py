import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import color as reference
from torch import Tensor

from models.color import fit_to_gamut, lab_to_rgb, rgb_to_lab
from models.image import to_photo, to_tensor


def cube(steps: int) -> Tensor:
    """All colours on a grid, and all the dark ones, where the curves are straight: (1, 3, n, 1)."""
    axis = torch.cat((torch.linspace(0, 1, steps), torch.linspace(0, 0.06, 6)))
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    return grid.reshape(1, 3, -1, 1)


def as_reference(pictures: Tensor) -> NDArray[np.float64]:
    return pictures[0].permute(1, 2, 0).double().numpy()


def test_lab_is_what_skimage_says() -> None:
    rgb = cube(17)
    expected = reference.rgb2lab(as_reference(rgb))
    assert np.abs(as_reference(rgb_to_lab(rgb)) - expected).max() < 1e-3


def test_rgb_is_what_skimage_says() -> None:
    lab = rgb_to_lab(cube(17))
    expected = reference.lab2rgb(as_reference(lab))
    assert np.abs(as_reference(lab_to_rgb(lab)) - expected).max() < 1e-3


def test_there_and_back() -> None:
    rgb = cube(9)
    assert (lab_to_rgb(rgb_to_lab(rgb)) - rgb).abs().max() < 1e-4


def test_autocast_leaves_the_numbers_alone() -> None:
    rgb = cube(5)
    with torch.autocast("cpu", torch.bfloat16):
        inside = rgb_to_lab(rgb)
        back = lab_to_rgb(inside)
    assert torch.equal(inside, rgb_to_lab(rgb))
    assert torch.equal(back, lab_to_rgb(inside))


def test_gradients_are_finite_at_black_and_white() -> None:
    rgb = torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2).clone().requires_grad_()
    lab_to_rgb(rgb_to_lab(rgb)).sum().backward()  # type: ignore[no-untyped-call]
    assert rgb.grad is not None
    assert rgb.grad.isfinite().all()


def random_lab() -> Tensor:
    """Every L with any a and b, most of which sRGB has not: (1, 3, 101, 400)."""
    ab = torch.rand(1, 2, 101, 400, generator=torch.Generator().manual_seed(1)) * 220 - 110
    lightness = torch.linspace(0, 100, 101)[None, None, :, None].expand(1, 1, 101, 400)
    return torch.cat((lightness, ab), dim=1)


def test_fitting_keeps_lightness_through_eight_bits() -> None:
    lab = random_lab()
    photo = to_photo(lab_to_rgb(fit_to_gamut(lab))[0], np.uint8)
    seen = rgb_to_lab(to_tensor(photo)[None])[:, 0]
    assert (seen - lab[:, 0]).abs().max() < 0.5
    clamped = rgb_to_lab(lab_to_rgb(lab))[:, 0]
    assert (clamped - lab[:, 0]).abs().max() > 10  # what clamping alone would have done


def test_fitting_keeps_hue_and_shrinks_only_as_far_as_needed() -> None:
    lab = random_lab()
    fitted = fit_to_gamut(lab)
    assert torch.equal(fitted[:, 0], lab[:, 0])
    assert (fitted[:, 1:].norm(dim=1) <= lab[:, 1:].norm(dim=1)).all()
    cross = fitted[:, 1] * lab[:, 2] - fitted[:, 2] * lab[:, 1]
    assert cross.abs().max() < 1e-2  # the same direction
    more = torch.cat((fitted[:, :1], fitted[:, 1:] * 1.02), dim=1)
    shrunk = (fitted[:, 1:].norm(dim=1) < lab[:, 1:].norm(dim=1) * 0.97) & (fitted[:, 1:].norm(dim=1) > 5)
    assert shrunk.float().mean() > 0.3
    assert ((rgb_to_lab(lab_to_rgb(more)) - more).abs().amax(dim=1)[shrunk] > 1e-2).float().mean() > 0.99


def test_colours_that_srgb_holds_stay() -> None:
    lab = rgb_to_lab(cube(9))
    assert (fit_to_gamut(lab) - lab).abs().max() < 0.05


@pytest.mark.parametrize("lightness", [0.0, 100.0])
def test_black_and_white_have_no_colour(lightness: float) -> None:
    lab = torch.tensor([lightness, 80.0, -60.0]).view(1, 3, 1, 1)
    rgb = lab_to_rgb(fit_to_gamut(lab))
    assert (rgb - lightness / 100).abs().max() < 1e-2
