from io import BytesIO

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from serving.photo import Format, Photo, decode, decode_mask, encode
from tests.serving.files import MOST, file, gradient, heic, refusal, vips


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    photo = decode(file(Image.fromarray(gradient()), kind), MOST)
    assert np.array_equal(photo.pixels, gradient())
    assert photo.alpha is None
    assert photo.notes == ()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressed_tiff(compression: str) -> None:
    photo = decode(file(Image.fromarray(gradient()), "TIFF", compression=compression), MOST)
    assert np.abs(photo.pixels.astype(int) - gradient()).max() <= (40 if compression == "jpeg" else 0)


def test_lossy_formats_are_close() -> None:
    image = Image.fromarray(gradient())
    for data in (file(image, "JPEG", quality=95), file(image, "WEBP", quality=95), heic(image)):
        photo = decode(data, MOST)
        assert photo.pixels.shape == (40, 60, 3)
        assert np.abs(photo.pixels.astype(int) - gradient()).mean() < 5


def test_grey_jpeg_has_three_equal_channels() -> None:
    photo = decode(file(Image.fromarray(gradient()).convert("L"), "JPEG"), MOST)
    assert np.array_equal(photo.pixels[..., 0], photo.pixels[..., 2])


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.fromarray(gradient()).convert(mode)
    for kind in ("TIFF", "PNG", "BMP"):
        assert np.array_equal(decode(file(image, kind), MOST).pixels, np.asarray(image.convert("RGB")))


def test_transparent_palette() -> None:
    image = Image.fromarray(gradient()).quantize(16)
    photo = decode(file(image, "PNG", transparency=3), MOST)
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha == 0, np.asarray(image) == 3)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif[compression=lzw]"])
def test_sixteen_bits_stay_sixteen(bands: int, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 60, bands), np.uint16)
    photo = decode(vips(pixels, suffix), MOST)
    colors = np.repeat(pixels[..., :1], 3, -1) if bands < 3 else pixels[..., :3]
    assert np.array_equal(photo.pixels, colors)
    for form in (Format.PNG, Format.TIFF):
        again = decode(encode(photo, form, []), MOST)
        assert np.array_equal(again.pixels, photo.pixels)
        assert (again.alpha is None) == (bands % 2 == 1)
        if photo.alpha is not None and again.alpha is not None:
            assert np.array_equal(photo.alpha, pixels[..., -1])
            assert np.array_equal(again.alpha, photo.alpha)
    assert decode(encode(photo, Format.JPEG, []), MOST).pixels.dtype == np.uint8
    assert decode(encode(photo, Format.WEBP, []), MOST).pixels.dtype == np.uint8


def test_ten_bit_heic_is_stretched_to_white() -> None:
    white = np.full((64, 64, 3), 65535, np.uint16)
    buffer = BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 64), white.tobytes()).save(buffer, quality=-1, chroma=444)
    photo = decode(buffer.getvalue(), MOST)
    assert photo.pixels.dtype == np.uint16
    assert photo.pixels.min() > 65300


@pytest.mark.parametrize(("form", "longest"), [(Format.WEBP, 16_383), (Format.JPEG, 65_500)])
def test_a_side_longer_than_the_format_has(form: Format, longest: int) -> None:
    long = Photo(np.zeros((1, longest, 3), np.uint8))
    assert Image.open(BytesIO(encode(long, form, []))).size == (longest, 1)
    error = refusal(lambda: encode(Photo(np.zeros((longest + 1, 1, 3), np.uint8)), form, []))
    assert error.status == 422
    assert f"1x{longest + 1}" in error.message


def test_alpha_is_kept_and_put_on_white_in_jpeg() -> None:
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, 30:] = 255
    for kind in ("PNG", "TIFF", "WEBP"):
        photo = decode(file(Image.fromarray(np.dstack([gradient(), alpha])), kind, lossless=True), MOST)
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, alpha)
        for form in (Format.PNG, Format.TIFF, Format.WEBP):
            kept = decode(encode(photo, form, []), MOST)
            assert kept.alpha is not None
            assert np.array_equal(kept.alpha, alpha)
        assert decode(encode(photo, Format.JPEG, []), MOST).pixels[:, :25].min() > 245


def test_first_of_many_pages_and_said() -> None:
    others = [Image.new("RGB", (10, 10), "red"), Image.new("RGB", (20, 20), "blue")]
    photo = decode(file(Image.fromarray(gradient()), "TIFF", save_all=True, append_images=others), MOST)
    assert np.array_equal(photo.pixels, gradient())
    assert photo.notes == ("page 1 of 3",)


def test_mask_is_white_where_destroyed() -> None:
    photo = Photo(gradient())
    drawn = np.zeros((40, 60), np.uint8)
    drawn[3:7, 5:9] = 255
    drawn[0, 0] = 127
    drawn[0, 1] = 128
    for image in (Image.fromarray(drawn), Image.fromarray(drawn).convert("RGB")):
        assert np.array_equal(decode_mask(file(image, "PNG"), photo, MOST), drawn > 127)
    assert np.array_equal(decode_mask(vips(drawn[..., None].astype(np.uint16) * 257, ".png"), photo, MOST), drawn > 127)
    clear = np.dstack([np.full((40, 60, 3), 255, np.uint8), drawn])
    assert np.array_equal(decode_mask(file(Image.fromarray(clear), "PNG"), photo, MOST), drawn > 127)


def test_mask_of_another_size() -> None:
    error = refusal(lambda: decode_mask(file(Image.new("L", (61, 40)), "PNG"), Photo(gradient()), MOST))
    assert error.status == 422
    assert "61x40" in error.message
    assert "60x40" in error.message


def test_other_pixels_must_be_of_the_same_size_and_depth() -> None:
    with pytest.raises(ValueError, match="uint16"):
        Photo(gradient()).with_pixels(gradient(deep=True))
