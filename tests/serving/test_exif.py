from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from serving.photo import Format, Photo, decode, encode
from tests.serving.files import MOST, file, gradient, heic

GPS = {1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 8.0)}
DATE, MAKER_NOTE = ExifTags.Base.DateTimeOriginal, ExifTags.Base.MakerNote


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_once(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    image = Image.fromarray(gradient())
    photo = decode(file(image, kind, exif=exif, dpi=(300, 200), **options), MOST)
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's names for what undoes the orientation
    upright = np.asarray(image.transpose(Image.Transpose(turned[orientation])) if orientation > 1 else image)
    assert photo.pixels.shape == upright.shape
    assert np.abs(photo.pixels.astype(int) - upright).max() < 12
    if kind != "WEBP":
        assert photo.dpi == ((200, 300) if orientation >= 5 else (300, 200))
    for form in Format:
        answer = encode(photo, form, [])
        assert np.abs(decode(answer, MOST).pixels.astype(int) - photo.pixels).mean() < 3
        assert Image.open(BytesIO(answer)).getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_heic_is_turned_by_its_own_property() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = Image.fromarray(gradient())
    photo = decode(heic(image, exif=exif.tobytes()), MOST)
    assert np.abs(photo.pixels.astype(int) - np.rot90(gradient(), -1)).mean() < 5


@pytest.mark.parametrize("form", list(Format))
def test_resolution_is_kept(form: Format) -> None:
    for kind in ("JPEG", "PNG", "TIFF", "BMP"):
        photo = decode(file(Image.fromarray(gradient()), kind, dpi=(600, 300)), MOST)
        assert list(photo.dpi) == [600, 300]
        answer = encode(photo, form, [])
        assert list(decode(answer, MOST).dpi) == [600, 300]
        if form is not Format.WEBP:
            assert Image.open(BytesIO(answer)).info["dpi"][0] == pytest.approx(600, abs=0.01)


def test_broken_exif_is_no_reason_to_refuse() -> None:
    data = file(Image.fromarray(gradient()), "JPEG", exif=b"Exif\x00\x00II*\x00garbage")
    photo = decode(data, MOST)
    assert photo.pixels.shape == (40, 60, 3)
    encode(photo, Format.JPEG, [])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIC"])
@pytest.mark.parametrize("form", list(Format))
def test_what_exif_is_kept(kind: str, form: Format) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Voigtländer".encode()
    exif[ExifTags.Base.ImageDescription] = "Grandmother, 1931"
    exif[ExifTags.Base.Software] = "Scanner 1.0"
    exif.get_ifd(ExifTags.IFD.Exif).update({DATE: "1931:05:01 12:00:00", MAKER_NOTE: b"secret serial number"})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(GPS)
    image = Image.fromarray(gradient())
    photo = decode(heic(image, exif=exif.tobytes()) if kind == "HEIC" else file(image, kind, exif=exif.tobytes()), MOST)
    for keep in (False, True):
        answer = encode(photo, form, ["restorer/3", "colorizer/2"], keep_metadata=keep)
        found = Image.open(BytesIO(answer)).getexif()
        assert found[ExifTags.Base.Software] == "Autochrome restorer/3 colorizer/2"
        assert found[ExifTags.Base.ImageDescription] == "Grandmother, 1931"
        if kind != "TIFF":  # Pillow puts question marks into the TIFF that is sent
            assert found[ExifTags.Base.Make].encode("latin-1") == "Voigtländer".encode()
        assert found.get_ifd(ExifTags.IFD.Exif)[DATE] == "1931:05:01 12:00:00"
        assert (found.get_ifd(ExifTags.IFD.GPSInfo).get(2) == (48.0, 51.0, 24.0)) == keep
        assert (found.get_ifd(ExifTags.IFD.Exif).get(MAKER_NOTE) == b"secret serial number") == keep
        assert (b"secret serial" in answer) == keep


def test_what_made_it_is_written_into_the_file() -> None:
    png = Image.open(BytesIO(encode(Photo(gradient()), Format.PNG, ["restorer/3", "colorizer/2"])))
    assert isinstance(png, PngImagePlugin.PngImageFile)
    assert png.text["Software"] == "Autochrome restorer/3 colorizer/2"
    for form in Format:
        exif = Image.open(BytesIO(encode(Photo(gradient()), form, ["restorer/3"]))).getexif()
        assert exif[ExifTags.Base.Software] == "Autochrome restorer/3"


def test_exif_too_long_for_a_jpeg_loses_its_long_values() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Leica"
    exif[ExifTags.IFD.Exif] = {MAKER_NOTE: bytes(90_000), DATE: "1931:05:01 12:00:00"}
    photo = decode(file(Image.fromarray(gradient()), "PNG", exif=exif), MOST)
    found = Image.open(BytesIO(encode(photo, Format.JPEG, [], keep_metadata=True))).getexif()
    assert found[ExifTags.Base.Make] == "Leica"
    assert found.get_ifd(ExifTags.IFD.Exif)[DATE] == "1931:05:01 12:00:00"
