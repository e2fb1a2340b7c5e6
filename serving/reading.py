"""A file's bytes to its pixels as they are, upright: everything untrusted stops here.

The first bytes choose the reader, never a name or a Content-Type. libvips reads JPEG, PNG, TIFF and WebP: it opens
lazily, so a size is known before anything is decoded, keeps 16 bits, calls a cut file an error, and is fuzzed all the
time (OSS-Fuzz). It has no BMP, which is Pillow's, nor the patented HEVC, which is pillow-heif's.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
import pillow_heif
import pyvips
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from serving import color_profile, exif, tiff_header
from serving.refusal import Refusal

READ = ("JPEG", "PNG", "TIFF", "WebP", "BMP", "HEIC")
DPI = 72.0  # what readers take where a file does not say
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_COLORS = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb": 3, "rgb16": 3, "cmyk": 4}  # libvips' space -> channels
_INCH = 25.4  # mm
_TURN: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {  # EXIF 2.32, tag Orientation
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}

# libvips keeps results for later calls; uploads are never asked for twice and must not stay in memory.
pyvips.cache_set_max(0)
# What it finds odd in an upload is no news for the service, and may quote the upload.
logging.getLogger("pyvips").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Reading:
    """A decoded file, upright, in its own colours."""

    pixels: NDArray[Any]  # (H, W, 1) grey, (H, W, 3) RGB or (H, W, 4) CMYK; uint8 or uint16
    alpha: NDArray[Any] | None  # (H, W) of the same depth
    icc: bytes | None
    exif: bytes  # what an answer may keep of it, GPS and maker notes included
    dpi: tuple[float, float]  # across, down
    notes: tuple[str, ...]  # what a person should know, such as "page 1 of 3"


def read(data: bytes, most_pixels: int, name: str) -> Reading:
    """The picture in `data`, called `name` in errors.

    Raises Refusal 400 where it is empty, broken or cut short, 413 where it has more than `most_pixels` (told before it
    is decoded), 415 where it is no picture, or one of pixels that are not read here.
    """
    if not data:
        raise Refusal(400, "empty", f"{name} is an empty file; it must be a picture")
    reader = _reader(data)
    if reader is None:
        raise Refusal(415, "not_a_picture", f"{name} is no picture that is read here: {', '.join(READ)}")
    try:
        return reader(data, most_pixels, name)
    except (Refusal, MemoryError):
        raise
    # Readers raise whatever a broken file leads them to (pyvips.Error, OSError, ValueError, SyntaxError, ...).
    except Exception as error:
        what = f"{name} cannot be decoded, it is broken or cut short: {_said(error)}"
        raise Refusal(400, "unreadable", what) from error


def _reader(data: bytes) -> Callable[[bytes, int, str], Reading] | None:
    if data.startswith(b"\xff\xd8\xff"):
        return _by_vips(pyvips.Image.jpegload_buffer)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _by_vips(pyvips.Image.pngload_buffer)
    if data.startswith(_TIFF):
        return _tiff
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _by_vips(pyvips.Image.webpload_buffer)
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return _bmp
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        return _heic
    return None


def _by_vips(load: Callable[..., Any]) -> Callable[[bytes, int, str], Reading]:
    def reader(data: bytes, most_pixels: int, name: str) -> Reading:
        image = load(data, access="sequential", fail_on="truncated")
        check_size(image.width, image.height, most_pixels, name)
        block = image.get("exif-data") if image.get_typeof("exif-data") else b""
        return _vips(image, block if len(block) <= exif.MOST_BYTES else b"", name)

    return reader


def _tiff(data: bytes, most_pixels: int, name: str) -> Reading:
    tiff_header.pages(data)  # ValueError where there are absurdly many
    # libvips calls a TIFF that is cut short an error, not a truncation.
    image = pyvips.Image.tiffload_buffer(data, access="sequential", fail_on="error")
    check_size(image.width, image.height, most_pixels, name)
    return _vips(image, data, name)


def _vips(image: Any, block: bytes, name: str) -> Reading:
    """The picture that libvips has opened, whose EXIF is in `block`."""
    colors = _COLORS.get(image.interpretation, 0)
    if image.format not in ("uchar", "ushort") or colors == 0 or image.bands - colors not in (0, 1):
        what = f"{image.bands} channels of {image.interpretation} {image.format}"
        raise Refusal(415, "unsupported_pixels", f"{name} has {what}; it must be grey, RGB or CMYK of 8 or 16 bits")
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    turn = image.get("orientation") if image.get_typeof("orientation") else 1
    dpi = (image.xres * _INCH, image.yres * _INCH)
    if image.xres == 1.0 == image.yres:  # libvips' way to say that the file does not say
        dpi = exif.resolution(block) or (DPI, DPI)
    pixels = image.numpy()
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    reading = Reading(
        pixels=pixels[..., :colors],
        alpha=pixels[..., colors] if image.bands > colors else None,
        icc=image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None,
        exif=exif.kept(block, everything=True).tobytes() if block else b"",
        dpi=dpi,
        notes=(f"page 1 of {pages}",) if pages > 1 else (),
    )
    return _checked(_upright(reading, turn))


def _bmp(data: bytes, most_pixels: int, name: str) -> Reading:
    try:
        image = Image.open(BytesIO(data), formats=["BMP"])
    except Image.DecompressionBombError as error:
        raise Refusal(413, "too_many_pixels", f"{name} has too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise Refusal(400, "unreadable", f"{name} has a broken header") from error
    check_size(*image.size, most_pixels, name)
    grey = image.mode in ("1", "L")
    pixels = np.asarray(image.convert("L" if grey else "RGBA" if image.mode == "RGBA" else "RGB"))
    alpha = pixels[..., 3] if pixels.shape[2:] == (4,) else None
    dpi = image.info.get("dpi", (DPI, DPI))
    return _checked(Reading(pixels[..., None] if grey else pixels[..., :3], alpha, None, b"", dpi, ()))


def _heic(data: bytes, most_pixels: int, name: str) -> Reading:
    file = pillow_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    image = file[file.primary_index]
    info: dict[str, Any] = dict(image.info)
    check_size(*image.size, most_pixels, name)
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    height, width, bands = pixels.shape
    if (width, height) != image.size or bands > 4:
        raise Refusal(400, "unreadable", f"{name} is {width}x{height} pixels where its header says {image.size}")
    if pixels.dtype == np.uint16:
        pixels = _sixteen_bits(pixels, info["bit_depth"])
    colors = bands - 1 if image.has_alpha else bands
    block = info["exif"] or b""
    kept = exif.kept(block, everything=True).tobytes() if 0 < len(block) <= exif.MOST_BYTES else b""
    notes = (f"picture {file.primary_index + 1} of {len(file)}",) if len(file) > 1 else ()
    # HEIF turns by its own property, which libheif has applied; its EXIF Orientation says nothing (ISO 23008-12).
    return _checked(
        Reading(
            pixels=pixels[..., :colors],
            alpha=pixels[..., colors] if image.has_alpha else None,
            icc=info.get("icc_profile"),
            exif=kept,
            dpi=(exif.resolution(block) if kept else None) or (DPI, DPI),
            notes=notes,
        )
    )


def check_size(width: int, height: int, most_pixels: int, name: str) -> None:
    """Raises Refusal 413 where there are more pixels than allowed."""
    if width * height > most_pixels:
        what = f"{name} is {width}x{height}, {width * height:,} pixels"
        raise Refusal(413, "too_many_pixels", f"{what}; at most {most_pixels:,} are taken")


def _sixteen_bits(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """10 or 12 bits stretched over 16, so that white is 65535."""
    top = (1 << bits) - 1
    codes = np.rint(np.arange(1 << 16).clip(0, top) * (65535 / top)).astype(np.uint16)
    stretched: NDArray[Any] = codes[pixels]
    return stretched


def _upright(reading: Reading, orientation: int) -> Reading:
    turn = _TURN.get(orientation)
    if turn is None:
        return reading
    alpha = None if reading.alpha is None else turn(reading.alpha)
    dpi = (reading.dpi[1], reading.dpi[0]) if orientation >= 5 else reading.dpi
    return replace(reading, pixels=turn(reading.pixels), alpha=alpha, dpi=dpi)


def _checked(reading: Reading) -> Reading:
    """The reading with arrays of their own, a resolution that makes sense, and no profile that is too large."""
    dpi = (_dots(reading.dpi[0]), _dots(reading.dpi[1]))
    icc, notes = reading.icc or b"", reading.notes
    if len(icc) > color_profile.MOST_BYTES:
        notes = (*notes, f"colour profile of {len(icc):,} bytes left out")
        icc = b""
    alpha = None if reading.alpha is None else np.ascontiguousarray(reading.alpha)
    return Reading(np.ascontiguousarray(reading.pixels), alpha, icc or None, reading.exif, dpi, notes)


def _dots(dpi: float) -> float:
    """Whole where it is nearly: PNG counts in dots a metre, and 300 dots an inch come as 299.9994."""
    if not 1 <= dpi <= 100_000:
        return DPI
    return float(round(dpi)) if abs(dpi - round(dpi)) < 0.05 else dpi


def _said(error: Exception) -> str:
    """The first line of what the reader says."""
    text = error.detail if isinstance(error, pyvips.Error) else str(error)
    return next(iter(str(text).strip().splitlines()), "") or type(error).__name__
