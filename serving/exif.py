"""EXIF: what of it an answer keeps, and what it says of the picture.

Kept are the tags that describe the photograph: camera, lens, exposure, dates, description, artist, copyright. GPS and
maker notes are kept only where asked. Never kept: the thumbnail (it shows the picture before) and private tags.
"""

import struct
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

MOST_BYTES = 1 << 20  # EXIF that is larger is not read
_WRITTEN_BYTES = 60_000  # a JPEG segment holds 65,533
_LONG = 1000  # bytes of a value that is left out first
_TAGS = 200  # of one directory; cameras write about 60

_DESCRIBES = {
    ExifTags.Base.DocumentName,
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.PageName,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Rating,
    ExifTags.Base.Copyright,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
}
_RESOLUTION = {ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit}
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # all others: 1
# Of the Exif directory: pointers, and what was true of the old pixels.
_STALE = {
    ExifTags.Base.ExifInteroperabilityOffset,
    ExifTags.Base.ColorSpace,
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
}


def resolution(block: bytes) -> tuple[float, float] | None:
    """Dots an inch across and down, None where EXIF does not say."""
    main = _read(block)[0]
    per_inch = 2.54 if main.get(ExifTags.Base.ResolutionUnit) == 3 else 1.0
    try:
        return (
            float(main[ExifTags.Base.XResolution]) * per_inch,
            float(main[ExifTags.Base.YResolution]) * per_inch,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def kept(block: bytes, everything: bool) -> Image.Exif:
    """The tags of `block` that an answer keeps; with `everything` also GPS and maker notes.

    A tag that is broken is left out; where all is too long for a JPEG, so are its long values.
    """
    main, photo, gps = _read(block)
    result = Image.Exif()
    result.update(_writable({tag: value for tag, value in main.items() if tag in _DESCRIBES}, None))
    dropped = _STALE if everything else _STALE | {ExifTags.Base.MakerNote}
    described = {tag: value for tag, value in photo.items() if tag not in dropped}
    directories = {ExifTags.IFD.Exif: described} | ({ExifTags.IFD.GPSInfo: gps} if everything else {})
    for directory, tags in directories.items():
        if writable := _writable(tags, directory):
            result[directory] = writable
    if len(result.tobytes()) > _WRITTEN_BYTES:
        _leave_out_long(result)
    return result if len(result.tobytes()) <= _WRITTEN_BYTES else Image.Exif()


def _read(block: bytes) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """The main, the Exif and the GPS directory of an EXIF block or a TIFF file; empty where broken."""
    exif = Image.Exif()
    try:
        exif.load(block)
        sizes = _sizes(block.removeprefix(b"Exif\x00\x00"), None)
    # Pillow raises whatever a broken block leads it to; a photograph with one is still a photograph.
    except Exception:
        return {}, {}, {}
    main: dict[int, Any] = {
        tag: _value(exif, tag) for tag in _DESCRIBES | _RESOLUTION if 0 < sizes.get(tag, 0) <= _WRITTEN_BYTES
    }
    return main, _directory(exif, block, ExifTags.IFD.Exif), _directory(exif, block, ExifTags.IFD.GPSInfo)


def _directory(exif: Image.Exif, block: bytes, name: int) -> dict[int, Any]:
    """The directory that the tag `name` points to, whole, unless it is too long: Pillow makes objects of all of it."""
    try:
        sizes = _sizes(block.removeprefix(b"Exif\x00\x00"), exif[name])
        return dict(exif.get_ifd(name)) if sum(sizes.values()) <= MOST_BYTES else {}
    except Exception:  # as above
        return {}


def _value(exif: Image.Exif, tag: int) -> Any:
    try:
        return exif[tag]
    except Exception:  # as above
        return None


def _sizes(tiff: bytes, start: int | None) -> dict[int, int]:
    """How many bytes every tag of the directory at `start` claims (TIFF 6.0, page 14); None: the first directory."""
    order = "<" if tiff[:2] == b"II" else ">"
    if start is None:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    entries = struct.iter_unpack(f"{order}HHI4x", tiff[start + 2 : start + 2 + 12 * count])
    return {tag: _TYPE_BYTES.get(kind, 1) * number for tag, kind, number in entries}


def _writable(tags: dict[int, Any], directory: int | None) -> dict[int, Any]:
    """The tags that Pillow writes back, text beyond ASCII as the bytes it came as."""
    result = {}
    for tag, value in list(tags.items())[:_TAGS]:
        # Pillow reads text as Latin-1 and writes it as ASCII: bytes keep UTF-8 whole.
        raw = value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value
        alone = TiffImagePlugin.ImageFileDirectory_v2(group=directory)
        try:
            alone[tag] = raw
            alone.tobytes()
        except Exception:  # noqa: S112 - as above
            continue
        result[tag] = raw
    return result


def _leave_out_long(exif: Image.Exif) -> None:
    for tags in (exif, *(value for value in exif.values() if isinstance(value, dict))):
        for tag, value in list(tags.items()):
            if isinstance(value, bytes | tuple) and len(value) > _LONG:
                del tags[tag]
