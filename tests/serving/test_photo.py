import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from serving.photo import Format, Photo, decode, decode_mask, encode
from serving.refusal import Refusal

MOST = 1_000_000


def gradient(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    """Every pixel differs from its neighbours, and the corners from each other."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 6, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)


def file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refusal(work: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        work()
    return caught.value


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    photo = decode(file(Image.fromarray(gradient()), kind), MOST)
    assert np.array_equal(photo.pixels, gradient())
    assert photo.alpha is None


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_formats_are_close(kind: str, options: dict[str, Any]) -> None:
    photo = decode(file(Image.fromarray(gradient()), kind, **options), MOST)
    assert photo.pixels.shape == (40, 60, 3)
    assert np.abs(photo.pixels.astype(int) - gradient()).mean() < 5


def test_orientation_is_applied_once() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera was turned: rotate a quarter clockwise
    photo = decode(file(Image.fromarray(gradient()), "PNG", exif=exif), MOST)
    assert np.array_equal(photo.pixels, np.rot90(gradient(), -1))
    again = decode(encode(photo, Format.PNG, []), MOST)
    assert np.array_equal(again.pixels, photo.pixels)


def test_broken_exif_is_no_reason_to_refuse() -> None:
    data = file(Image.fromarray(gradient()), "JPEG", exif=b"Exif\x00\x00II*\x00garbage")
    assert decode(data, MOST).pixels.shape == (40, 60, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.fromarray(gradient()).convert(mode)
    photo = decode(file(image, "TIFF"), MOST)
    assert np.abs(photo.pixels.astype(int) - np.asarray(image.convert("RGB"))).max() <= 1


def test_cmyk_jpeg_is_not_inverted() -> None:
    red = Image.new("RGB", (32, 32), (220, 30, 30)).convert("CMYK")
    assert np.abs(decode(file(red, "JPEG"), MOST).pixels.mean((0, 1)) - (220, 30, 30)).max() < 6


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 60 * 40).astype(np.uint16).reshape(40, 60)
    for kind in ("PNG", "TIFF"):
        photo = decode(file(Image.fromarray(ramp), kind), MOST)
        assert np.array_equal(photo.pixels, np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, -1))


def test_alpha_is_kept_in_png_and_put_on_white_in_jpeg() -> None:
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, 30:] = 255
    photo = decode(file(Image.fromarray(np.dstack([gradient(), alpha])), "PNG"), MOST)
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, alpha)
    kept = decode(encode(photo, Format.PNG, []), MOST)
    assert kept.alpha is not None
    assert np.array_equal(kept.alpha, alpha)
    assert decode(encode(photo, Format.JPEG, []), MOST).pixels[:, :25].min() > 245


def test_what_made_it_is_written_into_the_file() -> None:
    photo = Photo(gradient(), None)
    png = Image.open(BytesIO(encode(photo, Format.PNG, ["restorer/3", "colorizer/2"])))
    assert png.info["Software"] == "Autochrome restorer/3 colorizer/2"
    jpeg = Image.open(BytesIO(encode(photo, Format.JPEG, ["restorer/3"])))
    assert jpeg.getexif()[ExifTags.Base.Software] == "Autochrome restorer/3"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_cut_short_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = file(Image.fromarray(noise), kind)
    decode(whole, MOST)
    for share in (0.3, 0.7, 0.95):
        assert refusal(lambda: decode(whole[: int(len(whole) * share)], MOST)).status == 400  # noqa: B023


@pytest.mark.parametrize("data", [b"GIF89a" + bytes(100), b"hello, this is no picture", b"%PDF-1.7\n", bytes(500)])
def test_not_a_picture(data: bytes) -> None:
    assert refusal(lambda: decode(data, MOST)).status == 415


def test_a_picture_of_another_format_is_not_taken() -> None:
    assert refusal(lambda: decode(file(Image.fromarray(gradient()), "GIF"), MOST)).code == "not_a_picture"


def test_empty_and_headless() -> None:
    assert refusal(lambda: decode(b"", MOST)).code == "empty"
    assert refusal(lambda: decode(b"\xff\xd8\xff\xe0", MOST)).status == 400


def test_size_is_checked_before_decoding() -> None:
    """A PNG header of 30,000 x 30,000 pixels with no pixels behind it: decoding would say 400."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    for most in (MOST, 200_000_000, 890_000_000):
        assert refusal(lambda: decode(bomb, most)).status == 413  # noqa: B023
    assert "60x40" in refusal(lambda: decode(file(Image.fromarray(gradient()), "PNG"), 2399)).message
    decode(file(Image.fromarray(gradient()), "PNG"), 2400)


def test_mask_is_white_where_destroyed() -> None:
    photo = Photo(gradient(), None)
    drawn = np.zeros((40, 60), np.uint8)
    drawn[3:7, 5:9] = 255
    for image in (Image.fromarray(drawn), Image.fromarray(drawn).convert("RGB"), Image.fromarray(drawn).convert("1")):
        assert np.array_equal(decode_mask(file(image, "PNG"), photo, MOST), drawn == 255)


def test_mask_of_another_size() -> None:
    error = refusal(lambda: decode_mask(file(Image.new("L", (61, 40)), "PNG"), Photo(gradient(), None), MOST))
    assert error.status == 422
    assert "61x40" in error.message
    assert "60x40" in error.message
