"""ICC profiles: a file's own colours to sRGB for the networks, and back for the answer.

Most profiles are a curve a channel and a 3x3 matrix (ICC.1:2010, section 8.3 "three-component matrix-based"), or one
curve for grey. These are computed here, exact to a 16-bit step and invertible: Little CMS, as libvips and Pillow drive
it, goes through an interpolated table, which moves L by up to 0.3, and its 16-bit face in Python is a package of 79 MB.
Profiles made of tables (scanners, print) go through libvips one way only; their answer is sRGB.
"""

import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import ImageCms

CODES = 1 << 16
MOST_BYTES = 4 << 20  # the largest press profiles have about 3 MB
_STEPS = 1 << 18  # of the square root of light: a quarter of a 16-bit step where it matters most
_BAND = 1 << 20  # pixels that are converted at a time
_SAME = 128 / (CODES - 1)  # half an 8-bit step: a profile that is nearer to sRGB than this is sRGB
_CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")  # profiles of devices and of colour spaces
# Parameters of ICC.1:2010, section 10.16, by function type, in the order of the file.
_PARAMETRIC = ("g", "gab", "gabc", "gabcd", "gabcdef")


class ProfileError(Exception):
    """The profile is broken, or is not for these pixels."""


@dataclass(frozen=True)
class Shaper:
    """A profile of one curve a channel; three channels are mixed by a matrix, one is grey itself."""

    curves: NDArray[np.float32]  # (channels, 65536) linear light in [0, 1] of every 16-bit code, never falling
    to_pcs: NDArray[np.float64]  # (3, 3) linear RGB to XYZ under D50; the identity for grey

    @cached_property
    def codes(self) -> NDArray[np.uint16]:
        """(channels, 2^18) the 16-bit code whose light is nearest to (step / (2^18 - 1))^2."""
        light = np.linspace(0, 1, _STEPS) ** 2
        device = [np.interp(light, curve, np.arange(CODES)) for curve in self.curves]
        return np.rint(np.stack(device)).astype(np.uint16)


def whole(icc: bytes) -> bytes:
    """The profile without what may follow it; ProfileError where its length is wrong: libpng would write no picture."""
    if len(icc) < 132 or icc[36:40] != b"acsp":
        raise ProfileError("it has no ICC header")
    (length,) = struct.unpack_from(">I", icc)
    if not 132 <= length <= len(icc):
        raise ProfileError(f"its header says {length:,} bytes and it has {len(icc):,}")
    if length % 4 and icc[8] >= 4:
        raise ProfileError(f"it has {length:,} bytes; of version {icc[8]} it must be a multiple of 4")
    return icc[:length]


def channels(icc: bytes) -> int:
    """How many channels the pixels of a whole profile have: 1, 3 or 4; ProfileError where it is none for pictures."""
    if icc[12:16] not in _CLASSES or icc[16:20] not in _CHANNELS:
        raise ProfileError(f"it is for {icc[12:20]!r}, not for grey, RGB or CMYK pixels")
    return _CHANNELS[icc[16:20]]


@lru_cache(maxsize=8)
def shaper(icc: bytes) -> Shaper | None:
    """The profile's curves and matrix, None where it is made of tables; ProfileError where it is broken."""
    count = channels(icc)
    try:
        tags = _tags(icc)
        if count == 4 or b"A2B0" in tags:
            return None
        names = (b"kTRC",) if count == 1 else (b"rTRC", b"gTRC", b"bTRC")
        curves = np.stack([_curve(tags[name]) for name in names])
        if count == 1:
            return Shaper(curves, np.eye(3))
        columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        matrix = np.array(columns, np.float64).T
        np.linalg.inv(matrix)
        return Shaper(curves, matrix)
    except (KeyError, struct.error, ValueError, np.linalg.LinAlgError) as error:
        raise ProfileError(f"it is broken: {error!r}") from error


