import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from serving.photo import Format, decode, encode
from serving.refusal import Refusal
from tests.models.scan import forget_peak, status
from tests.serving.files import MOST, file, gradient, heic, refusal, vips


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "HEIC"])
@pytest.mark.parametrize("tail", [b"<script>alert(1)</script>", b"PK\x05\x06" + bytes(18)])
def test_what_follows_a_picture_does_not_reach_the_answer(kind: str, tail: bytes) -> None:
    """A file that is a picture and a web page, or a picture and an archive, at once."""
    image = Image.fromarray(gradient())
    whole = heic(image) if kind == "HEIC" else file(image, kind)
    photo = decode(whole + tail, MOST)
    assert np.array_equal(photo.pixels, decode(whole, MOST).pixels)
    for form in Format:
        assert tail not in encode(photo, form, [], keep_metadata=True)


@pytest.mark.parametrize("tail", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_only_ends_like_a_picture_is_none(tail: bytes) -> None:
    assert refusal(lambda: decode(b"%PDF-1.7\n" + tail, MOST)).code == "not_a_picture"


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
    webp = bytearray(file(Image.new("RGB", (4, 4)), "WEBP", lossless=True))
    at = webp.index(b"VP8L") + 9  # 14 bits of width - 1, 14 of height - 1
    webp[at : at + 4] = struct.pack("<I", 16_382 << 14 | 16_382)
    assert refusal(lambda: decode(bytes(webp), 268_000_000)).status == 413
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


INFLATED = zlib.compress(bytes(128 << 20), 1)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"IDAT", INFLATED),
        (b"zTXt", b"Comment\0\0" + INFLATED),
        (b"iTXt", b"Comment\0\1\0\0\0" + INFLATED),
        (b"iCCP", b"profile\0\0" + INFLATED),
    ],
)
def test_what_inflates_behind_a_small_header_takes_no_memory(chunk: tuple[bytes, bytes]) -> None:
    data = png_of(10, 10, *([chunk] if chunk[0] == b"IDAT" else [chunk, (b"IDAT", zlib.compress(bytes(310)))]))
    assert grown_by_decoding(data) < 32 << 20


def test_directories_that_claim_the_same_bytes_again_and_again_take_no_memory() -> None:
    body, most = bytearray(file(Image.fromarray(gradient()), "TIFF", tiffinfo={34665: 0})), 8 << 20
    start = struct.unpack_from("<I", body, 4)[0]
    (count,) = struct.unpack_from("<H", body, start)
    pointer = next(at for at in range(start + 2, start + 2 + 12 * count, 12) if body[at : at + 2] == b"\x69\x87")
    struct.pack_into("<HII", body, pointer + 2, 4, 1, len(body))
    entries = b"".join(struct.pack("<HHII", 40_000 + tag, 7, most, 8) for tag in range(60))
    body += struct.pack("<H", 60) + entries + bytes(4)
    assert grown_by_decoding(bytes(body.ljust(most + 100))) < 32 << 20


def grown_by_decoding(data: bytes) -> int:
    """Bytes at the peak while a file is decoded and, where it is taken, encoded."""
    before = forget_peak()
    with suppress(Refusal):
        photo = decode(data, MOST)
        for form in Format:
            encode(photo, form, [], keep_metadata=True)
    return status("VmHWM") - before
