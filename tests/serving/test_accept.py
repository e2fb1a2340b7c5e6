import pytest

from serving.accept import chosen
from serving.photo import Format
from tests.serving.files import refusal


@pytest.mark.parametrize(
    ("accept", "form"),
    [("image/tiff", Format.TIFF), ("image/webp, image/png;q=0.5", Format.WEBP), ("image/*;q=0.1, */*", Format.PNG)],
)
def test_accept(accept: str, form: Format) -> None:
    assert chosen(accept) is form


def test_accept_of_nothing_we_write() -> None:
    assert "image/webp" in refusal(lambda: chosen("image/avif")).message
