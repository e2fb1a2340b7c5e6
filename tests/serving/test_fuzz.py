"""Files that are broken on purpose: real small files of every format, mutated; each is refused or gives a picture.

A crash of a decoder would end this process, and so fail. `AUTOCHROME_FUZZ` is how many inputs, `AUTOCHROME_FUZZ_SEED`
where they start.
"""

import os
import random
import struct
from collections import Counter
from io import BytesIO
from typing import Any

import numpy as np
import pillow_heif
import psutil
import pyvips
from PIL import ExifTags, Image

from serving.color_profile import srgb
from serving.photo import Format, decode, encode
from serving.reading import READ
from serving.refusal import Refusal

INPUTS = int(os.environ.get("AUTOCHROME_FUZZ", "10000"))
SEED = int(os.environ.get("AUTOCHROME_FUZZ_SEED", "0"))
MOST = 100_000
MOST_GROWTH = 400 << 20  # bytes of memory beside what the first pictures took
NASTY = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0x10000)


def seeds() -> list[bytes]:
    """Pictures of 12 x 9 pixels, with everything in them that is parsed."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (9, 12, 4), np.uint8)
    color = Image.fromarray(pixels[..., :3])
    every: dict[str, Any] = {"exif": _exif(), "icc_profile": srgb(), "dpi": (300, 300)}
    files = [
        _file(color, "JPEG", **every),
        _file(color, "JPEG", progressive=True),
        _file(color.convert("L"), "JPEG"),
        _file(color.convert("CMYK"), "JPEG"),
        _file(color, "PNG", **every),
        _file(color.quantize(8), "PNG", transparency=2),
        _file(Image.fromarray(pixels), "PNG"),
        _file(color, "WEBP", **every),
        _file(Image.fromarray(pixels), "WEBP", lossless=True),
        _file(color, "TIFF", **every),
        *(_file(color, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        _file(color.convert("1"), "TIFF", compression="group4"),
        _file(color.convert("CMYK"), "TIFF", save_all=True, append_images=[color]),
        _file(color, "BMP"),
        _file(color.quantize(8), "BMP"),
    ]
    for image in (color, Image.fromarray(pixels), color.convert("L")):
        buffer = BytesIO()
        pillow_heif.from_pillow(image).save(buffer, quality=90, exif=_exif())
        files.append(buffer.getvalue())
    deep = pyvips.Image.new_from_array(generator.integers(0, 65536, (9, 12, 4), np.uint16)).copy(interpretation="rgb16")
    options = (
        ".png",
        ".png[interlace]",
        ".tif[compression=lzw]",
        ".tif[tile,tile_width=16,tile_height=16]",
        ".tif[bigtiff]",
    )
    return files + [bytes(deep.write_to_buffer(option)) for option in options]


def mutated(chance: random.Random, seed: bytes, other: bytes) -> bytes:
    """One to four of the mutations that break parsers: bits, bytes, sizes, cuts, repeats and splices."""
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = min(len(data) - 1, int(len(data) * chance.random() ** chance.choice((1, 2))))  # headers more often
        match chance.randrange(8):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.randrange(256)
            case 2:
                struct.pack_into(chance.choice("<>") + "I", data := data.ljust(at + 4), at, chance.choice(NASTY))
            case 3:
                struct.pack_into(
                    chance.choice("<>") + "H", data := data.ljust(at + 2), at, chance.choice(NASTY) & 0xFFFF
                )
            case 4:
                del data[at:]
            case 5:
                del data[at : at + chance.randrange(1, 20)]
            case 6:
                data[at:at] = data[at : at + chance.randrange(1, 200)] * chance.choice((1, 2, 50))
            case _:
                start = chance.randrange(len(other))
                data[at : at + 40] = other[start : start + 40]
        if not data:
            return b""
    return bytes(data)


def test_ten_thousand_broken_files() -> None:
    chance = random.Random(SEED)  # noqa: S311 - it breaks files, not codes
    files = seeds()
    forms = list(Format)
    for index, data in enumerate(files):
        encode(decode(data, MOST), forms[index % 4], [])
    process = psutil.Process()
    before = process.memory_info().rss
    most = 0
    outcomes: Counter[str] = Counter()
    for index in range(INPUTS):
        data = mutated(chance, files[index % len(files)], chance.choice(files))
        outcomes[outcome(data, forms[index % 4], SEED, index)] += 1
        if index % 50 == 0:
            most = max(most, process.memory_info().rss)
    print(dict(outcomes), f"{(most - before) >> 20} MB more")
    assert most - before < MOST_GROWTH
    assert outcomes["picture"] > INPUTS / 50, "the mutations break too much to test anything"
    assert outcomes["unreadable"] > INPUTS / 50, "the mutations break too little to test anything"


def outcome(data: bytes, form: Format, seed: int, index: int) -> str:
    """The refusal's code, or `picture` where the answer is one of the photograph's size."""
    try:
        photo = decode(data, MOST)
        answer = encode(photo, form, ["restorer/1"], keep_metadata=index % 2 == 0)
    except Refusal as refusal:
        if 400 <= refusal.status < 500:
            return refusal.code
        raise
    except Exception as error:
        raise AssertionError(f"input {index} of seed {seed}: {error!r}") from error
    height, width = photo.pixels.shape[:2]
    assert photo.pixels.shape == (height, width, 3)
    assert height * width <= MOST
    assert photo.pixels.dtype in (np.uint8, np.uint16)
    assert photo.alpha is None or photo.alpha.shape == (height, width)
    assert Image.open(BytesIO(answer)).size == (width, height)
    return "picture"


def test_every_format_is_fuzzed() -> None:
    assert len(READ) == 6
    for beginning in (b"\xff\xd8", b"\x89PNG", b"II*", b"II+", b"RIFF", b"BM"):
        assert any(data.startswith(beginning) for data in seeds())
    assert any(data[4:8] == b"ftyp" for data in seeds())


def _exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "A camera"
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {ExifTags.Base.DateTimeOriginal: "1931:05:01 12:00:00", 0x927C: b"notes" * 9}
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 24.0)})
    return exif.tobytes()


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
