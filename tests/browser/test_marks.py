"""What is painted and hinted on a photograph: damage, and colours."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import center, choose, drag, mode, opened, payload, picture, revive, saved, state
from tests.browser.service import Service


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
    page.get_by_role("radio", name="Colour", exact=True).check()
    expect(page.locator("#mask-note")).to_contain_text("Nothing is repaired where only colour is given.")


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
