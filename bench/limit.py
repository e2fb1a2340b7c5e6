"""The work of bench/serve.py without any server: decoded by threads, predicted in batches of 8, encoded by threads.

`python -m bench.limit SECONDS PHOTOGRAPHS BUNDLE...` prints photographs per second and processor milliseconds of each.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from models.predictor import Predictor
from serving import photo

BATCH = 8
MOST_PIXELS = 25_000_000


def worked(predictors: list[Predictor], batch: list[bytes], pool: ThreadPoolExecutor) -> list[bytes]:
    """Every photograph of the batch through every model, as JPEG bytes."""
    given = list(pool.map(lambda data: photo.decode(data, MOST_PIXELS), batch))
    pixels = [one.pixels for one in given]
    for predictor in predictors:
        pixels = predictor.predict(pixels, [None] * len(pixels))
    changed = [one.with_pixels(own) for one, own in zip(given, pixels, strict=True)]
    return list(pool.map(lambda one: photo.encode(one, photo.Format.JPEG, []), changed))


def main() -> None:
    """Work for so many seconds after one batch that does not count."""
    seconds, folder, *bundles = sys.argv[1:]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    photographs = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    batch = [photographs[index % len(photographs)] for index in range(BATCH)]
    predictors = [Predictor.from_bundle(Path(bundle), batch=BATCH) for bundle in bundles]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        worked(predictors, batch, pool)
        done, begun, processor = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < float(seconds):
            done += len(worked(predictors, batch, pool))
        passed, spent = time.perf_counter() - begun, time.process_time() - processor
    print(json.dumps({"per_second": done / passed, "processor_ms": spent / done * 1000}))


if __name__ == "__main__":
    main()
