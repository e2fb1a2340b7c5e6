"""What people read when the service says no, and what the page does then."""

from playwright.sync_api import Page, expect

from serving.refusal import Refusal
from tests.browser.conftest import choose, picture, revive, state
from tests.browser.service import Service

PLAIN = {
    413: "This photograph is larger than the service takes.",
    422: "The service could not use what was sent.",
    500: "The service failed on this photograph.",
    504: "This took longer than the service allows.",
}


def start(page: Page) -> None:
    choose(page, ("a.png", picture()))
    page.click("#start")


def test_a_refusal_is_said_in_plain_words_and_in_the_services_own(page: Page, service: Service) -> None:
    service.gate.refusals += [Refusal(status, "any", f"photo is so and so: {status}") for status in PLAIN]
    start(page)
    notice = page.get_by_role("alert")
    for status, words in PLAIN.items():
        expect(notice).to_contain_text(words)
        expect(notice).to_contain_text(f"photo is so and so: {status}")
        expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "refused")
        notice.get_by_role("button", name="Try again").click()
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "done")
    expect(notice).to_be_hidden()


def test_a_busy_service_is_asked_again_when_it_says(page: Page, service: Service) -> None:
    service.gate.refusals += [Refusal(429, "rate", "try again", 1), Refusal(503, "overloaded", "try again", 1)]
    start(page)
    expect(page.locator(".countdown")).to_contain_text("It will be tried again in")
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "done")
    assert len(service.gate.asked) == 3


def test_nobody_has_to_wait_for_the_countdown(page: Page, service: Service) -> None:
    service.gate.refusals.append(Refusal(503, "busy", "try again", 3600))
    start(page)
    expect(page.locator(".countdown")).to_contain_text("s.")
    page.get_by_role("button", name="Try now").click()
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "done")


def test_waiting_can_be_stopped(page: Page, service: Service) -> None:
    service.gate.refusals.append(Refusal(503, "busy", "try again", 3600))
    start(page)
    expect(page.locator(".countdown")).to_be_visible()
    page.click("#cancel")
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "ready")


def test_a_key_is_asked_for_and_kept_in_the_tab_only(page: Page, service: Service) -> None:
    service.gate.key = "secret"
    start(page)
    dialog = page.get_by_role("dialog", name="This service asks for a key")
    expect(dialog).to_be_visible()
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Use the key").click()
    expect(dialog).to_contain_text("was not taken")
    page.get_by_label("API key").fill("secret")
    page.keyboard.press("Enter")
    expect(page.locator(state(page, "a.png"))).to_have_attribute("data-status", "done")
    assert page.evaluate("Object.values(sessionStorage)") == ["secret"]
    assert page.evaluate("localStorage.length + document.cookie.length") == 0


def test_without_a_key_nothing_is_asked_again(page: Page, service: Service) -> None:
    service.gate.key = "secret"
    start(page)
    page.get_by_role("button", name="Not now").click()
    expect(page.get_by_role("alert")).to_contain_text("This service asks for a key.")
    assert len(service.gate.asked) == 1


def test_a_photograph_that_is_larger_than_the_service_takes(page: Page) -> None:
    choose(page, ("large.png", picture(2000, 1100)))
    page.click("#start")
    expect(page.get_by_role("alert")).to_contain_text("2,000,000")


def test_an_unknown_version(page: Page) -> None:
    choose(page, ("a.png", picture()))
    page.click("summary")
    page.select_option("#restorer", "another")
    page.fill("#restorer-version", "9")
    page.locator("#restorer-version").press("Enter")
    page.click("#start")
    expect(page.get_by_role("alert")).to_contain_text("restorer/9")


def test_a_service_that_cannot_be_reached(page: Page) -> None:
    choose(page, ("a.png", picture()))
    page.route("**/v1/revive*", lambda route: route.abort())
    page.click("#start")
    expect(page.get_by_role("alert")).to_contain_text("The service could not be reached.")
    page.unroute("**/v1/revive*")
    revive(page, "a.png")
