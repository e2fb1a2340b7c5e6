"""How often each colour occurs in the photographs that a recipe learns from, which tells it the rare ones.

`python -m pipelines.palette <recipe>` counts the 313 ab bins (models/bins.py) over the train split of the recipe's sets
and writes `build/palettes/<recipe>/`: `palette.npy`, `report.json`, and `palette.png` for people to look at.
"""

import argparse
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from tqdm import tqdm

from models import bins
from models.catalogue import CATALOGUE
from models.color import fit_to_gamut, lab_to_rgb, rgb_to_lab
from models.image import to_photo, to_tensor
from pipelines.params import recipe_params
from pipelines.photos import Photographs, data_hashes
from pipelines.stage import StageError, fresh_folder, stage

PREPARED = Path("build/prepared")
PALETTES = Path("build/palettes")

SQUARE = 24  # pixels of the picture for one bin
REACH = 120  # Lab units that the picture shows to each side of grey
MARGIN, WRITING = 28, 40  # pixels around the plane, and of the writing above it
INK, PAPER = "white", (32, 32, 32)
LIGHTNESS = 65.0  # at which the colours of the bins are shown


def measure(sets: Sequence[Path], target: Path) -> dict[str, Any]:
    """Counts the train split of the prepared `sets`, writes the folder `target` and returns its report.

    StageError where there are no photographs.
    """
    photographs = Photographs.open(sets, "train")
    counts = torch.zeros(bins.BINS, dtype=torch.int64)
    for index in tqdm(range(len(photographs)), desc="photographs", unit="", disable=None):
        lab = rgb_to_lab(to_tensor(photographs.photo(index))[None])
        counts += bins.histogram(lab[:, 1:])
    palette = counts.numpy() / int(counts.sum())  # (313,) float64
    used = palette[palette > 0]
    report = {
        "photographs": len(photographs),
        "pixels": int(counts.sum()),
        "empty_bins": bins.BINS - len(used),
        "entropy": float(-(used * np.log(used)).sum()),  # nats; ln 313 = 5.75 if all colours were as frequent
        "data": data_hashes(sets),
    }
    with fresh_folder(target) as fresh:
        content = BytesIO()
        np.save(content, palette, allow_pickle=False)
        (fresh / "palette.npy").write_bytes(content.getvalue())
        (fresh / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        draw(palette).save(fresh / "palette.png")
    return report


def load_palette(folder: Path, data: dict[str, str]) -> Tensor:
    """The palette (313,) float64 that this stage left in `folder`, adding up to 1.

    `data` are the hashes (`data_hashes`) of the sets that will be trained on. StageError where the palette cannot be
    read or was measured on others.
    """
    again = f"run `python -m pipelines.palette {folder.name}`"
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        palette = np.load(folder / "palette.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StageError(f"{folder} holds no palette ({error}); {again}") from error
    if report["data"] != data:
        measured = ", ".join(f"{name} {sha256[:8]}" for name, sha256 in report["data"].items())
        wanted = ", ".join(f"{name} {sha256[:8]}" for name, sha256 in data.items())
        raise StageError(f"{folder} was measured on {measured}; it must be {wanted}: {again}")
    return torch.from_numpy(palette)


def draw(palette: NDArray[np.float64]) -> Image.Image:
    """The bins in the ab plane: at the left their colours, at the right the logarithm of their frequency (figure 3)."""
    colors = _colors()
    with np.errstate(divide="ignore"):
        logarithms = np.log10(palette)
    finite = logarithms[np.isfinite(logarithms)]
    low, high = finite.min(), max(finite.max(), finite.min() + 1e-6)
    heat = np.clip((logarithms - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    shown = cv2.cvtColor(cv2.applyColorMap(heat[:, None], cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)[:, 0]
    shown[palette == 0] = (80, 80, 80)
    side = (2 * REACH // bins.STEP + 1) * SQUARE
    canvas = Image.new("RGB", (2 * side + 3 * MARGIN, side + WRITING + MARGIN), PAPER)
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(14)
    frequencies = f"share of pixels, 10^{low:.1f} dark to 10^{high:.1f} bright; grey where none"
    plane_left = MARGIN
    for title, picture in ((f"the 313 bins at L = {LIGHTNESS:g}", colors), (frequencies, shown)):
        pen.text((plane_left, WRITING // 2 - 8), f"{title}   (a to the right, b upward)", INK, font)
        _squares(pen, picture, plane_left, WRITING)
        plane_left += side + MARGIN
    return canvas


def _squares(pen: ImageDraw.ImageDraw, colors: NDArray[np.uint8], left: int, top: int) -> None:
    for (a, b), color in zip(bins.points().int().tolist(), colors, strict=True):
        x = left + (a + REACH) // bins.STEP * SQUARE
        y = top + (REACH - b) // bins.STEP * SQUARE
        pen.rectangle((x, y, x + SQUARE - 2, y + SQUARE - 2), fill=tuple(map(int, color)))


def _colors() -> NDArray[np.uint8]:
    """What each bin looks like, (313, 3) sRGB, as strong as sRGB can show it."""
    ab = bins.points().T[None, :, :, None]  # (1, 2, 313, 1)
    lab = fit_to_gamut(torch.cat((torch.full_like(ab[:, :1], LIGHTNESS), ab), dim=1))
    return np.asarray(to_photo(lab_to_rgb(lab)[0], np.uint8)[:, 0], np.uint8)


def main() -> None:
    """The stage `palette@<recipe>`."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.palette", description="Counts a recipe's colours.")
    parser.add_argument("recipe", choices=sorted(name for name, entry in CATALOGUE.items() if entry.palette))
    recipe = parser.parse_args().recipe
    with stage(f"palette@{recipe}"):
        from pipelines import tracking  # a bare training reads a palette and has no MLflow

        with tracking.stage_run(f"palette@{recipe}") as run_id:
            sets = [PREPARED / name for name in recipe_params(recipe).training.data]
            report = measure(sets, PALETTES / recipe)
            tracking.log_report(run_id, report)
        print(
            f"palette@{recipe}: {report['photographs']} photographs, {report['empty_bins']} of {bins.BINS} bins empty, "
            f"entropy {report['entropy']:.2f} nats"
        )


if __name__ == "__main__":
    main()
