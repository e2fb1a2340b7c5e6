"""The page's modules that can be asked without its buttons: colours, masks and zips."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page

from models.color import fit_to_gamut, lab_to_rgb, rgb_to_lab

COLOURS = np.random.default_rng(7).integers(0, 256, (200, 3))


def asked(page: Page, module: str, call: str, value: object) -> Any:
    """What a function of a module answers."""
    return page.evaluate(f"async (value) => {{ const m = await import('/web/{module}'); return {call}; }}", value)


def test_lab_is_the_services_lab(page: Page) -> None:
    ours = np.array(asked(page, "color.js", "value.map(m.rgbToLab)", COLOURS.tolist()))
    theirs = rgb_to_lab(torch.tensor(COLOURS / 255).float().T[None, :, :, None])[0, :, :, 0].T.numpy()
    assert ours == pytest.approx(theirs, abs=0.02)
    back = np.array(asked(page, "color.js", "value.map(m.rgbToLab).map(m.labToRgb)", COLOURS.tolist()))
    assert np.abs(back - COLOURS).max() <= 1


def test_colours_outside_of_srgb_are_fitted_as_the_service_does(page: Page) -> None:
    draw = np.random.default_rng(8)
    wild = np.stack((draw.uniform(2, 98, 200), *draw.uniform(-105, 105, (2, 200))), axis=1)
    ours = np.array(asked(page, "color.js", "value.map(m.fitToGamut)", wild.tolist()))
    theirs = fit_to_gamut(torch.tensor(wild).float().T[None, :, :, None])[0, :, :, 0].T.numpy()
    assert ours == pytest.approx(theirs, abs=0.15)


def test_the_palette_holds_colours_that_can_be_seen_at_that_lightness(page: Page) -> None:
    for lightness in (0, 3, 20, 50, 80, 97, 100):
        colours = asked(page, "palette.js", "m.likely(value)", lightness)
        assert len({colour["name"] for colour in colours}) == len(colours) == 12
        lab = torch.tensor([colour["lab"] for colour in colours]).float().T[None, :, :, None]
        assert torch.allclose(rgb_to_lab(lab_to_rgb(lab)), lab, atol=0.6)
        assert torch.allclose(lab[:, 0], torch.full_like(lab[:, 0], lightness))


def test_a_mask_has_the_photographs_size_whatever_the_canvas(page: Page) -> None:
    script = """(async () => {
        const small = new ImageData(4, 2);
        for (const at of [0, 5]) small.data[4 * at + 3] = 255;
        const png = await m.maskPng(value[0], value[1], small);
        return [...new Uint8Array(await png.arrayBuffer())];
    })()"""
    for width, height in ((4, 2), (13, 7), (2001, 1000)):
        data = asked(page, "png.js", f"await {script}", [width, height])
        mask = Image.open(io.BytesIO(bytes(data)))
        small = np.array([[1, 0, 0, 0], [0, 1, 0, 0]], bool)
        rows = ((np.arange(height) + 0.5) * 2 / height).astype(int)
        columns = ((np.arange(width) + 0.5) * 4 / width).astype(int)
        assert np.array_equal(np.asarray(mask), small[rows][:, columns])


def test_a_zip_opens_with_names_of_any_language(page: Page) -> None:
    script = """(async () => {
        const files = value.map(([name, text]) => ({ name, blob: new Blob([text]) }));
        return [...new Uint8Array(await (await m.zip(files)).arrayBuffer())];
    })()"""
    files = [["großmutter.png", "one"], ["祖母.jpg", "two" * 2000], ["祖母.jpg", ""]]
    data = asked(page, "zip.js", f"await {script}", files)
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["großmutter.png", "祖母.jpg", "祖母 (2).jpg"]
        assert archive.read("祖母.jpg") == b"two" * 2000


def test_what_goes_wrong_on_the_page_is_not_blamed_on_the_service(page: Page) -> None:
    refusal = "m.asRefusal(new Error(value))"
    assert asked(page, "refusal.js", f"{refusal}.plain", "so and so") == "This page could not do that."
    assert asked(page, "refusal.js", f"{refusal}.message", "so and so") == "so and so"
