import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import nn

from models.bundle import Config
from models.catalogue import CATALOGUE
from models.predictor import Predictor
from models.task import Task
from serving.photo import Format, Photo, decode, encode
from tests.serving.files import ADOBE, ADOBE_COLUMNS, GREY, MOST, SRGB, file, gradient, lightness, vips

OLD = Path(__file__).parents[3] / "shared" / "photos" / "old"


def adobe_to_srgb(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """By the definitions, as shares of full; not clipped."""
    srgb_columns = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
    linear = (pixels / np.iinfo(pixels.dtype).max) ** 2.19921875
    mixed = np.einsum("ij,hwj->hwi", np.linalg.inv(srgb_columns) @ ADOBE_COLUMNS, linear).clip(0)
    return np.asarray(np.where(mixed > 0.0031308, 1.055 * mixed ** (1 / 2.4) - 0.055, mixed * 12.92))


def adobe_lightness(pixels: NDArray[Any]) -> NDArray[np.float64]:
    y = ((pixels / np.iinfo(pixels.dtype).max) ** 2.19921875) @ ADOBE_COLUMNS[1]
    return np.asarray(np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y))


def muted(deep: bool) -> NDArray[Any]:
    """Colours that Adobe RGB and sRGB both hold."""
    top, dtype = (65535, np.uint16) if deep else (255, np.uint8)
    random = np.random.default_rng(0)
    light, tint = random.uniform(0, 1, (100, 100, 1)), random.uniform(-0.1, 0.1, (100, 100, 3))
    return ((light + tint * light * (1 - light)) * top).round().astype(dtype)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted_and_answered_as_srgb(kind: str) -> None:
    red = Image.new("RGB", (32, 32), (220, 30, 30)).convert("CMYK")
    photo = decode(file(red, kind), MOST)
    assert np.abs(photo.pixels.mean((0, 1)) - (220, 30, 30)).max() < 30  # by libvips' press profile, not by subtraction
    assert photo.icc is not None
    assert photo.icc[128:] == SRGB[128:]  # all but the date
    assert photo.notes == ("CMYK answered as sRGB",)


@pytest.mark.parametrize("depth", [8, 16])
def test_cmyk_with_a_profile_of_tables(depth: int) -> None:
    color = np.full((20, 20, 3), (200, 60, 40), np.uint8)
    image = pyvips.Image.new_from_array(color).copy(interpretation="srgb")
    image = image.icc_transform("cmyk", input_profile="srgb", depth=depth)
    photo = decode(bytes(image.write_to_buffer(".tif")), MOST)
    assert photo.pixels.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert np.abs(photo.pixels[0, 0] / np.iinfo(photo.pixels.dtype).max * 255 - color[0, 0]).max() < 20
    assert photo.notes == ("CMYK answered as sRGB",)
    assert Image.open(BytesIO(encode(photo, Format.JPEG, []))).mode == "RGB"


@pytest.mark.parametrize("deep", [False, True])
def test_models_see_srgb_and_the_answer_is_in_the_files_own_colours(deep: bool) -> None:
    pixels = muted(deep)
    photo = decode(vips(pixels, ".tif", ADOBE), MOST)
    assert np.abs(photo.pixels / 65535 - adobe_to_srgb(pixels)).max() < 0.0002
    assert photo.icc == ADOBE
    for form in (Format.PNG, Format.TIFF):
        answer = encode(photo, form, [])
        assert Image.open(BytesIO(answer)).info["icc_profile"] == ADOBE
        stored = pyvips.Image.new_from_buffer(answer, "").numpy()
        assert stored.dtype == pixels.dtype
        assert np.abs(adobe_lightness(stored) - adobe_lightness(pixels)).max() <= (0.05 if deep else 0)


def test_srgb_profile_leaves_pixels_alone() -> None:
    photo = decode(file(Image.fromarray(gradient()), "PNG", icc_profile=SRGB), MOST)
    assert np.array_equal(photo.pixels, gradient())
    for form in Format:
        assert Image.open(BytesIO(encode(photo, form, []))).info["icc_profile"] == SRGB


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_profile_is_answered_as_srgb(suffix: str) -> None:
    ramp = np.arange(0, 65536, 11, dtype=np.uint16).reshape(-1, 2, 1)
    photo = decode(vips(ramp, suffix, GREY), MOST)
    linear = ramp / 65535
    expected = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, linear * 12.92)
    assert np.abs(photo.pixels / 65535 - expected).max() < 0.0001
    assert photo.notes == ("grey answered as sRGB",)
    assert Image.open(BytesIO(encode(photo, Format.PNG, []))).info["icc_profile"][128:] == SRGB[128:]


