"""Zips that no honest client sends, to the real routes without Ray Serve."""

import asyncio
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.serving.albums import Turnstile, code, is_done, local_models, picture, sent, served, until, zipped
from tests.serving.conftest import Archive


@pytest.fixture
def models(archive: Archive) -> Turnstile:
    return Turnstile(local_models(archive, 1))


def forged(album: bytes, signature: bytes, offset: int, kind: str, value: int) -> bytes:
    """The zip with one number of its last such header changed."""
    data = bytearray(album)
    struct.pack_into(kind, data, data.rindex(signature) + offset, value)
    return bytes(data)


def test_dishonest_zips_are_refused_whole(tmp_path: Path, models: Turnstile) -> None:
    honest = zipped({"a.jpg": picture(), "b.jpg": picture(seed=1)})
    directory = b"PK\x01\x02"
    cases: list[tuple[bytes, tuple[int, str]]] = [
        (b"", (415, "not_a_zip")),
        (picture(), (415, "not_a_zip")),
        (honest[:-30], (415, "not_a_zip")),
        (zipped({}), (422, "no_photographs")),
        (zipped({".DS_Store": b"x"}), (422, "no_photographs")),
        (zipped({"../../etc/cron.d/a.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"..\\..\\a.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"/etc/a.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"C:\\a.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"a\n.jpg": picture()}), (422, "unsafe_name")),
        (zipped({"ä" * 200 + ".jpg": picture()}), (422, "long_name")),
        (zipped({"a.jpg": picture()}, zipfile.ZIP_LZMA), (422, "packing")),
        (honest.replace(b"b.jpg", b"a.jpg"), (422, "same_name")),
        (zipped({"x/a.jpg": picture(), "x//a.jpg": picture()}), (422, "same_name")),
        (zipped({f"{number}.jpg": b"" for number in range(21)}), (413, "too_many_photographs")),
        (zipped({"zeros.bmp": bytes(1_400_000)}), (413, "too_many_bytes")),  # 1,000 times smaller
        (zipped({f"{i}.bmp": bytes(range(256)) * 4000 for i in range(4)}), (413, "too_many_bytes")),
        (zipped({"a.jpg": np.random.default_rng(0).bytes(1_600_000)}), (413, "too_many_bytes")),
        (zipped({"a.bin": np.random.default_rng(0).bytes(3_100_000)}, zipfile.ZIP_STORED), (413, "too_many_bytes")),
        (forged(honest, directory, 8, "<H", 0x1), (422, "encrypted")),
        (forged(honest, directory, 42, "<I", 0), (422, "overlapping")),  # b's bytes are a's
        (forged(honest, directory, 24, "<I", 2**32 - 2), (413, "too_many_bytes")),
        (forged(honest, b"PK\x05\x06", 12, "<I", 2**31), (415, "not_a_zip")),
    ]

    async def story() -> None:
        async with served(tmp_path, models) as http:
            for album, expected in cases:
                response = await sent(http, album)
                assert code(response) == expected, response.text
            assert code(await http.post("/v1/albums", files={"photo": honest})) == (422, "unknown_field")
            assert code(await http.post("/v1/albums", files={"album": (None, "text")})) == (422, "no_album")
            assert code(await http.post("/v1/albums", data={"album": "text"})) == (415, "not_a_form")
            assert code(await http.post("/v1/albums", content=honest)) == (415, "not_a_form")
            headers = {"content-type": "multipart/form-data"}
            assert code(await http.post("/v1/albums", content=b"--x", headers=headers)) == (400, "broken_form")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]

    asyncio.run(story())
    assert not models.passed


def test_a_long_list_of_contents_is_not_read(tmp_path: Path, models: Turnstile) -> None:
    """A megabyte of zip can list 20,000 files, each of which would take a kilobyte of memory."""
    album = zipped({f"{number:060}.jpg": b"" for number in range(12_000)})

    async def story() -> None:
        async with served(tmp_path, models) as http:
            response = await sent(http, album)
            assert code(response) == (413, "too_many_photographs")
            assert "list of contents" in response.json()["error"]["message"]

    asyncio.run(story())


def test_entries_that_lie_fail_alone(tmp_path: Path, models: Turnstile) -> None:
    """The size in the list of contents bounds what is unpacked; the sum shows that it lied."""
    honest = zipped({"a.jpg": picture(), "b.jpg": picture(200, 200, seed=1)})
    lying = forged(honest, b"PK\x01\x02", 24, "<I", 100)
    damaged = bytearray(honest)
    damaged[honest.index(b"b.jpg") + 500] ^= 0xFF

    async def story() -> None:
        async with served(tmp_path, models) as http:
            for album in (lying, bytes(damaged)):
                identity = (await sent(http, album)).json()["id"]
                state = await until(http, identity, is_done)
                assert [photograph["state"] for photograph in state["photographs"]] == ["done", "refused"]
                assert "damaged in the album" in state["photographs"][1]["reason"]

    asyncio.run(story())