@lru_cache(maxsize=1)
def srgb() -> bytes:
    """An sRGB profile (IEC 61966-2-1), made by Little CMS; the same bytes at any time."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[:24] + struct.pack(">6H", 1999, 10, 18, 0, 0, 0) + made[36:]


@lru_cache(maxsize=8)
def is_srgb(icc: bytes) -> bool:
    """Whether an RGB profile's colours are sRGB's to half an 8-bit step: the pixels then stay as they are."""
    profile = shaper(icc)
    if profile is None or len(profile.curves) == 1:
        return False
    levels = np.linspace(0, CODES - 1, 9).astype(np.uint16)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    moved = convert(grid, profile, _srgb()).astype(np.int64) - grid
    return bool(np.abs(moved).max() <= _SAME * (CODES - 1))


def to_srgb(pixels: NDArray[Any], icc: bytes) -> NDArray[Any]:
    """Grey (H, W, 1), RGB (H, W, 3) or CMYK (H, W, 4) with the profile `icc` as sRGB (H, W, 3) of the same depth.

    RGB of 8 bits becomes 16 where the profile is curves and a matrix: on the way there and back 8 would be rounded
    three times, which moves L by more than 0.5. What sRGB cannot hold is clipped to its edge. ProfileError where the
    profile is broken.
    """
    profile = shaper(icc)
    if profile is None:
        return through_tables(pixels, icc)
    if len(profile.curves) == 1:
        return np.repeat(_grey_to_srgb(profile, pixels.dtype)[pixels], 3, axis=-1)
    return convert(pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint16) * 257, profile, _srgb())


def from_srgb(pixels: NDArray[np.uint16], icc: bytes) -> NDArray[np.uint16]:
    """Turn sRGB (H, W, 3) into the colours of an RGB profile that `shaper` knows."""
    profile = shaper(icc)
    if profile is None or len(profile.curves) != 3:
        raise ProfileError("it is made of tables or for grey; it must be a matrix and three curves")
    return convert(pixels, _srgb(), profile)


def convert(pixels: NDArray[np.uint16], source: Shaper, target: Shaper) -> NDArray[np.uint16]:
    """(H, W, 3) from one RGB space to another, relative to white; the target's edge clips."""
    codes = target.codes
    matrix = (np.linalg.inv(target.to_pcs) @ source.to_pcs).astype(np.float32)
    result = np.empty_like(pixels)
    step = max(1, _BAND // pixels.shape[1])
    for top in range(0, len(pixels), step):
        rows = slice(top, top + step)
        linear = np.stack([source.curves[channel][pixels[rows, :, channel]] for channel in range(3)])
        mixed = np.tensordot(matrix, linear, axes=1).clip(0, 1)
        steps = np.rint(np.sqrt(mixed) * (_STEPS - 1)).astype(np.int32)
        for channel in range(3):
            result[rows, :, channel] = codes[channel][steps[channel]]
    return result


def through_tables(pixels: NDArray[Any], icc: bytes | None) -> NDArray[Any]:
    """Pixels as sRGB by Little CMS, relative to white with black point compensation; None: libvips' own CMYK."""
    height, width, bands = pixels.shape
    deep = pixels.dtype == np.uint16
    space = {1: "grey16" if deep else "b-w", 3: "rgb16" if deep else "srgb", 4: "cmyk"}[bands]
    try:
        image = pyvips.Image.new_from_memory(pixels.data, width, height, bands, "ushort" if deep else "uchar")
        image = image.copy(interpretation=space)
        if icc is not None:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
        source = {"input_profile": "cmyk"} if icc is None else {"embedded": True}
        image = image.icc_transform(
            "srgb", intent="relative", black_point_compensation=True, depth=16 if deep else 8, **source
        )
        result: NDArray[Any] = image.numpy()
    except pyvips.Error as error:
        raise ProfileError(f"Little CMS cannot use it: {error.message}") from error
    if result.shape != (height, width, 3) or result.dtype != pixels.dtype:
        raise ProfileError(f"it makes {result.shape} of {result.dtype} from {pixels.shape} of {pixels.dtype}")
    return result


def _srgb() -> Shaper:
    profile = shaper(srgb())
    assert profile is not None  # noqa: S101 - it is our own
    return profile


def _grey_to_srgb(profile: Shaper, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The sRGB code of every grey code, both of `dtype`."""
    codes: NDArray[np.uint16] = _srgb().codes[0][np.rint(np.sqrt(profile.curves[0]) * (_STEPS - 1)).astype(np.int32)]
    if dtype == np.uint16:
        return codes
    return np.asarray(np.rint(codes[:: CODES // 255] / 257), np.uint8)


def _tags(icc: bytes) -> dict[bytes, bytes]:
    """Tag signature -> its element (ICC.1:2010, section 7.3)."""
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 100:
        raise ValueError(f"{count} tags")
    tags = {}
    for entry in range(count):
        name, start, size = struct.unpack_from(">4sII", icc, 132 + 12 * entry)
        if start + size > len(icc):
            raise ValueError(f"{name!r} ends beyond the profile")
        tags[name] = icc[start : start + size]
    return tags


def _xyz(element: bytes) -> tuple[float, ...]:
    return tuple(value / 65536 for value in struct.unpack_from(">3i", element, 8))


def _curve(element: bytes) -> NDArray[np.float32]:
    """(65536,) light in [0, 1] of every code: a table, a power or a parametric curve (sections 10.5 and 10.16)."""
    code: NDArray[np.float64] = np.linspace(0, 1, CODES)
    if element[:4] == b"para":
        light = _parametric(element, code)
    elif element[:4] == b"curv":
        light = _table(element, code)
    else:
        raise ValueError(f"a curve of type {element[:4]!r}")
    light = np.maximum.accumulate(np.nan_to_num(light, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1))
    if light[-1] - light[0] < 0.5:
        raise ValueError("a curve that does not rise")
    return light.astype(np.float32)


def _table(element: bytes, code: NDArray[np.float64]) -> NDArray[np.float64]:
    (count,) = struct.unpack_from(">I", element, 8)
    if count == 0:
        return code
    if count == 1:
        (gamma,) = struct.unpack_from(">H", element, 12)
        return np.asarray(code ** (gamma / 256), np.float64)
    table = np.frombuffer(element, ">u2", count, 12)
    return np.interp(code, np.linspace(0, 1, count), table / (CODES - 1))


def _parametric(element: bytes, code: NDArray[np.float64]) -> NDArray[np.float64]:
    (kind,) = struct.unpack_from(">H", element, 8)
    if kind >= len(_PARAMETRIC):
        raise ValueError(f"a parametric curve of type {kind}")
    names = _PARAMETRIC[kind]
    given = [value / 65536 for value in struct.unpack_from(f">{len(names)}i", element, 12)]
    p = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0, "e": 0.0, "f": 0.0} | dict(zip(names, given, strict=True))
    if kind in (1, 2):  # below -b / a the curve is c alone, and c is added above it
        p |= {"d": -p["b"] / p["a"] if p["a"] else 0.0, "c": 0.0, "e": p["c"], "f": p["c"]}
    power = (p["a"] * code + p["b"]).clip(0) ** p["g"] + p["e"]
    return np.asarray(np.where(code >= p["d"], power, p["c"] * code + p["f"]), np.float64)
