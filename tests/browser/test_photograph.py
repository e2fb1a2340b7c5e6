"""One photograph: sent, compared, saved, by the models and in the format that are chosen."""

import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import center, choose, drag, mode, opened, picture, revive, saved, state
from tests.browser.service import Service


def clip(page: Page) -> float:
    """Where the answer begins to be seen, pixels from the picture's left."""
    value = page.locator("#after").evaluate("image => getComputedStyle(image).clipPath")
    return float(value.split()[-1].removesuffix("px)")) if value != "inset(0px)" else 0.0


def test_a_photograph_is_repaired_and_coloured(page: Page, service: Service) -> None:
    choose(page, ("grandma.png", picture()))
    expect(page.locator("#caption")).to_contain_text("96 \u00d7 72")
    revive(page, "grandma.png")
    expect(page.locator("#made-by")).to_have_text("Repaired by restorer/1, coloured by colorizer/1")
    expect(page.locator("#live")).to_have_text("grandma.png is done.")
    asked, headers = service.gate.asked[0]
    assert asked == "/v1/revive?format=png"
    assert headers["origin"] == service.url  # `serving.edge` refuses a form from anywhere else
    name, data = saved(page, "#download")
    assert name == "grandma-autochrome.png"
    assert opened(data).size == (96, 72)


@pytest.mark.parametrize(("choice", "path", "made"), [
    ("Repair", "/v1/restore", "Repaired by restorer/1"),
    ("Colour", "/v1/colorize", "Coloured by colorizer/1"),
])  # fmt: skip
def test_one_of_both_is_done(page: Page, service: Service, choice: str, path: str, made: str) -> None:
    choose(page, ("a.png", picture()))
    page.get_by_role("radio", name=choice, exact=True).check()
    expect(page.locator("#start")).to_have_text(choice)
    revive(page, "a.png")
    assert service.gate.asked[0][0].startswith(path)
    expect(page.locator("#made-by")).to_have_text(made)


def test_how_much_is_sent_and_that_it_is_worked_on_is_shown(page: Page, service: Service) -> None:
    service.models.hold.clear()
    noise = BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (400, 500, 3), np.uint8)).save(noise, "PNG")
    choose(page, ("a.png", noise.getvalue()))
    line = page.context.new_cdp_session(page)
    narrow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    line.send("Network.emulateNetworkConditions", narrow)
    page.click("#start")
    expect(page.locator("#veil-words")).to_have_text(re.compile(r"Sending [1-9]\d? %"))
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "sending")
    line.send("Network.emulateNetworkConditions", narrow | {"uploadThroughput": -1})
    expect(page.locator("#veil-words")).to_have_text("Working…")
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "working")
    service.models.hold.set()
    expect(page.locator("#veil")).to_be_hidden()


def test_work_can_be_stopped(page: Page, service: Service) -> None:
    service.models.hold.clear()
    choose(page, ("a.png", picture()))
    page.click("#start")
    expect(page.locator("#veil-words")).to_have_text("Working…")
    page.click("#cancel")
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "ready")
    service.models.hold.set()
    revive(page, "a.png")


def test_before_and_after_are_compared(page: Page) -> None:
    choose(page, ("a.png", picture()))
    revive(page, "a.png")
    slider = page.get_by_role("slider", name="Before and after")
    expect(slider).to_have_attribute("aria-valuenow", "50")
    middle = clip(page)
    x, y = center(page, slider)
    drag(page, (x, y), (x + 150, y))
    assert clip(page) == pytest.approx(middle + 150, abs=2)
    drag(page, (x - 200, y + 90), (x - 100, y + 90))  # anywhere on a picture of which all is seen
    assert clip(page) == pytest.approx(middle - 100, abs=2)
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuenow", "100")
    slider.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuenow", "98")


