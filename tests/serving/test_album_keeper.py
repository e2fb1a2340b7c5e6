"""The owner of albums: disks, limits, and who comes and goes while it works; without Ray Serve."""

import asyncio
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.albums.deployment import AlbumsDeployment
from serving.albums.keeper import Keeper
from serving.albums.photograph import Verb
from serving.refusal import Refusal
from tests.serving.albums import (
    LIMITS,
    Turnstile,
    code,
    is_done,
    kept,
    local_models,
    picture,
    pictures,
    sent,
    served,
    until,
    zipped,
)
from tests.serving.conftest import Archive
from tests.serving.disk import small_disk


@pytest.fixture
def models(archive: Archive) -> Turnstile:
    return Turnstile(local_models(archive, 1))


def test_albums_are_removed_in_time_and_have_no_more_disk_than_they_may(tmp_path: Path, models: Turnstile) -> None:
    async def story() -> None:
        async with served(tmp_path, models, replace(LIMITS, keep_hours=0.0)) as http:
            identity = (await sent(http, zipped({"a.jpg": picture()}))).json()["id"]
            end = time.monotonic() + 60
            while (tmp_path / identity).exists():
                assert time.monotonic() < end
                await asyncio.sleep(0.02)
        album = zipped({"a.png": picture(200, 200, kind="PNG")})
        async with served(tmp_path, models, replace(LIMITS, disk_bytes=len(album) + 1_000)) as http:
            identity = (await sent(http, album)).json()["id"]
            state = await until(http, identity, is_done)
            assert (state["failed"], state["photographs"][0]["state"]) == (1, "failed")
            assert "bytes" in state["photographs"][0]["reason"]
            full = await sent(http, album)
            assert code(full) == (503, "no_room")
            assert int(full.headers["retry-after"]) > 0

    asyncio.run(story())


def test_albums_that_begin_at_once_keep_to_the_limits(tmp_path: Path, models: Turnstile) -> None:
    models.allowed = 0
    album = zipped({"a.jpg": picture()})

    async def story() -> None:
        async with served(tmp_path, models) as http:
            answers = await asyncio.gather(*(sent(http, album) for _ in range(6)))
            assert sorted(answer.status_code for answer in answers) == [202, 202, 503, 503, 503, 503]

    asyncio.run(story())


def test_on_a_full_disk_albums_are_refused_and_photographs_fail_alone(tmp_path: Path, models: Turnstile) -> None:
    names = [f"{number}.jpg" for number in range(4)]
    small = zipped({name: picture(seed=i) for i, name in enumerate(names)})
    large = zipped({"large.png": picture(500, 400, kind="PNG")})

    async def story() -> None:
        async with served(tmp_path / "disk", models) as http:
            refused = await sent(http, large)
            assert code(refused) == (503, "no_room")
            assert "service's disk" in refused.json()["error"]["message"]
            identity = (await sent(http, small, "?format=tiff")).json()["id"]
            await until(http, identity, lambda state: state["done"] == 1)
            (tmp_path / "disk" / "filling").write_bytes(bytes(shutil.disk_usage(tmp_path / "disk").free))
            models.allowed = 10**6
            state = await until(http, identity, is_done)
            assert [photograph["state"] for photograph in state["photographs"]] == ["done", *["failed"] * 3]
            assert {photograph["reason"] for photograph in state["photographs"][1:]} == {"No space left on device"}
            assert (await pictures(http, identity)).namelist() == ["0.tif", "report.csv"]
            assert code(await sent(http, small)) == (503, "no_room")
        (tmp_path / "disk" / "filling").unlink()
        # What failed was not written either: when there is room it is done after all.
        async with served(tmp_path / "disk", models) as http:
            assert (await until(http, identity, is_done))["done"] == 4

    models.allowed = 1
    with small_disk(tmp_path / "disk", "300k"):
        asyncio.run(story())


def test_a_disk_that_fills_while_an_album_is_sent_refuses_it(tmp_path: Path, models: Turnstile) -> None:
    async def story() -> None:
        async with kept(tmp_path / "disk", models) as keeper:
            album = await keeper.begin(Verb.REVIVE, None, announced=10)
            with pytest.raises(Refusal, match="No space left on device") as refused:
                await keeper.add(album, bytes(1_000_000))
            assert (refused.value.status, refused.value.code) == (503, "no_room")
            album = await keeper.begin(Verb.REVIVE, None, announced=1_000)
            await keeper.add(album, bytes(1_000))  # so few wait in memory, where they cannot be written any more
            (tmp_path / "disk" / "filling").write_bytes(bytes(shutil.disk_usage(tmp_path / "disk").free))
            await keeper.drop(album)
        assert {path.name for path in (tmp_path / "disk").iterdir()} == {".lock", "filling"}

    with small_disk(tmp_path / "disk", "300k"):
        asyncio.run(story())


def test_a_sender_that_leaves_as_it_is_checked_leaves_a_whole_album(tmp_path: Path, models: Turnstile) -> None:
    async def story() -> None:
        async with asyncio.timeout(30), kept(tmp_path, models) as keeper:
            album = await keeper.begin(Verb.REVIVE, None, announced=1_000)
            await keeper.add(album, zipped({"a.jpg": picture()}))
            finishing = asyncio.create_task(keeper.finish(album))
            await asyncio.sleep(0)
            finishing.cancel()
            await keeper.drop(album)
            while keeper._uploads:
                await asyncio.sleep(0.01)
            while (await keeper.state(album)).done == 0:
                await asyncio.sleep(0.01)

    asyncio.run(story())


def test_an_owner_that_cannot_work_says_so_to_serve(tmp_path: Path) -> None:
    class Handle:
        def options(self, **_: Any) -> "Handle":
            return self

    (tmp_path / "file").touch()

    async def story() -> None:
        handle: Any = Handle()
        albums = AlbumsDeployment(handle, handle, tmp_path / "file" / "albums", LIMITS, 1_000_000)
        await albums.check_health()
        await asyncio.wait({albums._running})
        with pytest.raises(OSError, match="Not a directory"):
            await albums.check_health()

    asyncio.run(story())


def test_one_keeper_at_a_time(tmp_path: Path, models: Turnstile) -> None:
    async def story() -> None:
        async with asyncio.timeout(30), kept(tmp_path, models):
            second = Keeper(tmp_path, LIMITS, models)
            running = asyncio.create_task(second.run())
            await asyncio.sleep(0.3)
            with pytest.raises(Refusal, match="taken up"):
                await second.state("0" * 32)
        while not second._ready:
            await asyncio.sleep(0.05)
        running.cancel()

    asyncio.run(story())
