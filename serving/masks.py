"""A mask as a file; `serving.photo.decode_mask` reads one."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin


def encode(mask: NDArray[np.bool_], made_by: Sequence[str]) -> bytes:
    """(H, W) as a grey PNG that is white where `mask` is True and names in its Software tag what made it."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", " ".join(["Autochrome", *made_by]))
    file = BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG", pnginfo=info)
    return file.getvalue()
