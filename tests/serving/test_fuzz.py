"""Files that are broken on purpose: real files of every format, mutated; each is refused or gives a picture.

Hypothesis chooses the mutations and, where one is answered wrongly, looks for the smallest that is. A crash of a
decoder would end this process, and so fail. `AUTOCHROME_FUZZ` is how many inputs, `AUTOCHROME_FUZZ_SEED` where they
start:

    AUTOCHROME_FUZZ=10000 pytest -s tests/serving/test_fuzz.py
"""

import os
import struct
from collections import Counter
from enum import Enum, auto
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pyvips
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from serving.color_profile import srgb
from serving.photo import Format, decode, encode
from serving.reading import READ
from serving.refusal import Refusal
from tests.models.scan import forget_peak, status
from tests.serving.files import file

INPUTS = int(os.environ.get("AUTOCHROME_FUZZ", "1000"))
SEED = int(os.environ.get("AUTOCHROME_FUZZ_SEED", "0"))
MOST = 400_000
MOST_GROWTH = 256 << 20  # bytes at the peak beside what whole pictures took; Hypothesis keeps what it has tried
NASTY = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0x10000)
PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "photos"


class Kind(Enum):
    """What breaks parsers."""

    BIT = auto()
    BYTE = auto()
    LONG = auto()
    SHORT = auto()
    CUT = auto()
    GAP = auto()
    REPEAT = auto()
    SPLICE = auto()


Mutation = tuple[Kind, int, int]  # its kind, where, and what
MUTATIONS = st.lists(
    st.tuples(st.sampled_from(Kind), st.integers(0, 9_999), st.integers(0, 0xFFFF)), min_size=1, max_size=4
)


def mutated(data: bytes, mutation: Mutation, other: bytes) -> bytes:
    """`data` after one mutation; `other` is what it may be spliced with."""
    kind, where, what = mutation
    if not data:
        return data
    # Hypothesis prefers 0 and other small numbers, and would mostly break a file's first byte: they are scattered.
    share = (where * 7919 + 3331) % 10_000 / 10_000
    at = int(len(data) * share**2)  # headers more often
    head, tail = data[:at], data[at:]
    order, nasty = "<>"[what & 1], NASTY[(what >> 1) % len(NASTY)]
    match kind:
        case Kind.BIT:
            return head + bytes([tail[0] ^ 1 << what % 8]) + tail[1:]
        case Kind.BYTE:
            return head + bytes([what % 256]) + tail[1:]
        case Kind.LONG:
            return head + struct.pack(f"{order}I", nasty) + tail[4:]
        case Kind.SHORT:
            return head + struct.pack(f"{order}H", nasty & 0xFFFF) + tail[2:]
        case Kind.CUT:
            return head
        case Kind.GAP:
            return head + tail[1 + what % 20 :]
        case Kind.REPEAT:
            return head + tail[: 1 + what % 200] * (2, 3, 51)[what % 3] + tail
        case Kind.SPLICE:
            start = what % len(other)
            return head + other[start : start + 40] + tail[40:]


def test_broken_files_are_refused_or_give_a_picture() -> None:
    files, forms = seeds(), list(Format)
    for index, whole in enumerate(files):
        encode(decode(whole, MOST), forms[index % 4], [])
    outcomes: Counter[str] = Counter()
    indices = st.integers(0, len(files) - 1)

    @seed(SEED)
    @settings(
        max_examples=INPUTS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(indices, indices, MUTATIONS, st.sampled_from(forms), st.booleans())
    def feed(which: int, other: int, mutations: list[Mutation], form: Format, keep: bool) -> None:
        note(f"{which=} {other=} {mutations=} {form=} {keep=}")  # Hypothesis 6.170 names the arguments without values
        data = files[which]
        for mutation in mutations:
            data = mutated(data, mutation, files[other])
        outcomes[outcome(data, form, keep)] += 1

    before = forget_peak()
    feed()
    grown = status("VmHWM") - before
    print(sum(outcomes.values()), "inputs:", dict(outcomes), f"{grown >> 20} MB more at the peak")
    assert sum(outcomes.values()) >= INPUTS
    assert grown < MOST_GROWTH
    assert outcomes["picture"] > INPUTS / 50, "the mutations break too much to test anything"
    assert outcomes["unreadable"] > INPUTS / 50, "the mutations break too little to test anything"


def outcome(data: bytes, form: Format, keep: bool) -> str:
    """The refusal's code, or `picture` where the answer is one of the photograph's size."""
    try:
        photo = decode(data, MOST)
        answer = encode(photo, form, ["restorer/1"], keep_metadata=keep)
    except Refusal as refusal:
        if 400 <= refusal.status < 500:
            return refusal.code
        raise
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


def seeds() -> list[bytes]:
    """Pictures of 12 x 9 pixels, with everything in them that is parsed, and three photographs where there are any."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (9, 12, 4), np.uint8)
    color = Image.fromarray(pixels[..., :3])
    every: dict[str, Any] = {"exif": _exif(), "icc_profile": srgb(), "dpi": (300, 300)}
    files = [
        file(color, "JPEG", **every),
        file(color, "JPEG", progressive=True),
        file(color.convert("L"), "JPEG"),
        file(color.convert("CMYK"), "JPEG"),
        file(color, "PNG", **every),
        file(color.quantize(8), "PNG", transparency=2),
        file(Image.fromarray(pixels), "PNG"),
        file(color, "WEBP", **every),
        file(Image.fromarray(pixels), "WEBP", lossless=True),
        file(color, "TIFF", **every),
        *(file(color, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        file(color.convert("1"), "TIFF", compression="group4"),
        file(color.convert("CMYK"), "TIFF", save_all=True, append_images=[color]),
        file(color, "BMP"),
        file(color.quantize(8), "BMP"),
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
    names = ("old/scratched-b.png", "old/archive-10.jpg", "coco/images/000000208901.jpg")
    photographs = [PHOTOGRAPHS / name for name in names]
    return [
        *files,
        *(bytes(deep.write_to_buffer(option)) for option in options),
        *(path.read_bytes() for path in photographs if path.exists()),
    ]


def _exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "A camera"
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {ExifTags.Base.DateTimeOriginal: "1931:05:01 12:00:00", 0x927C: b"notes" * 9}
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (48.0, 51.0, 24.0)})
    return exif.tobytes()
