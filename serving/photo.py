"""Uploaded bytes to a Photo and back: everything untrusted stops here.

What survives now: the size in pixels, alpha, and EXIF orientation, which is applied once. What does not yet: 16 bits
a channel (read as 8), ICC profiles (pixels are taken as sRGB) and the other metadata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from serving.refusal import Refusal

READ = ("JPEG", "PNG", "WEBP", "TIFF")
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # Pillow's names for 16-bit grey
_PNG_COMPRESSION = 3  # zlib level: a third of the default's time for a few per cent more bytes
_JPEG_QUALITY = 95


class Format(StrEnum):
    """What a picture is answered as."""

    PNG = "png"
    JPEG = "jpeg"

    @property
    def media_type(self) -> str:
        """The Content-Type: `image/png` or `image/jpeg`."""
        return f"image/{self.value}"


@dataclass(frozen=True)
class Photo:
    """A decoded upload, upright."""

    pixels: NDArray[np.uint8]  # (H, W, 3) sRGB
    alpha: NDArray[np.uint8] | None  # (H, W), None where the upload is opaque


def decode(data: bytes, most_pixels: int, name: str = "photo") -> Photo:
    """The photograph in `data`; raises Refusal 400, 413 or 415 and never decodes one that is too large."""
    image = _decoded(data, most_pixels, name)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return Photo(np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]))
    return Photo(np.asarray(_eight_bits(image, name).convert("RGB")), None)


def decode_mask(data: bytes, photo: Photo, most_pixels: int) -> NDArray[np.bool_]:
    """(H, W) True where the mask is white (128 and above); raises Refusal as `decode`, and 422 for another size."""
    mask = np.asarray(_eight_bits(_decoded(data, most_pixels, "mask"), "mask").convert("L")) >= 128
    if mask.shape != photo.pixels.shape[:2]:
        raise Refusal(
            422,
            "mask_size",
            f"mask is {_size(mask.shape)} pixels and photo is {_size(photo.pixels.shape)}; they must be the same",
        )
    return mask


def encode(photo: Photo, format: Format, made_by: Sequence[str]) -> bytes:  # noqa: A002
    """The picture as a file that names in its Software tag what made it; JPEG puts transparency on white."""
    software = " ".join(["Autochrome", *made_by])
    file = BytesIO()
    if format is Format.PNG:
        info = PngImagePlugin.PngInfo()
        info.add_text("Software", software)
        _with_alpha(photo).save(file, "PNG", pnginfo=info, compress_level=_PNG_COMPRESSION)
    else:
        exif = Image.Exif()
        exif[ExifTags.Base.Software] = software
        _on_white(photo).save(file, "JPEG", exif=exif, quality=_JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def _decoded(data: bytes, most_pixels: int, name: str) -> Image.Image:
    if not data:
        raise Refusal(400, "empty", f"{name} is an empty file; it must be a picture")
    image = _opened(data, name)
    width, height = image.size
    if width * height > most_pixels:
        raise _too_large(f"{name} is {width}x{height}, {width * height:,} pixels", most_pixels)
    try:
        image.load()
    except MemoryError:
        raise
    # Pillow's readers raise whatever a broken file leads them to (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        raise Refusal(400, "unreadable", f"{name} cannot be decoded, it is broken or cut short: {error}") from error
    return _upright(image)


def _opened(data: bytes, name: str) -> Image.Image:
    """The picture with only its header read."""
    try:
        return Image.open(BytesIO(data), formats=READ)
    except UnidentifiedImageError as error:
        if data.startswith(_BEGINNINGS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            raise Refusal(400, "unreadable", f"{name} has a broken header") from error
        raise Refusal(415, "not_a_picture", f"{name} is no picture that is read here: {_read()}") from error
    except Image.DecompressionBombError as error:
        raise Refusal(413, "too_many_pixels", f"{name} has too many pixels: {error}") from error
    except MemoryError:
        raise
    except Exception as error:
        raise Refusal(400, "unreadable", f"{name} has a broken header: {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    # A photograph with a broken EXIF block is still a photograph: it has no orientation.
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, OverflowError):
        return image


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """The image in a mode that converts to RGB without clipping."""
    if image.mode in _DEEP:
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode in ("F", "LAB", "HSV"):
        raise Refusal(415, "unsupported_pixels", f"{name} has {image.mode} pixels; they must be grey, RGB or CMYK")
    return image


def _with_alpha(photo: Photo) -> Image.Image:
    if photo.alpha is None:
        return Image.fromarray(photo.pixels)
    return Image.fromarray(np.dstack([photo.pixels, photo.alpha]))


def _on_white(photo: Photo) -> Image.Image:
    image = _with_alpha(photo)
    if photo.alpha is None:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _too_large(what: str, most_pixels: int) -> Refusal:
    return Refusal(413, "too_many_pixels", f"{what}; at most {most_pixels:,} are taken")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _read() -> str:
    return ", ".join(READ)
