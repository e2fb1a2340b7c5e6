"""The README's picture of the page, taken of a service that runs.

`python -m tests.browser.portrait http://127.0.0.1:8000 ../shared/photos/old/archive-05.jpg MORE...`
The first photograph is the one that is seen large, half before and half after.
"""

import argparse
import shutil
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

PLACE = Path(__file__).parents[2] / "docs" / "images" / "page.png"
SIZE = (1200, 750)
COLOURS = 256  # so that it stays below 400 kB
PATIENCE = 600_000  # milliseconds for all photographs


def main() -> None:
    """Write docs/images/page.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("service", help="its address")
    parser.add_argument("photographs", nargs="+", type=Path)
    parser.add_argument("--task", default="Repair and colour", choices=("Repair and colour", "Repair", "Colour"))
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce")
        page.goto(arguments.service)
        taken = revived(page, arguments.photographs, arguments.task)
        chromium.close()
    picture = Image.open(BytesIO(taken)).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=2).save(PLACE, optimize=True)
    print(f"{PLACE}: {PLACE.stat().st_size / 1000:.0f} kB")


def revived(page: Page, photographs: list[Path], task: str) -> bytes:
    """A PNG of the page when all `photographs` are done."""
    page.set_input_files("#files", photographs)
    page.get_by_role("radio", name=task, exact=True).check()
    page.click("#start")
    done = page.locator(".tile[data-status=done]")
    expect(done).to_have_count(len(photographs), timeout=PATIENCE)
    page.mouse.move(0, 0)
    page.get_by_role("slider", name="Before and after").wait_for()
    page.evaluate("document.activeElement.blur()")
    return page.screenshot()


if __name__ == "__main__":
    main()
