"""Picture files as they are sent, and what the tests of them share."""

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pillow_heif
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.color import rgb_to_lab
from models.image import to_tensor
from serving.refusal import Refusal

MOST = 1_000_000
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def gradient(height: int = 40, width: int = 60, deep: bool = False) -> NDArray[Any]:
    """Every pixel differs from its neighbours, and the corners from each other."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows * 6, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)
    return pixels.astype(np.uint16) * 257 - (pixels > 0) * np.uint16(100) if deep else pixels


def file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def vips(pixels: NDArray[Any], suffix: str, icc: bytes | None = None, **options: Any) -> bytes:
    """A file as libvips writes it: Pillow has no 16-bit RGB."""
    deep = pixels.dtype == np.uint16
    space = {1: "grey16" if deep else "b-w", 2: "grey16" if deep else "b-w"}.get(
        pixels.shape[2], "rgb16" if deep else "srgb"
    )
    pixels = np.ascontiguousarray(pixels)
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.data, width, height, bands, "ushort" if deep else "uchar")
    image = image.copy(interpretation=space)
    if icc:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    return bytes(image.write_to_buffer(suffix, **options))


def heic(image: Image.Image, **options: Any) -> bytes:
    buffer = BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=-1, chroma=444, **options)
    return buffer.getvalue()


def profile(gamma: float, columns: NDArray[np.float64] | None) -> bytes:
    """A profile of ICC version 2: a power for every channel and a matrix, or grey where there are no columns."""
    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(gamma * 256))
    tags = {b"wtpt": _xyz((0.9642, 1.0, 0.8249)), b"cprt": b"text" + bytes(4) + b"none\0\0\0\0"}
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)
    if columns is None:
        tags[b"kTRC"] = curve
    else:
        tags |= {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = struct.pack(">I", len(tags)), b""
    for name, element in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(element))
        body += element
    space = b"GRAY" if columns is None else b"RGB "
    head = struct.pack(">I4s4s4s4s4s", 128 + len(table + body), b"none", b"\2\x40\0\0", b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz((0.9642, 1.0, 0.8249))[8:]
    return head + bytes(48) + table + body


def _xyz(values: Any) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


# Adobe RGB (1998) and its curve, under D50.
ADOBE_COLUMNS = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
ADOBE = profile(2.19921875, ADOBE_COLUMNS)
GREY = profile(1.0, None)


def refusal(work: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        work()
    return caught.value


def lightness(pixels: NDArray[Any]) -> NDArray[np.float32]:
    lab: NDArray[np.float32] = rgb_to_lab(to_tensor(pixels)[None])[0, 0].numpy()
    return lab
