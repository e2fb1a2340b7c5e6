"""A real Chromium before the real service; whatever the page does, it must break no policy and ask nobody else."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    FilePayload,
    Locator,
    Page,
    expect,
    sync_playwright,
)

from tests.browser.service import Service, running

PATIENCE = 15_000  # milliseconds: other work may be on this machine
_QUIET = (
    "--no-sandbox",  # CI is root in a container
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*_QUIET])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("albums")) as service:
        yield service


@pytest.fixture
def service(_service: Service) -> Iterator[Service]:
    """The service as it was started."""
    yield _service
    _service.reset()


@pytest.fixture(scope="package")
def desk(browser: Browser, _service: Service) -> Iterator[BrowserContext]:
    """A window on a desk, for all tests: each has a tab of its own, with its own key and its own photographs."""
    context = browser.new_context(base_url=_service.url, viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(desk: BrowserContext, service: Service) -> Iterator[Page]:
    """The page, opened. When the test ends it must have broken nothing."""
    with watched(desk, service) as page:
        yield page


@contextmanager
def looking(browser: Browser, service: Service, **looks: Any) -> Iterator[Page]:
    """The page in a window of its own that `looks` different; as `page`."""
    context = browser.new_context(base_url=service.url, **looks)
    context.set_default_timeout(PATIENCE)
    with watched(context, service) as page:
        yield page
    context.close()


@contextmanager
def watched(context: BrowserContext, service: Service) -> Iterator[Page]:
    """The page in a new tab: it must break no policy, have no error, and ask nobody but its service."""
    wrong: list[str] = []
    asked: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if _is_fault(said) else None)
    page.goto("/")
    yield page
    page.close()
    assert wrong == []
    assert asked != []
    own = (f"{service.url}/", f"blob:{service.url}/")
    assert [url for url in asked if not url.startswith(own)] == []


def _is_fault(said: ConsoleMessage) -> bool:
    # What is refused is an error on the console as well, and no fault of the page.
    refusal = said.text.startswith("Failed to load resource:")
    return said.type == "error" and not refusal


def picture(width: int = 96, height: int = 72, seed: int = 1, format: str = "PNG") -> bytes:  # noqa: A002
    """A grey photograph of soft spots."""
    coarse = np.random.default_rng(seed).integers(60, 200, (6, 8), np.uint8)
    file = BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert("RGB").save(file, format)
    return file.getvalue()


def zipped(**files: bytes) -> bytes:
    """An album."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def payload(name: str, data: bytes) -> FilePayload:
    """A file as a person would choose it."""
    types = {".png": "image/png", ".jpg": "image/jpeg", ".tif": "image/tiff", ".zip": "application/zip"}
    return {"name": name, "mimeType": types.get(Path(name).suffix, ""), "buffer": data}


def choose(page: Page, *files: tuple[str, bytes]) -> None:
    """Choose photographs, and wait until they can be seen."""
    page.set_input_files("#files", [payload(name, data) for name, data in files])
    expect(page.locator(".tile:not(.add)")).to_have_count(len(files))


def state(page: Page, name: str) -> str:
    """The selector of a photograph's own state."""
    return f".tile:has(.name:text-is('{name}'))"


def revive(page: Page, *names: str) -> None:
    """Start, and wait until these photographs are done."""
    page.click("#start")
    for name in names:
        expect(page.locator(state(page, name))).to_have_attribute("data-status", "done")


def mode(page: Page, name: str) -> None:
    """Change what is done on the picture: Compare, Damage or Colours."""
    page.get_by_role("radio", name=name, exact=True).check()


def saved(page: Page, button: str) -> tuple[str, bytes]:
    """Click, and take what is downloaded: its name and content."""
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def opened(data: bytes) -> Image.Image:
    """A downloaded picture."""
    return Image.open(BytesIO(data))


def center(page: Page, place: Locator | None = None) -> tuple[float, float]:
    """Where the middle is of a place, or of the stage."""
    box = (place or page.locator("#stage")).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move and let go."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()
