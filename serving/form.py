"""The multipart form and the picture as the OpenAPI document describes them."""

from typing import Any

from models.task import Task
from serving import points
from serving.photo import Format

_VERSIONS = {
    f"X-{task.model.title()}": {"description": f"The {task.model}'s version", "schema": {"type": "string"}}
    for task in (Task.DETECT, Task.RESTORE, Task.COLORIZE)
}
_NOTE = {"description": "What of the file could not be taken, such as page 1 of 3", "schema": {"type": "string"}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}

PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture, at the photograph's own size",
        "content": {form.media_type: _BINARY for form in Format},
        "headers": _VERSIONS | {"X-Note": _NOTE},
    }
}
PNG: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The mask, at the photograph's own size",
        "content": {Format.PNG.media_type: _BINARY},
        "headers": _VERSIONS | {"X-Note": _NOTE},
    }
}
_PHOTO = {"type": "string", "format": "binary", "description": "A photograph: JPEG, PNG, TIFF, WebP, BMP or HEIC"}
_MASK = {
    "type": "string",
    "format": "binary",
    "description": "A picture of the photograph's size, white where it is destroyed",
}
_HINTS = {
    "type": "array",
    "maxItems": points.MOST,
    "items": points.Point.model_json_schema(),
    "description": 'Colours wanted at points, as JSON: [{"x": 10, "y": 20, "a": 30, "b": -5, "radius": 4}, ...] in '
    "pixels of the upright photograph and in Lab units; for colorizers of the recipe guided",
}
_PICTURES = "image/jpeg, image/png, image/tiff, image/webp, image/bmp, image/heic"
_ENCODINGS = {"photo": _PICTURES, "mask": _PICTURES, "hints": "application/json"}


def _form(**optional: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "required": ["photo"], "additionalProperties": False}
    schema["properties"] = {"photo": _PHOTO, **optional}
    encoding = {name: {"contentType": _ENCODINGS[name]} for name in ("photo", *optional)}
    form = {"schema": schema, "encoding": encoding}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": form}}}


COLOR_FORM = _form(mask=_MASK, hints=_HINTS)
MASK_FORM = _form(mask=_MASK)
