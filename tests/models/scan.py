"""A process of its own that predicts one made-up scan and says what memory and time that took.

    python tests/models/scan.py '{"recipe": "pix2pix", "network": {...}, "size": 128, "batch": 8,
                                  "height": 2000, "width": 2000, "depth": "uint8", "masked": false}'

prints JSON: bytes `estimated` and `taken` beside photograph and mask, the whole process's `peak`, and `seconds`, by the
clock and of its processors; `threads` may say how many it has. More arguments are more scans and more lines, one scan
after the other, each in a process that is forked for it: their peaks leave out what the libraries' files take.
"""

import json
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.bundle import Config
from models.catalogue import CATALOGUE
from models.memory import Footprint
from models.predictor import Predictor


def status(name: str) -> int:
    """A figure of /proc/self/status in bytes, such as VmRSS."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) << 10


def forget_peak() -> int:
    """VmHWM counts from now on; the bytes that are held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def scan(height: int, width: int, depth: str) -> NDArray[Any]:
    """Gentle light, grain and some thousand specks and scratches, one block repeated."""
    random = np.random.default_rng(1907)
    block = np.add.outer(np.sin(np.arange(1000) / 90), np.cos(np.arange(1000) / 130)) * 60 + 128
    block += random.normal(0, 4, block.shape)
    for top, left in random.integers(0, 950, (30, 2)):
        block[top : top + 40, left : left + 2] = 250
    top = np.iinfo(depth).max
    tile = (block.clip(0, 255) / 255 * top).astype(depth)
    rows, columns = np.arange(height) % 1000, np.arange(width) % 1000
    return np.repeat(tile[rows][:, columns][:, :, None], 3, axis=2)


def asked(given: dict[str, Any]) -> Config:
    return Config(
        given["recipe"], CATALOGUE[given["recipe"]].task, given["size"], given["network"], {}, {}, "scan-1907"
    )


def predicted(given: dict[str, Any]) -> dict[str, Any]:
    """What predicting takes, in a process that has done nothing else."""
    torch.set_num_threads(given.get("threads", 1))
    config = asked(given)
    height, width, depth = given["height"], given["width"], given["depth"]
    torch.manual_seed(0)
    predictor = Predictor(config, CATALOGUE[config.recipe].network(config.network), batch=given["batch"])
    photo = scan(height, width, depth)
    mask = None
    if given["masked"]:
        mask = np.zeros((height, width), np.bool_)
        mask[::97] = True
    predictor.predict([photo[:10, :10].copy()], [None if mask is None else mask[:10, :10].copy()])
    before, start, worked = forget_peak(), time.perf_counter(), time.process_time()
    (answer,) = predictor.predict([photo], [mask])
    seconds, worked, peak = time.perf_counter() - start, time.process_time() - worked, status("VmHWM")
    assert answer.shape == photo.shape
    return {
        "taken": peak - before,
        "peak": peak,
        "seconds": round(seconds, 1),
        "of_processors": round(worked, 1),
    }


def estimated(given: dict[str, Any]) -> int:
    return Footprint(asked(given), given["batch"]).needed(
        given["height"], given["width"], given["depth"], given["masked"]
    )


def apart(given: dict[str, Any]) -> dict[str, Any]:
    """`predicted` in a process that is forked for it, so that what is imported is imported once."""
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        return pool.submit(predicted, given).result()


def main(scans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # An estimate comes last: what it imports would be free memory to a process that is forked then.
    found = [apart(given) for given in scans] if len(scans) > 1 else [predicted(scans[0])]
    return [{"estimated": estimated(given)} | taken for given, taken in zip(scans, found, strict=True)]


if __name__ == "__main__":
    for line in main([json.loads(argument) for argument in sys.argv[1:]]):
        print(json.dumps(line))
