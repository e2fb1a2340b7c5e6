"""Pictures of noise: every pixel is its own, so nothing can go astray unseen."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def picture(width: int, height: int, kind: str = "PNG", seed: int = 0) -> bytes:
    file = BytesIO()
    image(width, height, seed).save(file, kind)
    return file.getvalue()


def write(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> None:
    """The kind is the suffix's; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image(width, height, seed).save(path)
