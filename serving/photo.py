"""An uploaded photograph to sRGB pixels for the networks, and their answer to a file like the one that came.

What is kept and what is not: docs/photographs.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import color_profile, exif, reading, writing
from serving.color_profile import ProfileError
from serving.refusal import Refusal
from serving.writing import Format

__all__ = ["Format", "Photo", "check_fits", "decode", "decode_mask", "encode"]


@dataclass(frozen=True)
class Photo:
    """A decoded photograph, upright, and what its answer keeps of the file."""

    pixels: NDArray[Any]  # (H, W, 3) sRGB, uint8 or uint16
    alpha: NDArray[Any] | None = None  # (H, W) of the same depth, None where the file is opaque
    icc: bytes | None = None  # the answer's colour profile; None: it has none, and is sRGB
    exif: bytes = b""  # an EXIF block, GPS and maker notes included; empty where there is none
    deep: bool = True  # False: the file has 8 bits a channel, and so has the answer, whatever `pixels` have
    dpi: tuple[float, float] = (reading.DPI, reading.DPI)  # across, down
    notes: tuple[str, ...] = ()  # what a person should know, such as "page 1 of 3"

    def with_pixels(self, pixels: NDArray[Any]) -> "Photo":
        """The same photograph with other pixels (H, W, 3) sRGB of its size and depth; nothing is copied."""
        if pixels.shape != self.pixels.shape or pixels.dtype != self.pixels.dtype:
            raise ValueError(
                f"pixels are {pixels.shape} {pixels.dtype}; they must be the photograph's {self.pixels.shape} "
                f"{self.pixels.dtype}"
            )
        return replace(self, pixels=pixels)


def decode(data: bytes, most_pixels: int, name: str = "photo") -> Photo:
    """The photograph in `data`; raises Refusal 400, 413 or 415 and never decodes one that is too large."""
    read = reading.read(data, most_pixels, name)
    pixels, icc, notes = _in_srgb(read.pixels, read.icc)
    alpha = read.alpha
    if alpha is not None and alpha.dtype != pixels.dtype:
        alpha = _sixteen_bits(alpha)
    deep = read.pixels.dtype == np.uint16
    return Photo(pixels, alpha, icc, read.exif, deep, read.dpi, read.notes + notes)


def decode_mask(data: bytes, photo: Photo, most_pixels: int) -> NDArray[np.bool_]:
    """(H, W) True where the mask is white (half of full and above); raises Refusal as `decode`, 422 for another size.

    Transparent pixels are not white, whatever their colour.
    """
    mask = decode(data, most_pixels, "mask")
    if mask.pixels.shape[:2] != photo.pixels.shape[:2]:
        sizes = f"mask is {_size(mask.pixels)} pixels and photo is {_size(photo.pixels)}"
        raise Refusal(422, "mask_size", f"{sizes}; they must be the same")
    half = np.iinfo(mask.pixels.dtype).max // 2
    # Luma in whole numbers (ITU-R BT.601): 299 + 587 + 114 = 1000.
    white = mask.pixels.astype(np.uint32) @ np.array([299, 587, 114], np.uint32) > half * 1000
    result: NDArray[np.bool_] = white if mask.alpha is None else white & (mask.alpha > half)
    return result


def check_fits(photo: Photo, format: Format) -> None:  # noqa: A002
    """Raises Refusal 422 where the format cannot hold a picture of the photograph's size."""
    longest = max(photo.pixels.shape[:2])
    if longest > format.longest:
        what = f"photo is {_size(photo.pixels)} pixels; a side of {format} has at most {format.longest:,}"
        raise Refusal(422, "format_too_small", f"{what}: ask for png or tiff")


def encode(photo: Photo, format: Format, made_by: Sequence[str], keep_metadata: bool = False) -> bytes:  # noqa: A002
    """The photograph as a file that names in its Software tag what made it, such as `restorer/3`.

    PNG and TIFF keep its depth. JPEG and WebP have 8 bits, and JPEG puts transparency on white. GPS and maker notes are
    written only with `keep_metadata`. Raises Refusal as `check_fits`.
    """
    check_fits(photo, format)
    pixels, icc = photo.pixels, photo.icc
    if icc is not None and not color_profile.is_srgb(icc):
        pixels = color_profile.from_srgb(_sixteen_bits(pixels), icc)
    if photo.alpha is not None and format is not Format.JPEG:
        pixels = np.dstack([pixels, photo.alpha])
    elif photo.alpha is not None:
        pixels = _on_white(pixels, photo.alpha)
    if not (photo.deep and format.deep):
        pixels = _eight_bits(pixels)
    kept = exif.kept(photo.exif, everything=keep_metadata)
    software = " ".join(["Autochrome", *made_by])
    return writing.write(pixels, format, icc=icc, exif=kept, dpi=photo.dpi, software=software)


def _in_srgb(pixels: NDArray[Any], icc: bytes | None) -> tuple[NDArray[Any], bytes | None, tuple[str, ...]]:
    """The pixels (H, W, 1, 3 or 4) as sRGB (H, W, 3), the profile that the answer gets, and what to say of it."""
    bands = pixels.shape[2]
    if icc is not None:
        try:
            return _by_profile(pixels, color_profile.whole(icc))
        except ProfileError as error:
            note = (f"colour profile left out: {error}",)
            return (*_in_srgb(pixels, None)[:2], note)
    if bands == 4:
        return color_profile.through_tables(pixels, None), color_profile.srgb(), ("CMYK answered as sRGB",)
    return (np.repeat(pixels, 3, axis=-1) if bands == 1 else pixels), None, ()


def _by_profile(pixels: NDArray[Any], icc: bytes) -> tuple[NDArray[Any], bytes, tuple[str, ...]]:
    bands, wanted = pixels.shape[2], color_profile.channels(icc)
    if (bands, wanted) == (1, 3):
        pixels = np.repeat(pixels, 3, axis=-1)  # grey in an RGB space: its three channels are equal
    elif bands != wanted:
        raise ProfileError(f"it is for {wanted} channels and the picture has {bands}")
    if wanted == 3 and color_profile.is_srgb(icc):
        return pixels, icc, ()
    if wanted == 3 and color_profile.shaper(icc) is not None:
        return color_profile.to_srgb(pixels, icc), icc, ()
    kind = {1: "grey", 3: "a profile of tables", 4: "CMYK"}[wanted]
    return color_profile.to_srgb(pixels, icc), color_profile.srgb(), (f"{kind} answered as sRGB",)


def _eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """The same picture in 8 bits, rounded to nearest: 65535 / 255 is 257."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _sixteen_bits(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    return pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint16) * np.uint16(257)


def _on_white(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    top = int(np.iinfo(pixels.dtype).max)
    share = alpha[..., None].astype(np.float32) / np.float32(top)
    mixed = np.rint(pixels * share + np.float32(top) * (1 - share))
    return np.asarray(mixed, pixels.dtype)


def _size(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
