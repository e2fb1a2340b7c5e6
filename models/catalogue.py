"""Every recipe by its name: one dict. Adding a paper is one file, one section of params.yaml and one line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from models import colorgan, pix2pix
from models.recipe import Recipe
from models.task import Task


@dataclass(frozen=True)
class Entry:
    """What a name stands for."""

    task: Task
    params: type  # frozen dataclass of the recipe's own numbers
    recipe: Callable[[Any, int, int], Recipe]  # its params, number of classes, working size in pixels; seeded outside
    network: Callable[[Mapping[str, Any]], nn.Module]  # config.json's `network` -> what a bundle's weights belong to


CATALOGUE: dict[str, Entry] = {
    "pix2pix": Entry(
        Task.RESTORE, pix2pix.Pix2PixParams, pix2pix.Pix2Pix, lambda keywords: pix2pix.network(**keywords)
    ),
    "colorgan": Entry(
        Task.COLORIZE, colorgan.ColorganParams, colorgan.Colorgan, lambda keywords: colorgan.network(**keywords)
    ),
}
