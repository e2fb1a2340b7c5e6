import io
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.decode import edges, encode, look, look_at_pair, shrink, square
from pipelines.params import Prepare

PHOTOS = Path(__file__).resolve().parents[2] / "../shared/photos"

PARAMS = Prepare(
    photographs=10,
    size=64,
    smallest=48,
    colorfulness=4.0,
    validation=0.1,
    test=0.15,
    shard=4,
    quality=95,
    seed=7,
)


def picture(width: int = 200, height: int = 150) -> Image.Image:
    """Red upper left, green upper right, blue lower left, yellow lower right, smooth in between."""
    corners = np.array([[[220, 40, 40], [40, 200, 40]], [[40, 40, 220], [230, 220, 40]]], np.float32)
    pixels = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return Image.fromarray(pixels.astype(np.uint8))


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def unpacked(packed: bytes) -> NDArray[np.int16]:
    return np.asarray(Image.open(io.BytesIO(packed))).astype(np.int16)


def middle(image: Image.Image, size: int = 64) -> NDArray[np.int16]:
    """What Pillow makes of the picture's middle."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    crop = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(crop.convert("RGB")).astype(np.int16)


def close(packed: bytes, image: Image.Image) -> bool:
    return float(np.abs(unpacked(packed) - middle(image)).mean()) < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("width", "height"), [(200, 150), (150, 200), (64, 64), (50, 90), (900, 640), (1200, 521)])
def test_the_middle_is_kept_at_the_working_size(kind: str, width: int, height: int) -> None:
    image = picture(width, height)
    looked = look(saved(image, kind), PARAMS)
    assert (looked.width, looked.height, looked.reason) == (width, height, "")
    assert unpacked(looked.packed).shape == (64, 64, 3)
    assert close(looked.packed, image)


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_jpegs_of_other_colour_spaces(mode: str) -> None:
    image = picture().convert(mode)
    assert close(look(saved(image), replace(PARAMS, colorfulness=0.0)).packed, image)


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "1"])
def test_pngs_of_other_modes(mode: str) -> None:
    image = picture().convert("L").convert(mode) if mode == "LA" else picture().convert(mode)
    assert unpacked(look(saved(image, "PNG"), replace(PARAMS, colorfulness=0.0)).packed).shape == (64, 64, 3)


def test_a_16_bit_png_keeps_its_brightness() -> None:
    deep = np.asarray(picture()).astype(np.uint16)[:, :, ::-1] * 257
    raw = cv2.imencode(".png", deep)[1].tobytes()
    assert close(look(raw, PARAMS).packed, picture())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("scale", [1, 4])
def test_exif_orientation_is_obeyed_also_when_decoded_reduced(orientation: int, scale: int) -> None:
    undo: dict[int, Image.Transpose] = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = picture(200 * scale, 150 * scale)
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert close(look(saved(stored, exif=exif), PARAMS).packed, upright)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("size", [(200, 150), (800, 600)])
def test_a_truncated_photograph_is_found_out(kind: str, share: float, size: tuple[int, int]) -> None:
    noisy = np.random.default_rng(1).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    raw = saved(Image.fromarray(noisy), kind)
    assert look(raw, PARAMS).reason == ""
    assert look(raw[: int(len(raw) * share)], PARAMS).reason.startswith(("truncated", "unreadable"))


def test_a_truncated_progressive_jpeg_is_found_out() -> None:
    raw = saved(picture(), progressive=True)
    assert look(raw, PARAMS).reason == ""
    assert look(raw[: len(raw) // 2], PARAMS).reason.startswith("truncated")
    assert look(raw[: len(raw) // 2] + bytes(len(raw) // 2), PARAMS).reason.startswith("truncated")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (lambda: b"", "unreadable: the file is empty or may not be read"),
        (lambda: b"wnid,credits\n" * 20, "not a picture: neither JPEG, PNG nor WEBP"),
        (lambda: saved(picture(), "GIF"), "not a picture: neither JPEG, PNG nor WEBP"),
        (lambda: saved(picture(60, 40)), "too small: 60 x 40; the short side must be at least 48"),
        (
            lambda: saved(Image.new("1", (12000, 12000)), "PNG"),
            "too large: 12000 x 12000 is more than 100000000 pixels",
        ),
        (lambda: saved(Image.new("1", (20000, 20000)), "PNG"), "too large: more than 100000000 pixels"),
        (lambda: saved(picture().convert("L")), "near-grey: colorfulness is 0.00; it must be at least 4"),
    ],
)
def test_why_a_photograph_is_left_out(raw: Callable[[], bytes], reason: str) -> None:
    looked = look(raw(), PARAMS)
    assert looked.reason == reason
    assert looked.packed == b""


def test_grey_photographs_are_kept_where_colour_is_not_asked_for() -> None:
    assert look(saved(picture().convert("L")), replace(PARAMS, colorfulness=0.0)).reason == ""


def test_no_bytes_make_it_raise() -> None:
    random = np.random.default_rng(3)
    for raw in (saved(picture()), saved(picture(), "PNG"), saved(picture(), "WEBP")):
        for _ in range(60):
            broken = bytearray(raw)
            for place in random.integers(0, min(len(raw), 700), 6):
                broken[place] = random.integers(0, 256)
            looked = look(bytes(broken), PARAMS)
            assert bool(looked.packed) != bool(looked.reason)


@pytest.mark.skipif(not PHOTOS.exists(), reason="shared/photos is not there")
def test_real_photographs_come_out_as_pillow_makes_them() -> None:
    likeness = []
    for path in itertools.islice(sorted((PHOTOS / "imagenet/train").glob("*/*_sample.JPEG")), 24):
        raw = path.read_bytes()
        image = Image.open(io.BytesIO(raw))
        error = square(raw, min(image.size), "JPEG", 64)[:, :, ::-1].astype(np.int16) - middle(image.convert("RGB"))
        likeness.append(10 * np.log10(255**2 / np.mean(error**2)))
    # A reduced JPEG is up to a pixel larger than its share, which sharp edges at 64 pixels show; a pixel off is 18 dB.
    assert min(likeness) > 20
    assert np.median(likeness) > 29


@pytest.mark.parametrize("side", [65, 97, 128, 191, 192, 300])
def test_shrinking_does_not_alias(side: int) -> None:
    # A chessboard of single pixels is a fine grey from afar.
    board = np.indices((side, side)).sum(axis=0) % 2 * 255
    photo = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    inner = shrink(photo, 48)[4:-4, 4:-4].astype(np.float64)
    assert abs(inner.mean() - 127.5) < 3
    assert inner.std() < 30


def test_colours_are_packed_as_sharp_as_light() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = (0, 0, 255)
    stripes[:, 1::2] = (255, 0, 0)
    back = unpacked(encode(stripes, 95))[:, :, ::-1]
    assert np.abs(back - stripes).mean() < 8


def test_a_pair_is_cropped_alike_and_left_out_together() -> None:
    small, large = picture(100, 75), picture(200, 150)
    looked = look_at_pair(saved(large), saved(small, "PNG"), PARAMS)
    assert looked.reason == ""
    assert close(looked.packed, large)
    assert close(looked.given, large)
    wide = look_at_pair(saved(large), saved(picture(200, 100)), PARAMS)
    assert (wide.reason, wide.packed) == ("unlike its pair: 200 x 150 and 200 x 100", b"")
    broken = look_at_pair(saved(large), b"no picture", PARAMS)
    assert broken.reason.startswith("its pair is not a picture")
    assert broken.packed == b""


def test_a_missing_half_is_made_of_edges() -> None:
    photo = np.full((100, 100, 3), 200, np.uint8)
    photo[:, 50:] = 30
    looked = look_at_pair(saved(Image.fromarray(photo), "PNG"), None, replace(PARAMS, colorfulness=0.0))
    drawn = unpacked(looked.given)
    assert drawn.shape == (64, 64, 3)
    dark = np.flatnonzero((drawn[:, :, 0] == 0).any(axis=0))
    assert set(dark) <= {30, 31, 32, 33}
    assert len(dark)
    assert (edges(np.full((64, 64, 3), 90, np.uint8)) == 255).all()
