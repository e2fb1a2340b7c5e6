"""A bundle's face for MLflow: a pyfunc "model from code", so nothing is pickled.

MLflow copies this file and the package `models` beside the bundle and runs the copy wherever the model is loaded:
`mlflow.pyfunc.load_model`, `mlflow models serve`, a batch job. It therefore imports nothing else of this repository.

In: a table with a column `photo`, each an encoded picture (JPEG, PNG, WebP, TIFF; bytes, or base64 over REST), and for
a restorer optionally a column `mask`, each an encoded picture of the photo's size that is white where the photo is
destroyed, or empty. Out: a table with one column `photo`: PNG of the same size and depth, in the same order.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

from models.predictor import Predictor

Photo = NDArray[Any]  # (H, W, 3) sRGB, uint8 or uint16


class BundleModel(PythonModel):
    """Answers with the same `Predictor` that evaluation measured and that Serve uses."""

    def load_context(self, context: PythonModelContext) -> None:
        """Reads the bundle that was logged with the model."""
        self.predictor = Predictor.from_bundle(Path(context.artifacts["bundle"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One PNG for each row; ValueError names the row that holds no picture."""
        photos = [_photo(row, encoded) for row, encoded in enumerate(model_input["photo"])]
        encoded_masks = model_input["mask"] if "mask" in model_input else [None] * len(photos)
        masks = [_mask(row, encoded, photos[row]) for row, encoded in enumerate(encoded_masks)]
        return pd.DataFrame({"photo": [_png(photo) for photo in self.predictor.predict(photos, masks)]})


def _photo(row: int, encoded: bytes | str) -> Photo:
    photo = _decode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)
    if photo is None or photo.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"row {row}: photo is no readable picture of 8 or 16 bits; it must be a whole encoded file")
    return np.asarray(photo)


def _mask(row: int, encoded: bytes | str | None, photo: Photo) -> NDArray[np.bool_] | None:
    if not encoded:
        return None
    mask = _decode(encoded, cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise ValueError(f"row {row}: mask is no readable picture; it must be a whole encoded file, or empty")
    if mask.shape != photo.shape[:2]:
        height, width = photo.shape[:2]
        raise ValueError(f"row {row}: mask is {mask.shape[1]} x {mask.shape[0]}; it must be {width} x {height}")
    return np.asarray(mask > 127)


def _decode(encoded: bytes | str, flags: int) -> Any:
    """The picture, or None. OpenCV also raises: on no bytes at all, and on more pixels than it is willing to read."""
    try:
        content = base64.b64decode(encoded) if isinstance(encoded, str) else encoded
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except (binascii.Error, cv2.error):
        return None


def _png(photo: Photo) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1])


mlflow.models.set_model(BundleModel())
