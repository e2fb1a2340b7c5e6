import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from serving.photo import Format, decode, encode
from tests.serving.files import (
    MOST,
    file,
    gradient,
    heic,
    refusal,
    vips,
)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "HEIC"])
def test_cut_short_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    whole = heic(noise) if kind == "HEIC" else file(noise, kind)
    decode(whole, MOST)
    for share in (0.01, 0.3, 0.7, 0.95):
        assert refusal(lambda: decode(whole[: int(len(whole) * share)], MOST)).status in (400, 415)  # noqa: B023


@pytest.mark.parametrize(
    "data", [b"GIF89a" + bytes(100), b"hello, no picture", b"%PDF-1.7\n", b"<svg xmlns='http://a'/>", bytes(500), b"BM"]
)
def test_not_a_picture(data: bytes) -> None:
    assert refusal(lambda: decode(data, MOST)).status == 415


def test_a_picture_of_another_format_is_not_taken() -> None:
    assert refusal(lambda: decode(file(Image.fromarray(gradient()), "GIF"), MOST)).code == "not_a_picture"


def test_what_follows_a_picture_does_not_reach_the_answer() -> None:
    """A file that is a JPEG and a web page at once."""
    data = file(Image.fromarray(gradient()), "JPEG") + b"<script>alert(1)</script>"
    assert b"<script>" not in encode(decode(data, MOST), Format.JPEG, [])


def test_empty_and_headless() -> None:
    assert refusal(lambda: decode(b"", MOST)).code == "empty"
    assert refusal(lambda: decode(b"\xff\xd8\xff\xe0", MOST)).status == 400


def test_other_pixels_are_refused() -> None:
    floats = file(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")
    assert refusal(lambda: decode(floats, MOST)).status == 415
    six = vips(np.zeros((8, 8, 6), np.uint8), ".tif")
    assert refusal(lambda: decode(six, MOST)).status == 415


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in every
    )


def test_size_is_checked_before_decoding() -> None:
    """Headers of 30,000 x 30,000 pixels with no pixels behind them: decoding would say 400."""
    bomb = png_of(30_000, 30_000, (b"IDAT", zlib.compress(b"")))
    bmp = bytearray(file(Image.new("RGB", (4, 4)), "BMP"))
    bmp[18:26] = struct.pack("<ii", 30_000, 30_000)
    tiff = bytearray(file(Image.new("L", (4, 4)), "TIFF"))
    for tag in (256, 257):
        at = tiff.index(struct.pack("<H", tag), 10)
        tiff[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 30_000)
    jpeg = bytearray(file(Image.new("RGB", (4, 4)), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 30_000, 30_000)
    for data in (bomb, bytes(bmp), bytes(tiff), bytes(jpeg)):
        for most in (MOST, 200_000_000, 890_000_000):
            assert refusal(lambda: decode(data, most)).status == 413  # noqa: B023
    assert "60x40" in refusal(lambda: decode(file(Image.fromarray(gradient()), "PNG"), 2399)).message
    decode(file(Image.fromarray(gradient()), "PNG"), 2400)
    assert refusal(lambda: decode(heic(Image.fromarray(gradient())), 2399)).status == 413


def test_pages_without_end_are_refused() -> None:
    data = bytearray(file(Image.fromarray(gradient()), "TIFF"))
    start = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * entries, start)
    assert refusal(lambda: decode(bytes(data), MOST)).status == 400
