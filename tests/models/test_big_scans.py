import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from models.bundle import Config
from models.catalogue import CATALOGUE
from models.memory import ALLOWANCE, Footprint, peak
from models.predictor import Predictor
from models.task import Task
from models.tiling import Tiling, starts

PIX2PIX = Config("pix2pix", Task.RESTORE, 64, {"width": 2, "normalization": "batch", "dropout": 0.0}, {}, {}, "x")
COLORGAN = replace(PIX2PIX, recipe="colorgan", task=Task.COLORIZE, network={"generator": "unet", **PIX2PIX.network})
CLASSICAL = replace(PIX2PIX, recipe="classical", network={"method": "telea", "radius": 3})
SAGAN = replace(PIX2PIX, recipe="sagan", network={"width": 2, "normalization": "batch"})


CASES = [
    (PIX2PIX, "uint16", False),
    (COLORGAN, "uint8", False),
    (CLASSICAL, "uint8", False),
    (CLASSICAL, "uint16", True),
]


@pytest.fixture(scope="module")
def measured() -> list[dict[str, Any]]:
    """What each case takes, each in a process of its own."""
    scans = [
        {"recipe": config.recipe, "network": config.network, "size": config.size, "batch": 8}
        | {"height": 1500, "width": 2000, "depth": depth, "masked": masked}
        for config, depth, masked in CASES
    ]
    command = [sys.executable, str(Path(__file__).with_name("scan.py")), *(json.dumps(scan) for scan in scans)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return [json.loads(line) for line in said.stdout.splitlines()]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{config.recipe}-{depth}" for config, depth, _ in CASES])
def test_memory_is_known_before_the_work(case: int, measured: list[dict[str, Any]]) -> None:
    found = measured[case]
    assert found["taken"] <= found["estimated"] <= 2 * found["taken"] + ALLOWANCE


@pytest.mark.parametrize("config", [PIX2PIX, COLORGAN, CLASSICAL, SAGAN])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_scan_of_100_megapixels_has_room_in_4_gigabytes(config: Config, depth: type) -> None:
    photo = 10_000 * 10_000 * 3 * np.dtype(depth).itemsize
    process = 400 << 20  # Python, torch and OpenCV
    for masked in (False, True):
        needed = Footprint(config, batch=8).needed(10_000, 10_000, depth, masked)
        assert needed + photo + 10_000 * 10_000 * masked + process < 4 << 30


def test_a_larger_photograph_needs_more_and_a_wider_network_too() -> None:
    footprint = Footprint(PIX2PIX, batch=8)
    small, large = (footprint.needed(side, side, np.uint8, masked=False) for side in (1000, 4000))
    assert large - small >= 3 * (4000**2 - 1000**2)
    wide = replace(PIX2PIX, network=PIX2PIX.network | {"width": 64})
    layer = 8 * 64 * 32 * 32 * 4  # what its first layer makes of a batch of tiles of 64 pixels
    assert Footprint(wide, batch=8).needed(1000, 1000, np.uint8, masked=False) - small > 2 * layer


def test_what_is_alive_together_is_counted() -> None:
    layers = [nn.Conv2d(4, 4, 3, 1, 1, device="meta") for _ in range(10)]
    picture = torch.empty(1, 4, 100, 100, device="meta")
    assert peak(nn.Sequential(*layers), [picture]) == 3 * picture.nbytes  # the input, what a layer reads and writes


@pytest.mark.parametrize(
    ("height", "width", "depth", "says"),
    [(0, 5, np.uint8, "5x0; neither side"), (5, 5, np.float32, "depth is float32")],
)
def test_what_can_be_no_photograph_is_named(height: int, width: int, depth: type, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Footprint(PIX2PIX, batch=1).needed(height, width, depth, masked=False)


def textured(height: int, width: int) -> NDArray[np.uint16]:
    random = np.random.default_rng(1907)
    light = np.add.outer(np.sin(np.arange(height) / 40), np.cos(np.arange(width) / 25)) * 50 + 128
    return (light[:, :, None] + random.normal(0, 12, (height, width, 3))).clip(0, 255).astype(np.uint16) * 257


def network() -> nn.Module:
    torch.manual_seed(0)
    built = CATALOGUE["pix2pix"].network({"width": 4, "normalization": "batch", "dropout": 0.0})
    for module in built.modules():  # as if trained: untrained weights answer grey
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.1)
    return built


def seams(tiled_by: int, whole: int) -> tuple[float, float]:
    """Of the difference between tiles and one piece: its mean step from pixel to pixel at seams, and elsewhere.

    A seam is where a tile begins or ends. Elsewhere is between the first and the last of them: at the photograph's own
    border tiles and one piece see the same. The larger of both directions' ratios is the one given.
    """
    picture = textured(whole, whole)
    one, tiled = (
        Predictor(replace(PIX2PIX, size=size), network()).predict([picture], [None])[0].astype(float).mean(axis=2)
        for size in (whole, tiled_by)
    )
    assert not np.array_equal(one, tiled)  # at a tile's border the network sees less: there is something to hide
    found = []
    for difference in (tiled - one, (tiled - one).T):
        left = np.array(starts(whole, tiled_by))
        lines = np.unique(np.concatenate((left[1:], left[:-1] + tiled_by)))
        steps = np.abs(np.diff(difference, axis=1)).mean(axis=0)
        others = np.setdiff1d(np.arange(lines[0], lines[-1] - 1), lines - 1)
        found.append((float(steps[lines - 1].mean()), float(steps[others].mean())))
    return max(found, key=lambda pair: pair[0] / pair[1])


def test_tiles_show_no_seams_beside_one_piece() -> None:
    at_seams, elsewhere = seams(128, 448)
    assert at_seams <= 1.02 * elsewhere


def test_tiles_laid_side_by_side_would_show_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    def hard(starts: list[int], size: int, length: int) -> list[torch.Tensor]:
        return [
            (torch.arange(start, start + size) < end).float()
            for start, end in zip(starts, [*starts[1:], length], strict=True)
        ]

    monkeypatch.setattr("models.tiling.weights", hard)
    at_seams, elsewhere = seams(128, 448)
    assert at_seams > 2 * elsewhere


def test_tiles_without_a_wanted_pixel_are_left_out() -> None:
    wanted = np.zeros((300, 300), np.bool_)
    wanted[10, 10] = True
    tiling = Tiling(textured(300, 300), None, 64, masked=False, wanted=wanted)
    (tile,) = tiling.tiles()
    assert tile.shape == (3, 64, 64)
    assert (tiling.blend(iter([torch.ones(3, 64, 64)]))[:40, :40] == 65535).all()
    with pytest.raises(StopIteration):
        tiling.blend(iter(()))
