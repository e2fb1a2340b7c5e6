"""One raw photograph -> a small square one of good quality, or the reason why it is left out."""

import hashlib
import io
import warnings
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipelines.metrics import colourfulness
from pipelines.params import Prepare

FORMATS = ("JPEG", "PNG", "WEBP")
LARGEST = 100_000_000  # pixels: more is no photograph but a way to fill memory
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR_BGR,
}


class UnfitError(Exception):
    """A photograph that is left out; the message is `reason: detail`."""


@dataclass(frozen=True)
class Looked:
    """What was seen in one file."""

    sha256: str  # of the raw bytes
    width: int  # of the raw photograph as its header has it, 0 where that cannot be read
    height: int
    packed: bytes  # the square JPEG, empty where it is left out
    reason: str  # why it is left out, such as `too small: 64 x 48`; empty where it is not
    given: bytes = b""  # the picture that it is the answer to, encoded; empty in a set of no pairs


def look(raw: bytes, params: Prepare) -> Looked:
    """Checks, crops and encodes one photograph; a pure function that raises nothing whatever the bytes are."""
    digest = hashlib.sha256(raw).hexdigest()
    width = height = 0
    try:
        width, height, kind = _header(raw)
        _check_size(width, height, params)
        photo = square(raw, min(width, height), kind, params.size)
        _check_colour(photo, params)
        return Looked(digest, width, height, encode(photo, params.quality), "")
    except UnfitError as unfit:
        return Looked(digest, width, height, b"", str(unfit))


def look_at_pair(raw: bytes, given: bytes | None, params: Prepare) -> Looked:
    """The same for a photograph and the picture that it is the answer to; where that is None, it is made: its edges."""
    looked = look(raw, params)
    if looked.reason:
        return looked
    if given is None:
        photo = cv2.imdecode(np.frombuffer(looked.packed, np.uint8), cv2.IMREAD_COLOR_BGR)
        return replace(looked, given=cv2.imencode(".png", edges(np.asarray(photo, np.uint8)))[1].tobytes())
    other = look(given, replace(params, colorfulness=0.0))
    reason = f"its pair is {other.reason}" if other.reason else ""
    if not reason and (looked.width * other.height != looked.height * other.width):
        reason = f"unlike its pair: {looked.width} x {looked.height} and {other.width} x {other.height}"
    return replace(looked, packed=b"" if reason else looked.packed, reason=reason, given=other.packed)


def edges(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph's edges, black on white, (H, W, 3): Canny's, with thresholds around the median light."""
    grey = cv2.GaussianBlur(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), (0, 0), 1.0)
    middle = float(np.median(grey))
    found = cv2.Canny(grey, 0.5 * middle, 1.1 * middle)
    return np.repeat(255 - np.asarray(found, np.uint8)[:, :, None], 3, axis=2)


def square(raw: bytes, short: int, kind: str, size: int) -> NDArray[np.uint8]:
    """The middle of the photograph, upright, (size, size, 3) sRGB in OpenCV's order B, G, R.

    `short` is the raw photograph's short side. JPEGs are decoded at the smallest eighth, quarter or half that still
    has `size`. Raises UnfitError where it cannot be decoded to its end.
    """
    factor = next(n for n in _REDUCED if n == 1 or (kind == "JPEG" and short >= n * size))
    try:
        photo = cv2.imdecode(np.frombuffer(raw, np.uint8), _REDUCED[factor])
    except cv2.error as error:
        raise UnfitError(f"unreadable: {error.err}") from error
    if photo is None:
        raise UnfitError("truncated or damaged: it cannot be decoded to its end")
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return shrink(np.asarray(photo[top : top + side, left : left + side], dtype=np.uint8), size)


def shrink(photo: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square photograph, (side, side, 3), at (size, size, 3) without aliasing.

    Below three times the size, the mean of 2 x 2 interpolated values is as close to Lanczos as INTER_AREA is and
    takes a third of the time (docs/prepare.md).
    """
    side = len(photo)
    if side <= size:
        return photo if side == size else _resized(photo, size, cv2.INTER_CUBIC)
    if side < 3 * size:
        photo = _resized(photo, 2 * size, cv2.INTER_LINEAR)
    return _resized(photo, size, cv2.INTER_AREA)


def encode(photo: NDArray[np.uint8], quality: int) -> bytes:
    """The photograph as a JPEG whose colours are as sharp as its light (4:4:4)."""
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])[1].tobytes()


def _resized(photo: NDArray[np.uint8], size: int, interpolation: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(photo, (size, size), interpolation=interpolation), dtype=np.uint8)


def _header(raw: bytes) -> tuple[int, int, str]:
    """Width, height and format, without decoding a pixel."""
    if not raw:
        raise UnfitError("unreadable: the file is empty or may not be read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
                return image.width, image.height, "JPEG" if image.format == "MPO" else str(image.format)
    except Image.DecompressionBombError as error:
        raise UnfitError(f"too large: more than {LARGEST} pixels") from error
    except UnidentifiedImageError as error:
        raise UnfitError(f"not a picture: neither {', '.join(FORMATS[:-1])} nor {FORMATS[-1]}") from error
    except Exception as error:  # Pillow's plugins let through whatever a malformed header makes them raise
        raise UnfitError(f"unreadable: {type(error).__name__}") from error


def _check_size(width: int, height: int, params: Prepare) -> None:
    if width * height > LARGEST:
        raise UnfitError(f"too large: {width} x {height} is more than {LARGEST} pixels")
    if min(width, height) < params.smallest:
        raise UnfitError(f"too small: {width} x {height}; the short side must be at least {params.smallest}")


def _check_colour(photo: NDArray[np.uint8], params: Prepare) -> None:
    if params.colorfulness > 0:
        step = max(1, params.size // 64)  # 64 x 64 pixels tell a grey photograph from a coloured one
        found = colourfulness(photo[::step, ::step, ::-1])
        if found < params.colorfulness:
            raise UnfitError(f"near-grey: colorfulness is {found:.2f}; it must be at least {params.colorfulness:g}")
