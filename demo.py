"""The last step of `make demo`: serves the registered models and brings three held-out photographs back over HTTP.

Writes build/demo.png (damaged, restored, colorized, true), says what was registered and stops what it started.
"""

import io
import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import httpx
import pyarrow as pa
import ray
from PIL import Image, ImageDraw, ImageFont, ImageOps, ImageStat
from ray import serve

from serving.app import AppArgs, build

PAIRS = Path("build/frozen/restore/pairs.arrow")
REGISTERED = Path("build/registered")
PICTURE = Path("build/demo.png")
ROWS = 3
SIDE = 256  # pixels of one photograph in the picture
COLUMNS = ("damaged", "restored", "colorized", "true")
START_SECONDS = 180


def main() -> None:
    """Serve, ask, draw, tell."""
    with _service() as client:
        rows = [_row(client, damaged, true) for damaged, true in _held_out(ROWS)]
    _draw(rows).save(PICTURE)
    _tell()


def _held_out(count: int) -> Iterator[tuple[Image.Image, Image.Image]]:
    """Damaged grey photographs of the frozen test set, each with the true one."""
    with pa.memory_map(str(PAIRS)) as source:
        rows = pa.ipc.open_file(source).read_all().to_pylist()
    pairs = ((Image.open(io.BytesIO(row["input"])), Image.open(io.BytesIO(row["clean"]))) for row in rows)
    in_colour = ((damaged, true) for damaged, true in pairs if ImageStat.Stat(true.convert("HSV")).mean[1] > 0)
    for damaged, true in islice(in_colour, count):
        yield ImageOps.grayscale(damaged), true


def _row(client: httpx.Client, damaged: Image.Image, true: Image.Image) -> list[Image.Image]:
    restored = _ask(client, "/v1/restore", damaged)
    colorized = _ask(client, "/v1/revive", damaged)
    return [damaged, restored, colorized, true]


def _ask(client: httpx.Client, route: str, photo: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    answer = client.post(route, files={"photo": ("photo.png", buffer.getvalue(), "image/png")})
    answer.raise_for_status()
    models = ", ".join(answer.headers[name] for name in ("X-Restorer", "X-Colorizer") if name in answer.headers)
    print(f"  {route} answered {len(answer.content)} bytes, made by {models}")
    return Image.open(io.BytesIO(answer.content))


@contextmanager
def _service() -> Iterator[httpx.Client]:
    """The application of `make serve` on a free port, with a client for it; stopped at the end."""
    port = _free_port()
    print(f"Starting Ray Serve on http://127.0.0.1:{port}")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        # The fastest way to compute takes longer to find than six photographs do.
        serve.run(build(AppArgs(engine="eager")))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
            _wait_until_ready(client)
            yield client
    finally:
        ray.shutdown()  # this Ray is ours alone: the service ends with it


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        models = client.get("/v1/models").raise_for_status().json()["models"]
        replicas = [replica for model in models for replica in model["replicas"]]
        if all(replica["state"] == "ready" for replica in replicas):
            return
        if time.monotonic() > deadline:
            sys.exit(f"The models were not ready after {START_SECONDS} seconds: {replicas}")
        time.sleep(1)


def _draw(rows: list[list[Image.Image]]) -> Image.Image:
    """The rows side by side under the columns' names."""
    heading, gap = 36, 8
    width = len(COLUMNS) * (SIDE + gap) + gap
    sheet = Image.new("RGB", (width, heading + len(rows) * (SIDE + gap)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=20)
    for column, name in enumerate(COLUMNS):
        left = gap + column * (SIDE + gap)
        draw.text((left + SIDE // 2, heading // 2), name, fill="black", font=font, anchor="mm")
        for row, pictures in enumerate(rows):
            picture = pictures[column].convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left, heading + row * (SIDE + gap)))
    return sheet


def _tell() -> None:
    print("\nRegistered:")
    for path in sorted(REGISTERED.glob("*/*.json")):
        version = json.loads(path.read_text(encoding="utf-8"))
        print(f"  {version['model']}/{version['version']} {', '.join(version['aliases'])}: {version['verdict']}")
    print(f"\nLook at {PICTURE}. Next: `make serve` (http://127.0.0.1:8000/docs), `make ui` (http://127.0.0.1:5000).")


if __name__ == "__main__":
    main()
