"""Images per second of our pix2pix step, beside a plain torch loop and beside itself under Ray Train.

`python -m bench.train_step`: the paper's networks (width 64, 256 px) on one batch, made ready. Ours is the whole loop
(bfloat16 autocast where the machine has it, fused Adam, channels last, freed memory kept); plain is the same two
updates in float32 with torch's default Adam; the third is ours in a Ray Train worker. They take turns, and the median
step of all turns counts. The last line is one JSON object: `step_ratio` is ours / plain, `ray_ratio` is ours under
Ray / ours.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.adversarial import verdict
from models.pix2pix import PatchDiscriminator, Pix2Pix, Pix2PixParams, UNet
from models.recipe import Batch, Setting
from pipelines import place
from pipelines.checkpoints import Checkpoints
from pipelines.loop import Data, Row, Settings, train

BATCH, SIZE, WIDTH, TURNS = 4, 256, 64, 3
STEPS, WARMING = 14, 5  # steps of one turn, and how many of its first do not count: Ray's helpers are still starting
PARAMS = Pix2PixParams(
    epochs=1,
    width=WIDTH,
    normalization="batch",
    dropout=0.5,
    discriminator_epochs=0,
    l1=100.0,
    learning_rate=0.0002,
    beta1=0.5,
    fooled_below=0.0,
    average=0.0,
)


def main() -> None:
    """Measure in turns, each in a process of its own, and print."""
    ways: dict[str, Callable[[], list[float]]] = {
        "plain": lambda: in_process("plain"),
        "ours": lambda: in_process("ours"),
        "ours under Ray": lambda: in_process("ray"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TURNS):
        for name, measured in ways.items():
            steps = measured()
            seconds[name] += steps
            print(f"turn {turn + 1}, {name}: {BATCH / statistics.median(steps):.2f} images per second", flush=True)
    rate = {name: BATCH / statistics.median(steps) for name, steps in seconds.items()}
    print("median: " + ", ".join(f"{name} {images:.2f}" for name, images in rate.items()) + " images per second")
    step, ray = rate["ours"] / rate["plain"], rate["ours under Ray"] / rate["ours"]
    print(json.dumps({"step_ratio": round(step, 3), "ray_ratio": round(ray, 3)}))


def in_process(way: str) -> list[float]:
    """The seconds of the steps of one way, in a fresh process: settings of one way must not help another."""
    with TemporaryDirectory() as folder:
        said = Path(folder) / "seconds.json"
        subprocess.run([sys.executable, "-m", "bench.train_step", way, str(said)], check=True)
        seconds: list[float] = json.loads(said.read_text(encoding="utf-8"))
    return seconds


def plain() -> list[float]:
    """The two updates as torch's tutorials write them."""
    torch.manual_seed(0)
    generator, discriminator = UNet(3, 3, WIDTH, "batch", 0.5), PatchDiscriminator(6, WIDTH, "batch")
    rates: dict[str, Any] = {"lr": PARAMS.learning_rate, "betas": (PARAMS.beta1, 0.999)}
    of_generator = torch.optim.Adam(generator.parameters(), **rates)
    of_discriminator = torch.optim.Adam(discriminator.parameters(), **rates)
    source, target = batch().damaged * 2 - 1, batch().clean * 2 - 1
    seconds = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        fake = generator(source)
        pairs = torch.cat((torch.cat((source, target), 1), torch.cat((source, fake.detach()), 1)))
        real, made = discriminator(pairs).chunk(2)
        of_discriminator.zero_grad()
        update = (verdict(real, real=True) + verdict(made, real=False)) / 2
        update.backward()  # type: ignore[no-untyped-call]
        of_discriminator.step()
        discriminator.requires_grad_(False)
        loss = verdict(discriminator(torch.cat((source, fake), 1)), real=True) + 100 * (fake - target).abs().mean()
        discriminator.requires_grad_(True)
        of_generator.zero_grad()
        loss.backward()
        of_generator.step()
        seconds.append(time.perf_counter() - begun)
    return seconds[WARMING:]


def ours() -> list[float]:
    """The loop's own steps, from one's end to the next one's."""
    place.tune(place.cores())
    torch.manual_seed(0)
    here, clock, ready = place.alone(), _Clock(), batch()
    small = Batch(ready.clean[:1], ready.damaged[:1], ready.mask[:1], ready.labels[:1])
    data = Data(lambda epoch, start: iter([ready] * STEPS), STEPS, lambda: iter([small]), small)
    settings = Settings(0, place.bfloat16(here.device, "auto"), checkpoint_every=STEPS + 1)
    with TemporaryDirectory() as folder:
        train(Pix2Pix(PARAMS, Setting(1, SIZE)), data, settings, here, Checkpoints(Path(folder)), clock)
    return clock.seconds()


def under_ray() -> list[float]:
    """`ours` in the worker that `pipelines/workers.py` would start."""
    import ray
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import RunConfig

    from pipelines import workers

    with TemporaryDirectory() as folder:
        said = Path(folder) / "seconds.json"
        workers.start_ray()
        scaling = workers.scaling(ray.cluster_resources())  # type: ignore[no-untyped-call]
        config: Any = RunConfig(storage_path=folder)

        def worker() -> None:
            said.write_text(json.dumps(ours()), encoding="utf-8")

        TorchTrainer(worker, scaling_config=scaling, run_config=config).fit()
        seconds: list[float] = json.loads(said.read_text(encoding="utf-8"))
        ray.shutdown()
    return seconds


def batch() -> Batch:
    """Noise: what is in the pictures does not change how long a step takes."""
    photographs = torch.rand(BATCH, 3, SIZE, SIZE)
    return Batch(photographs, photographs, torch.zeros(BATCH, 1, SIZE, SIZE), torch.zeros(BATCH, 1))


class _Clock:
    """A journal that keeps when the steps ended."""

    def __init__(self) -> None:
        self.ends: list[int] = []

    def metrics(self, rows: Sequence[Row]) -> None:
        self.ends += [row.time for row in rows if "adversarial/l1" in row.values]

    def picture(self, name: str, picture: NDArray[np.uint8]) -> None:
        pass

    def seconds(self) -> list[float]:
        return [(end - begin) / 1000 for begin, end in zip(self.ends, self.ends[1:], strict=False)][WARMING - 1 :]


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    if len(sys.argv) == 1:
        main()
    else:
        measured = {"plain": plain, "ours": ours, "ray": under_ray}[sys.argv[1]]()
        Path(sys.argv[2]).write_text(json.dumps(measured), encoding="utf-8")
