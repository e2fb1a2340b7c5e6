"""Pixels to a file's bytes, with its colour profile, resolution and EXIF."""

from enum import StrEnum
from io import BytesIO
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

_INCH = 25.4  # mm
_JPEG_QUALITY = 95
_WEBP_QUALITY = 95
_PNG_COMPRESSION = 3  # zlib level; with the filter `sub` 40 % of level 6's time for 16 % more bytes


class Format(StrEnum):
    """What a picture is answered as.

    PNG and TIFF lose nothing. WebP holds 8 bits a channel, JPEG 8 bits and no alpha; both compress with loss.
    """

    PNG = "png"
    JPEG = "jpeg"
    TIFF = "tiff"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        """The Content-Type, such as `image/png`."""
        return f"image/{self.value}"

    @property
    def longest(self) -> int:
        """The most pixels that a side may have."""
        return {Format.JPEG: 65_500, Format.WEBP: 16_383}.get(self, 1_000_000)

    @property
    def deep(self) -> bool:
        """Whether it holds 16 bits a channel."""
        return self in (Format.PNG, Format.TIFF)


def write(
    pixels: NDArray[Any],
    form: Format,
    *,
    icc: bytes | None,
    exif: Image.Exif,
    dpi: tuple[float, float],
    software: str,
) -> bytes:
    """RGB (H, W, 3) or RGBA (H, W, 4), uint8 or, where `form.deep`, uint16, as a file; JPEG takes RGB alone."""
    height, width, bands = pixels.shape
    deep = pixels.dtype == np.uint16
    pixels = np.ascontiguousarray(pixels)
    image = pyvips.Image.new_from_memory(pixels.data, width, height, bands, "ushort" if deep else "uchar")
    image = image.copy(interpretation="rgb16" if deep else "srgb", xres=dpi[0] / _INCH, yres=dpi[1] / _INCH)
    if icc is not None:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    if form is Format.TIFF:
        return _tiff(image, exif, software)
    exif[ExifTags.Base.Software] = software
    image.set_type(pyvips.GValue.blob_type, "exif-data", exif.tobytes())
    image.set_type(pyvips.GValue.gstr_type, "resolution-unit", "in")
    if form is Format.JPEG:
        return bytes(image.jpegsave_buffer(Q=_JPEG_QUALITY, subsample_mode="off"))
    if form is Format.WEBP:
        return bytes(image.webpsave_buffer(Q=_WEBP_QUALITY, exact=True))
    image.set_type(pyvips.GValue.gstr_type, "png-comment-0-Software", software)
    return bytes(image.pngsave_buffer(compression=_PNG_COMPRESSION, filter="sub"))


def _tiff(image: Any, exif: Image.Exif, software: str) -> bytes:
    """A TIFF; libvips writes no EXIF into one, so its directory is read, joined with EXIF's and set first."""
    file = bytes(image.tiffsave_buffer(compression="deflate", predictor="horizontal", resunit="inch"))
    directory = TiffImagePlugin.ImageFileDirectory_v2(file[:8])
    source = BytesIO(file)
    source.seek(directory.next)
    directory.load(source)
    for tag, value in (dict(directory) | dict(exif)).items():  # Pillow writes only what has been read or set
        directory[tag] = value
    directory[ExifTags.Base.Software] = software
    offsets = directory[TiffImagePlugin.STRIPOFFSETS]
    sizes = directory[TiffImagePlugin.STRIPBYTECOUNTS]
    first, end = min(offsets), max(offset + size for offset, size in zip(offsets, sizes, strict=True))
    # `save` counts strips from the end of the directory.
    directory[TiffImagePlugin.STRIPOFFSETS] = tuple(offset - first for offset in offsets)
    result = BytesIO()
    directory.save(result)
    result.write(memoryview(file)[first:end])
    return result.getvalue()
