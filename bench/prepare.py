"""Photographs per second per core that prepare checks, crops and packs, beside the plain Pillow way.

`python -m bench.prepare [--size 256]`: ordinary photographs (about 500 x 375) and large ones (3000 x 2000), both ways
taking turns in one process on one core; the median of several turns. Both decode, resize, crop and encode; ours also
hashes the bytes and measures the colour. The last line is one JSON object.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipelines.decode import look
from pipelines.params import Prepare, prepare_params

ORDINARY, LARGE = (500, 375), (3000, 2000)
TURNS = 9
COUNTS = {"ordinary": 48, "large": 6}


def main() -> None:
    """Prints both figures for both kinds of photographs."""
    parser = argparse.ArgumentParser(description="Measure prepare beside the plain Pillow way.")
    parser.add_argument("--size", type=int, default=256, help="working size, pixels")
    cv2.setNumThreads(1)
    params = replace(prepare_params("coco"), size=parser.parse_args().size, smallest=32)
    originals = real_photographs() or [painted(seed) for seed in range(8)]
    figures: dict[str, float] = {}
    for kind, size in (("ordinary", ORDINARY), ("large", LARGE)):
        raws = [jpeg(originals[index % len(originals)], size) for index in range(COUNTS[kind])]
        ours, plain = compare(raws, params)
        print(f"{kind} {size[0]} x {size[1]} to {params.size}: prepare {ours:.0f}/s, Pillow {plain:.0f}/s per core")
        figures |= {f"{kind}_per_second": round(ours, 1), f"{kind}_pillow": round(plain, 1)}
        figures["photos_ratio" if kind == "ordinary" else "large_ratio"] = round(ours / plain, 2)
    print(json.dumps(figures))


def compare(raws: Sequence[bytes], params: Prepare) -> tuple[float, float]:
    """Photographs per second of prepare and of Pillow, medians of turns taken alternately."""
    for raw in raws:
        if reason := look(raw, params).reason:
            raise SystemExit(f"a photograph to measure with was left out: {reason}")
    ways: tuple[Callable[[bytes], object], ...] = (lambda raw: look(raw, params), lambda raw: plainly(raw, params))
    turns = [[speed(way, raws) for way in ways] for _ in range(TURNS)]
    ours, plain = (statistics.median(column) for column in zip(*turns, strict=True))
    return ours, plain


def speed(way: Callable[[bytes], object], raws: Sequence[bytes]) -> float:
    """Photographs per second of this one thread's processor time, whatever else the machine does."""
    start = time.process_time()
    for raw in raws:
        way(raw)
    return len(raws) / (time.process_time() - start)


def plainly(raw: bytes, params: Prepare) -> bytes:
    """The way of most tutorials: open, convert, resize, crop, save."""
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    scale = params.size / min(image.size)
    width, height = (max(params.size, round(side * scale)) for side in image.size)
    left, top = (width - params.size) // 2, (height - params.size) // 2
    square = image.resize((width, height)).crop((left, top, left + params.size, top + params.size))
    packed = io.BytesIO()
    square.save(packed, "JPEG", quality=params.quality, subsampling=0)
    return packed.getvalue()


def real_photographs() -> list[Image.Image]:
    """Some coloured photographs of data/ that are large enough to stand for others."""
    found: list[Image.Image] = []
    for path in sorted(Path("data/imagenet/train").glob("*/*.JPEG"))[:200]:
        image = Image.open(path)
        if image.mode == "RGB" and min(image.size) >= 360:
            found.append(image)
    return found[:24]


def painted(seed: int) -> Image.Image:
    """Coloured blobs with grain: about as hard to decode as a photograph."""
    random = np.random.default_rng(seed)
    blobs = cv2.resize(random.uniform(0, 255, (24, 32, 3)).astype(np.float32), ORDINARY, interpolation=cv2.INTER_CUBIC)
    grain = random.normal(0, 6, (*ORDINARY[::-1], 1))
    return Image.fromarray((blobs + grain).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, size: tuple[int, int]) -> bytes:
    """The picture as a camera's JPEG of that size: 4:2:0, quality 90, with grain where it is enlarged."""
    pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS)).astype(np.float32)
    grain = np.random.default_rng(0).normal(0, 3, pixels.shape) if size == LARGE else 0.0
    file = io.BytesIO()
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    main()