def test_profile_that_is_for_no_device_is_left_out() -> None:
    lab = ImageCms.createProfile("LAB")
    data = file(Image.fromarray(gradient()), "TIFF", icc_profile=ImageCms.ImageCmsProfile(lab).tobytes())
    photo = decode(data, MOST)
    assert np.array_equal(photo.pixels, gradient())
    assert photo.icc is None
    assert photo.notes[0].startswith("colour profile left out")


@pytest.mark.parametrize(
    "broken",
    [
        ADOBE[:60],
        ADOBE[:200],
        ADOBE[:-40],
        b"\0\1" + ADOBE[2:],  # libpng would write no picture with these lengths
        b"\0\0\0\0" + ADOBE[4:],
        struct.pack(">I", len(ADOBE) + 1) + ADOBE[4:8] + b"\4" + ADOBE[9:] + b"\0",  # of version 4
    ],
)
def test_broken_profile_is_left_out_and_said(broken: bytes) -> None:
    photo = decode(file(Image.fromarray(gradient()), "TIFF", icc_profile=broken), MOST)
    assert np.array_equal(photo.pixels, gradient())
    assert photo.icc is None
    assert photo.notes[0].startswith("colour profile left out")
    for form in Format:
        encode(photo, form, [])


def test_what_follows_a_profile_is_left_out() -> None:
    photo = decode(file(Image.fromarray(gradient()), "TIFF", icc_profile=ADOBE + b"and more"), MOST)
    assert photo.icc == ADOBE
    assert photo.notes == ()
    assert Image.open(BytesIO(encode(photo, Format.PNG, []))).info["icc_profile"] == ADOBE


def test_profile_for_other_channels_is_left_out() -> None:
    photo = decode(file(Image.fromarray(gradient()), "TIFF", icc_profile=GREY), MOST)
    assert np.array_equal(photo.pixels, gradient())


def colorizer() -> Predictor:
    """A network with strong colours, as if trained: untrained weights answer grey."""
    network = {"generator": "unet", "width": 2, "normalization": "batch", "dropout": 0.0}
    torch.manual_seed(0)
    built = CATALOGUE["colorgan"].network(network)
    for module in built.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.1)
    return Predictor(Config("colorgan", Task.COLORIZE, 64, network, {}, {}, "colorgan-1907"), built)


def colored(photo: Photo) -> Photo:
    return photo.with_pixels(colorizer().predict([photo.pixels], [None])[0])


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("icc", [None, ADOBE])
def test_colouring_keeps_lightness(deep: bool, icc: bytes | None) -> None:
    grey = np.repeat(muted(deep)[..., :1], 3, -1)
    photo = decode(vips(grey, ".tif", icc), MOST)
    answer = colored(photo)
    assert np.ptp(answer.pixels.astype(int), axis=-1).mean() > 0.02 * np.iinfo(answer.pixels.dtype).max
    for form in (Format.PNG, Format.TIFF):
        again = decode(encode(answer, form, []), MOST)
        assert np.abs(lightness(again.pixels) - lightness(photo.pixels)).max() <= (0.05 if deep else 0.5)


@pytest.mark.skipif(not OLD.is_dir(), reason="the photographs are not here")
@pytest.mark.parametrize("name", ["archive-10.jpg", "archive-04.jpg", "scratched-d.png"])
def test_real_photographs_keep_size_and_lightness(name: str) -> None:
    """One with nothing beside its pixels, one with profile and EXIF, one with alpha."""
    data = (OLD / name).read_bytes()
    photo = decode(data, 2_000_000)
    assert photo.pixels.shape[1::-1] == Image.open(BytesIO(data)).size
    again = decode(encode(colored(photo), Format.PNG, []), 2_000_000)
    assert again.pixels.shape == photo.pixels.shape
    assert again.dpi == photo.dpi
    assert (again.icc, again.alpha is None) == (photo.icc, photo.alpha is None)
    assert np.abs(lightness(again.pixels) - lightness(photo.pixels)).max() <= 0.5
