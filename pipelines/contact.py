"""Labelled sheets of photographs beside each other, for people to look at."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP = 6
STRIP = 22  # height of a line of writing
INK = "white"
PAPER = (32, 32, 32)


def sheet(names: Sequence[str], rows: Sequence[Sequence[NDArray[np.uint8]]], captions: Sequence[str]) -> Image.Image:
    """A row a photograph, a named column a version of it, a caption under each row.

    Every picture is (H, W, 3) sRGB and all are of one size.
    """
    height, width = rows[0][0].shape[:2]
    step = height + STRIP + GAP
    canvas = Image.new("RGB", (GAP + len(names) * (width + GAP), STRIP + GAP + len(rows) * step), PAPER)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(14)
    lefts = [GAP + column * (width + GAP) for column in range(len(names))]
    for left, name in zip(lefts, names, strict=True):
        draw.text((left, 3), name, INK, font)
    for number, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        top = STRIP + number * step
        for left, picture in zip(lefts, row, strict=True):
            canvas.paste(Image.fromarray(picture), (left, top))
        draw.text((GAP, top + height + 2), caption, INK, font)
    return canvas
