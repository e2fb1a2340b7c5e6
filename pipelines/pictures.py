"""A sheet of held-out photographs as a training sees them after an epoch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.color import lab_to_rgb, rgb_to_lab
from models.image import to_photo
from models.recipe import Batch
from models.task import Task


@torch.no_grad()
def grid(network: nn.Module, task: Task, batch: Batch) -> NDArray[np.uint8]:
    """A row a photograph: what the network is given, what it makes of it, the truth; (B * H, 3 * W, 3) sRGB."""
    training = network.training
    network.eval()
    given, made, truth = _colorized(network, batch) if task is Task.COLORIZE else _changed(network, batch, task)
    network.train(training)
    rows = torch.cat([given, made, truth], dim=3)  # (B, 3, H, 3 * W)
    sheet = torch.cat(list(rows.float().cpu()), dim=1)  # (3, B * H, 3 * W)
    return to_photo(sheet, np.uint8)


def _changed(network: nn.Module, batch: Batch, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    truth = batch.mask if task is Task.DETECT else batch.clean
    made = network(batch.damaged).float()
    return batch.damaged, made.expand(-1, 3, -1, -1), truth.expand(-1, 3, -1, -1)


def _colorized(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    lightness = rgb_to_lab(batch.clean)[:, :1]
    grey = torch.zeros_like(lightness).expand(-1, 2, -1, -1)
    ab = network(lightness).float()
    made = lab_to_rgb(torch.cat([lightness, ab], dim=1))
    return lab_to_rgb(torch.cat([lightness, grey], dim=1)), made, batch.clean
