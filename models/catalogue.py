"""Every recipe by its name: one dict. Adding a paper is one file, one section of params.yaml and one line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from models import (
    classical,
    colorful,
    colorgan,
    guided,
    hypercolumn,
    latent,
    latent_networks,
    pix2pix,
    sagan,
    scratches,
)
from models.recipe import Recipe, Setting
from models.task import Task

Photo = NDArray[Any]  # (H, W, 3) sRGB, uint8 or uint16
Mask = NDArray[np.bool_] | None  # (H, W) True where the photograph is destroyed; None where nobody knows


@dataclass(frozen=True)
class Entry:
    """What a name stands for."""

    task: Task
    params: type  # frozen dataclass of the recipe's own numbers
    recipe: Callable[[Any, Setting], Recipe]  # its params, and what is known of the photographs; seeded outside
    network: Callable[[Mapping[str, Any]], nn.Module]  # config.json's `network` -> what a bundle's weights belong to
    # What is done to a photograph before its network sees it, in training and after: the photograph with some of its
    # damage mended, and the mask without what was mended. `keywords` are config.json's `network`.
    first: Callable[[Photo, Mask, Mapping[str, Any]], tuple[Photo, Mask]] | None = None
    palette: bool = False  # whether its Setting must have a palette
    learns: bool = True  # False: there is nothing to train, it is only registered


CATALOGUE: dict[str, Entry] = {
    "pix2pix": Entry(
        Task.RESTORE, pix2pix.Pix2PixParams, pix2pix.Pix2Pix, lambda keywords: pix2pix.network(**keywords)
    ),
    "sagan": Entry(
        Task.RESTORE,
        sagan.SaganParams,
        sagan.Sagan,
        lambda keywords: sagan.network(**keywords),
        first=classical.inpaint_small,
    ),
    "latent": Entry(
        Task.RESTORE, latent.LatentParams, latent.Latent, lambda keywords: latent_networks.network(**keywords)
    ),
    "classical": Entry(
        Task.RESTORE,
        classical.ClassicalParams,
        classical.Classical,
        lambda keywords: classical.network(**keywords),
        first=classical.mend,
        learns=False,
    ),
    "scratches": Entry(
        Task.DETECT, scratches.ScratchesParams, scratches.Scratches, lambda keywords: scratches.network(**keywords)
    ),
    "colorgan": Entry(
        Task.COLORIZE, colorgan.ColorganParams, colorgan.Colorgan, lambda keywords: colorgan.network(**keywords)
    ),
    "colorful": Entry(
        Task.COLORIZE,
        colorful.ColorfulParams,
        colorful.Colorful,
        lambda keywords: colorful.network(**keywords),
        palette=True,
    ),
    "guided": Entry(Task.COLORIZE, guided.GuidedParams, guided.Guided, lambda keywords: guided.network(**keywords)),
    "hypercolumn": Entry(
        Task.COLORIZE,
        hypercolumn.HypercolumnParams,
        hypercolumn.Hypercolumn,
        lambda keywords: hypercolumn.network(**keywords),
    ),
    "pairs": Entry(
        Task.TRANSLATE, pix2pix.Pix2PixParams, pix2pix.Translator, lambda keywords: pix2pix.network(**keywords)
    ),
}
