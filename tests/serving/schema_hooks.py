"""What schemathesis sends where the OpenAPI document asks for files and hints, and when a refusal of it is right."""

import io
import zipfile
from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies as st
from PIL import Image

SIDE = 24  # pixels, of every photograph and mask that is sent
FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/tiff": "TIFF", "image/webp": "WEBP", "image/bmp": "BMP"}
HINTS = ["[]", '[{"x": 3, "y": 20.5, "a": 110, "b": -110}]', '[{"x": 0, "y": 0, "a": 1, "b": 2, "radius": 1e9}]']
# What a schema cannot say: which versions and albums there are, and what belongs to which task and model.
UNSAID = {"no_version", "x_model", "find_damage", "hints", "no_album", "not_done"}


def picture(form: str) -> bytes:
    """A photograph of noise as a file; `form` is Pillow's name of the format."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def album(*forms: str) -> bytes:
    """A zip of a photograph in each format."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for form in forms:
            archive.writestr(f"a.{form.lower()}", picture(form))
    return file.getvalue()


for media_type, form in FORMATS.items():
    schemathesis.openapi.media_type(media_type, st.just(picture(form)))
schemathesis.openapi.media_type("application/zip", st.sampled_from([album("PNG"), album("JPEG", "TIFF")]))
schemathesis.openapi.media_type("application/json", st.sampled_from(HINTS))


@schemathesis.check
def what_the_document_allows_is_answered(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """In place of positive_data_acceptance, which knows statuses alone."""
    right = case.meta is not None and case.meta.generation.mode.is_positive
    if right and response.status_code >= 400:
        said: Any = response.json()
        assert said["error"]["code"] in UNSAID, said
