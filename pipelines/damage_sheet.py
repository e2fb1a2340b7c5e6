"""A contact sheet of damage: a row a photograph, a column a kind, all of them as params.yaml says, and the mask."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from pipelines.damage import KINDS, damage
from pipelines.params import Damage, ParamsError, damage_params
from pipelines.photos import Photographs
from pipelines.stage import StageError
from pipelines.strokes import Photo

T = TypeVar("T")

ROWS = 4
SIDE = 192  # pixels of a cell
LABEL = 22  # pixels above the columns
GAP = 4
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
PREPARED, RAW = Path("build/prepared"), Path("data")


def main(target: Path, folder: Path | None) -> None:
    """Writes the sheet; ends the process with one line where there is no photograph or params.yaml is wrong."""
    try:
        photos = photographs(folder)
        params = damage_params()
    except (ParamsError, StageError) as error:
        raise SystemExit(f"damage: {error}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(target), cv2.cvtColor(sheet(photos, params), cv2.COLOR_RGB2BGR)):
        raise SystemExit(f"damage: {target} cannot be written; it must be a PNG's path")
    print(f"{target}: {len(photos)} photographs, {len(KINDS)} kinds at severity {params.severity:g}")


def sheet(photos: list[Photo], params: Damage) -> Photo:
    """The contact sheet, uint8 RGB, of photographs of SIDE x SIDE pixels."""
    none = replace(params, **dict.fromkeys(KINDS, 0.0))
    alone = [replace(none, **{kind: 1.0}) for kind in KINDS]
    columns = ["as it was", *KINDS, "together", "destroyed"]
    board = np.full((LABEL + len(photos) * (SIDE + GAP), len(columns) * (SIDE + GAP), 3), 32, np.uint8)
    for number, name in enumerate(columns):
        place = (number * (SIDE + GAP) + 4, LABEL - 7)
        cv2.putText(board, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
    for row, photo in enumerate(photos):
        together, mask = damage(photo, params, 0, 0, row)
        destroyed = cv2.merge([mask.astype(np.uint8) * 255] * 3)
        cells = [photo, *(damage(photo, one, 0, 0, row)[0] for one in alone), together, destroyed]
        for column, cell in enumerate(cells):
            top, left = LABEL + row * (SIDE + GAP), column * (SIDE + GAP)
            board[top : top + SIDE, left : left + SIDE] = cell
    return board


def photographs(folder: Path | None) -> list[Photo]:
    """ROWS photographs of the folder, or of what is prepared, or of data/; StageError where there is none."""
    if folder is None:
        sets = sorted({shard.parent for shard in PREPARED.glob("*/shard-*.arrow")})
        if sets:
            return _prepared(sets)
        folder = RAW
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    photos = []
    for path in _spread(files, 3 * ROWS):
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if photo is not None:
            photos.append(_cell(np.asarray(photo, np.uint8)))
    if not photos:
        raise StageError(f"{folder} holds no photograph that can be read; name another folder with --photos")
    return _spread(photos, ROWS)


def _prepared(sets: list[Path]) -> list[Photo]:
    opened = [Photographs.open([folder], "train") for folder in sets]
    chosen = [(one, index) for one in opened for index in _spread(list(range(len(one))), ROWS)]
    return [_cell(one.photo(index)) for one, index in _spread(chosen, ROWS)]


def _spread(things: list[T], count: int) -> list[T]:
    """At most `count` of the things, evenly from first to last."""
    places = np.linspace(0, len(things) - 1, min(count, len(things)))
    return [things[round(place)] for place in places]


def _cell(photo: Photo) -> Photo:
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = photo[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
