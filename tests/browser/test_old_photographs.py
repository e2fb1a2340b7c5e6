"""Real old photographs, all of them, through the page."""

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Page, expect

from tests.browser.conftest import saved

OLD = Path(__file__).parents[3] / "shared" / "photos" / "old"


@pytest.mark.skipif(not OLD.is_dir(), reason=f"{OLD} is not here")
def test_every_old_photograph_comes_back_in_its_own_size(page: Page) -> None:
    files = sorted(file for file in OLD.iterdir() if file.is_file())
    assert len(files) == 25
    page.set_input_files("#files", files)
    page.get_by_role("radio", name="Colour", exact=True).check()
    page.click("#start")
    expect(page.locator(".tile[data-status=done]")).to_have_count(25, timeout=300_000)
    with zipfile.ZipFile(io.BytesIO(saved(page, "#download-all")[1])) as archive:
        for file, name in zip(files, archive.namelist(), strict=True):
            assert name == f"{file.stem}-autochrome.png"
            given = ImageOps.exif_transpose(Image.open(file))
            assert Image.open(archive.open(name)).size == given.size
