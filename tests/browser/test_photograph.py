"""One photograph: sent, compared, painted, hinted, saved."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import choose, mode, opened, payload, picture, revive, saved, state
from tests.browser.service import Service


def center(page: Page, place: Locator | None = None) -> tuple[float, float]:
    box = (place or page.locator("#stage")).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()


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
    (asked, _headers) = service.gate.asked[0]
    assert asked == "/v1/revive?format=png"
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
    choose(page, ("a.png", picture()))
    page.click("#start")
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


def test_what_is_painted_is_what_is_repaired(page: Page, service: Service) -> None:
    choose(page, ("a.png", picture()))
    mode(page, "Damage")
    x, y = center(page)
    drag(page, (x - 100, y), (x + 100, y))
    expect(page.locator("#mask-note")).to_have_text("Only what is painted is repaired.")
    revive(page, "a.png")
    mask = service.models.jobs[-1].mask
    assert mask is not None
    assert mask.shape == (72, 96)
    assert mask[36, 48]
    assert not mask[5].any()
    assert not mask[36, [2, 93]].any()


def test_painting_is_erased_undone_and_cleared(page: Page) -> None:
    choose(page, ("a.png", picture()))
    mode(page, "Damage")
    x, y = center(page)
    painted = "() => document.querySelector('#mask canvas').getContext('2d').getImageData(48, 36, 1, 1).data[3]"
    page.mouse.click(x, y)
    assert page.evaluate(painted) == 255
    page.get_by_role("radio", name="Erase").check()
    page.mouse.click(x, y)
    assert page.evaluate(painted) == 0
    page.click("#undo")
    assert page.evaluate(painted) == 255
    page.click("#clear")
    assert page.evaluate(painted) == 0
    expect(page.locator("#mask-note")).to_contain_text("Nothing is painted")
    page.click("#undo")
    assert page.evaluate(painted) == 255


def test_damage_is_found_and_then_edited(page: Page, service: Service) -> None:
    choose(page, ("a.png", picture()))
    mode(page, "Damage")
    page.click("#find")
    expect(page.locator("#mask-note")).to_have_text("Only what is painted is repaired.")
    assert service.gate.asked[0][0].startswith("/v1/mask")
    found = service.models.found[-1]
    y, x = np.argwhere(found[20:52, 20:76])[0] + 20
    assert found.any()
    page.get_by_role("radio", name="Erase").check()
    box = page.locator("#picture").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + (x + 0.5) * box["width"] / 96, box["y"] + (y + 0.5) * box["height"] / 72)
    revive(page, "a.png")
    mask = service.models.jobs[-1].mask
    assert mask is not None
    assert not mask[y, x]
    assert not (mask & ~found).any()
    assert mask.any()


def test_only_the_damage_that_is_found_is_repaired(page: Page, service: Service) -> None:
    choose(page, ("a.png", picture()))
    page.check("#find-damage")
    revive(page, "a.png")
    assert service.gate.asked[0][0] == "/v1/revive?format=png&find_damage=true"
    expect(page.locator("#made-by")).to_contain_text("damage found by detector/1")


def test_a_colour_hint_is_sent_and_applied(page: Page, service: Service) -> None:
    choose(page, ("a.png", picture()))
    page.get_by_role("radio", name="Colour", exact=True).check()
    revive(page, "a.png")
    plain = opened(saved(page, "#download")[1])
    mode(page, "Colours")
    page.mouse.click(*center(page))
    expect(page.get_by_role("button", name="Colour hint 1, no colour yet")).to_be_visible()
    page.locator(".colour").nth(2).click()
    name = page.locator("#swatch-name").inner_text()
    expect(
        page.get_by_role("button", name=f"Colour hint 1, {name}, 50 % from the left, 50 % from the top")
    ).to_be_visible()
    # It is applied without being asked to.
    expect(page.locator(".tint")).to_have_count(0)
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "done")
    (hint,) = service.models.jobs[-1].hints
    assert (hint.x, hint.y) == pytest.approx((48, 36), abs=1)
    assert 0 < hint.radius < 10
    assert np.hypot(hint.a, hint.b) > 5
    hinted = opened(saved(page, "#download")[1])
    assert np.abs(np.asarray(hinted, int) - np.asarray(plain, int)).max() > 0


def test_a_hint_is_moved_recoloured_and_removed(page: Page, service: Service) -> None:
    choose(page, ("a.png", picture()))
    mode(page, "Colours")
    x, y = center(page)
    page.mouse.click(x, y)
    page.locator(".colour").nth(2).click()
    mark = page.locator(".hint button")
    drag(page, center(page, mark), (x + 90, y))
    revive(page, "a.png")
    moved = service.models.jobs[-1].hints[0]
    assert moved.x > 50
    page.uncheck("#as-i-go")
    mark.focus()
    page.keyboard.press("ArrowDown")
    page.locator(".colour").nth(6).click()
    page.click("#start")
    expect(page.locator(".tint")).to_have_count(0)
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "done")
    again = service.models.jobs[-1].hints[0]
    assert again.y > moved.y
    assert (again.a, again.b) != (moved.a, moved.b)
    mark.focus()
    page.keyboard.press("Delete")
    expect(mark).to_have_count(0)


def test_a_colour_is_picked_from_the_picture_and_from_another(page: Page, service: Service) -> None:
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 200
    choose(page, ("a.png", picture()))
    mode(page, "Colours")
    x, y = center(page)
    page.mouse.click(x, y)
    page.click("#reference")
    file = BytesIO()
    Image.fromarray(red).save(file, "PNG")
    page.set_input_files("#reference-file", payload("red.png", file.getvalue()))
    page.locator("#reference-stage").press("ArrowRight")
    page.locator("#reference-stage").press("Enter")
    expect(page.locator("#reference-dialog")).to_be_hidden()
    page.mouse.click(x + 120, y)
    page.click("#pick")
    page.mouse.click(x - 120, y - 60)
    page.mouse.click(x, y + 100)
    page.fill("#any-colour", "#3050c0")
    revive(page, "a.png")
    reddish, grey, blue = service.models.jobs[-1].hints
    assert reddish.a > 40
    assert np.hypot(grey.a, grey.b) < 3
    assert blue.b < -20


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
    name, data = saved(page, "#download")
    assert (name, opened(data).format, opened(data).size) == ("scan-autochrome.tif", "TIFF", (96, 72))
    asked, headers = service.gate.asked[1]
    assert asked == "/v1/revive?format=tiff"
    assert headers["x-model"] == "restorer/1,colorizer/1"


def test_a_photograph_on_its_side_is_painted_upright(page: Page, service: Service) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    opened(picture()).save(file, "JPEG", exif=exif)
    choose(page, ("side.jpg", file.getvalue()))
    expect(page.locator("#caption")).to_contain_text("72 \u00d7 96")
    mode(page, "Damage")
    page.mouse.click(*center(page))
    revive(page, "side.jpg")
    mask = service.models.jobs[-1].mask
    assert mask is not None
    assert mask.shape == (96, 72)


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
