"""Many photographs: through the queue one by one, or as a zip that the service works on by itself."""

import csv
import io
import zipfile

from playwright.sync_api import Page, expect

from tests.browser.conftest import choose, picture, revive, saved, state, zipped
from tests.browser.service import Service


def test_many_are_done_two_at_once_and_saved_together(page: Page, service: Service) -> None:
    names = [f"{number}.png" for number in range(5)]
    service.models.hold.clear()
    choose(page, *((name, picture(seed=number)) for number, name in enumerate(names)))
    expect(page.locator("#start")).to_have_text("Repair and colour all 5")
    page.click("#start")
    expect(page.locator(".tile[data-status=working]")).to_have_count(2)
    expect(page.locator(".tile[data-status=waiting]")).to_have_count(3)
    service.models.hold.set()
    expect(page.locator(".tile[data-status=done]")).to_have_count(5)
    name, data = saved(page, "#download-all")
    assert name == "autochrome.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{number}-autochrome.png" for number in range(5)]
        assert len({archive.read(entry) for entry in archive.namelist()}) == 5


def test_one_that_is_refused_stops_no_other(page: Page) -> None:
    choose(
        page,
        ("good.png", picture()),
        ("broken.png", picture()[:300]),
        ("text.png", b"hello"),
        ("fine.png", picture(seed=2)),
    )
    page.click("#start")
    for name, status in (("good", "done"), ("broken", "refused"), ("text", "refused"), ("fine", "done")):
        expect(page.locator(state(page, f"{name}.png"))).to_have_attribute("data-status", status)
    page.locator(state(page, "text.png")).click()
    expect(page.locator("#notice")).to_contain_text("This is no kind of picture that the service reads.")
    expect(page.locator("#blank")).to_have_text("This browser cannot show this file.", use_inner_text=True)
    page.locator(state(page, "fine.png")).click()
    expect(page.locator("#notice")).to_be_hidden()


def test_only_the_one_that_is_shown(page: Page) -> None:
    choose(page, ("a.png", picture()), ("b.png", picture(seed=2)))
    page.locator(state(page, "b.png")).click()
    page.click("#start-one")
    expect(page.locator(state(page, "b.png"))).to_have_attribute("data-status", "done")
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "ready")
    expect(page.locator("#start")).to_have_text("Repair and colour the other one")


def test_files_of_one_name_are_saved_under_two(page: Page) -> None:
    choose(page, ("a.png", picture()), ("a.png", picture(seed=2)))
    page.click("#start")
    expect(page.locator(".tile[data-status=done]")).to_have_count(2)
    with zipfile.ZipFile(io.BytesIO(saved(page, "#download-all")[1])) as archive:
        assert archive.namelist() == ["a-autochrome.png", "a-autochrome (2).png"]


def test_a_photograph_is_removed(page: Page) -> None:
    choose(page, ("a.png", picture()), ("b.png", picture(seed=2)))
    page.get_by_role("button", name="Remove a.png").click()
    expect(page.locator("#caption")).to_contain_text("b.png")
    page.get_by_role("button", name="Remove b.png").click()
    expect(page.get_by_role("heading", name="Old photographs")).to_be_visible()


def test_a_zip_is_worked_on_by_the_service(page: Page, service: Service) -> None:
    service.models.hold.clear()
    service.gate.key = "secret"
    choose(page, ("attic.zip", zipped(**{"a.png": picture(), "sub/b.png": picture(seed=2), "c.txt": b"hello"})))
    page.get_by_role("radio", name="Colour", exact=True).check()
    page.click("#start")
    page.get_by_label("API key").fill("secret")
    page.keyboard.press("Enter")
    expect(page.locator("#zip-view")).to_contain_text("0 of 3 photographs")
    service.models.hold.set()
    expect(page.locator("#zip-view")).to_contain_text("2 of 3 photographs are done, 1 could not be done.")
    expect(page.locator("#zip-view li", has_text="sub/b.png")).to_contain_text("Done")
    expect(page.locator("#zip-view li", has_text="c.txt")).to_contain_text("Refused")
    assert service.gate.asked[0][0] == "/v1/albums?task=colorize&format=png"
    name, data = saved(page, "#download")
    assert name == "attic-autochrome.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert sorted(archive.namelist()) == ["a.png", "report.csv", "sub/b.png"]
        report = list(csv.DictReader(io.StringIO(archive.read("report.csv").decode())))
    assert [row["outcome"] for row in report] == ["done", "done", "refused"]


def test_an_album_is_removed_from_the_service_too(page: Page) -> None:
    choose(page, ("attic.zip", zipped(**{"a.png": picture()})))
    revive(page, "attic.zip")
    with page.expect_request(lambda request: request.method == "DELETE") as waiting:
        page.get_by_role("button", name="Remove attic.zip").click()
    response = waiting.value.response()
    assert response is not None
    assert response.status == 204


def test_a_zip_that_is_none_is_refused(page: Page) -> None:
    choose(page, ("attic.zip", b"PK\x03\x04nonsense"))
    page.click("#start")
    expect(page.locator("#notice")).to_contain_text("album is no zip")
