"""A service that ends: the requests inside finish, the ones that come are refused."""

import asyncio

import httpx
from fastapi import FastAPI

from serving.draining import Door, Traffic


def test_who_is_inside_is_answered_and_who_comes_is_not() -> None:
    asyncio.run(_ended())


async def _ended() -> None:
    traffic, may_end = Traffic(), asyncio.Event()
    app = FastAPI()

    @app.get("/slow")
    async def slow() -> str:
        await may_end.wait()
        return "done"

    app.add_middleware(Door, traffic=traffic)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        inside = asyncio.create_task(client.get("/slow"))
        while not traffic.inside:
            await asyncio.sleep(0)
        assert await traffic.end(0.01) == 1
        ending = asyncio.create_task(traffic.end(60))
        late = await client.get("/slow")
        assert (late.status_code, late.json()["error"]["code"]) == (503, "stopping")
        assert int(late.headers["retry-after"]) > 0
        assert not ending.done()
        may_end.set()
        assert (await inside).json() == "done"
        assert await ending == 0
