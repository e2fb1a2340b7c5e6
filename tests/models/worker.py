"""One of several workers that train a tiny recipe with DistributedDataParallel over gloo; started by test_workers.py.

Arguments: rank, number of workers, a file to meet at, cases as JSON (name -> recipe, params, size), where results go.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from models.catalogue import CATALOGUE
from models.recipe import Batch, Setting

PHOTOGRAPHS, STEPS = 4, 2


def share(rank: int, world: int, step: int, size: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    clean = torch.rand(PHOTOGRAPHS, 3, size // 16, size // 16, generator=generator)
    clean = torch.nn.functional.interpolate(clean, size)
    labels = (torch.rand(PHOTOGRAPHS, 3, generator=generator) > 0.5).float()
    own = slice(rank * PHOTOGRAPHS // world, (rank + 1) * PHOTOGRAPHS // world)
    mask = torch.zeros(PHOTOGRAPHS, 1, size, size)
    return Batch(clean=clean[own], damaged=1 - clean[own], mask=mask[own], labels=labels[own])


def train(name: str, params: dict[str, Any], size: int, rank: int, world: int) -> dict[str, Any]:
    torch.manual_seed(0)
    entry = CATALOGUE[name]
    recipe = entry.recipe(entry.params(**params), Setting(3, size, torch.full((313,), 1 / 313)))
    losses: list[dict[str, float]] = []
    for phase in recipe.phases(DistributedDataParallel if world > 1 else lambda module: module):
        for step in range(STEPS):
            found = phase.step(share(rank, world, step, size))
            losses.append({f"{phase.name}/{key}": float(value) for key, value in found.items()})
        for _ in range(rank + 1):  # the last worker has more to look at: no one may wait for another
            phase.validate(share(0, PHOTOGRAPHS, 9, size))
    state = recipe.state_dict()
    weights = {
        f"{part}.{key}": value
        for part, held in state.items()
        for key, value in held.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()  # an optimiser holds lists
    }
    return {"losses": losses, "weights": weights}


def main(rank: int, world: int, meeting: str, cases: str, out: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    results = {case: train(name, params, size, rank, world) for case, (name, params, size) in json.loads(cases).items()}
    torch.save(results, Path(out) / f"{rank}-of-{world}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