def test_the_picture_is_made_larger_and_moved(page: Page) -> None:
    choose(page, ("a.png", picture(480, 360)))
    level = page.locator("#zoom-level")
    whole = level.inner_text()
    for _ in range(5):
        page.click("#zoom-in")
    assert level.inner_text() != whole
    place = page.locator("#picture")
    before = place.bounding_box()
    x, y = center(page)
    drag(page, (x, y), (x - 60, y - 30))
    after = place.bounding_box()
    assert before is not None
    assert after is not None
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((-60, -30), abs=1)
    page.locator("#stage").press("0")
    expect(level).to_have_text(whole)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    expect(level).not_to_have_text(whole)


def test_models_and_format_are_chosen(page: Page, service: Service) -> None:
    choose(page, ("a.png", picture()))
    page.click("summary")
    page.select_option("#colorizer", "challenger")
    page.select_option("#format", "jpeg")
    revive(page, "a.png")
    asked, headers = service.gate.asked[0]
    assert asked == "/v1/revive?format=jpeg"
    assert headers["x-model"] == "challenger,restorer/1"
    expect(page.locator("#made-by")).to_have_text("Repaired by restorer/1, coloured by colorizer/2")
    name, data = saved(page, "#download")
    assert (name, opened(data).format) == ("a-autochrome.jpg", "JPEG")
    page.select_option("#restorer", "another")
    page.fill("#restorer-version", "2")
    page.locator("#restorer-version").press("Enter")
    expect(page.locator("#restorer-version")).to_be_hidden()
    page.select_option("#colorizer", "")
    page.click("#start")
    expect(page.locator("#made-by")).to_have_text("Repaired by restorer/2, coloured by colorizer/1")


def test_another_format_is_asked_of_the_same_versions(page: Page, service: Service) -> None:
    choose(page, ("scan.tif", picture(format="TIFF")))
    expect(page.locator("#blank")).to_be_visible()
    page.click("summary")
    page.select_option("#format", "tiff")
    revive(page, "scan.tif")
    assert service.gate.asked[0][0] == "/v1/revive?format=png"  # browsers show no TIFF
    expect(page.locator("#blank")).to_be_hidden()
    expect(page.locator("#caption")).to_contain_text("96 \u00d7 72")
    mode(page, "Damage")
    page.mouse.click(*center(page))
    expect(page.locator("#mask-note")).to_have_text("Only what is painted is repaired.")
    name, data = saved(page, "#download")
    assert (name, opened(data).format, opened(data).size) == ("scan-autochrome.tif", "TIFF", (96, 72))
    asked, headers = service.gate.asked[1]
    assert asked == "/v1/revive?format=tiff"
    assert service.models.jobs[1].mask is None  # what is saved is what is seen, not what was painted since
    assert headers["x-model"] == "restorer/1,colorizer/1"


def test_an_answer_that_the_browser_cannot_show_is_saved_all_the_same(page: Page) -> None:
    scan = picture(format="TIFF")  # stands for a PNG that is larger than the browser can hold
    page.route("**/v1/revive*", lambda route: route.fulfill(body=scan, headers={"X-Restorer": "restorer/1"}))
    choose(page, ("a.png", picture()))
    revive(page, "a.png")
    expect(page.locator("#made-by")).to_have_text(
        "Repaired by restorer/1. This browser cannot show it; it can be downloaded."
    )
    expect(page.locator("#before")).to_be_visible()
    assert saved(page, "#download") == ("a-autochrome.png", scan)


def test_dropped_and_pasted_photographs_are_taken(page: Page) -> None:
    give = """([data, kind]) => {
        const bytes = Uint8Array.from(data);
        const carried = new DataTransfer();
        carried.items.add(new File([bytes], kind + ".png", { type: "image/png" }));
        document.dispatchEvent(kind === "paste"
            ? new ClipboardEvent(kind, { clipboardData: carried })
            : new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(give, [list(picture()), "dragover"])
    expect(page.locator("#landing")).to_be_visible()
    page.evaluate(give, [list(picture()), "drop"])
    expect(page.locator("#landing")).to_be_hidden()
    expect(page.locator(state(page, "drop.png"))).to_be_visible()
    page.evaluate(give, [list(picture()), "paste"])
    expect(page.locator(state(page, "paste.png"))).to_be_visible()
