"""The form's `hints`: what a person wants to be of which colour, as JSON. Checked here, used by models/hints.py."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from serving.refusal import Refusal

MOST = 256  # of one photograph
AB = 110.0  # models.color.AB, which is not imported: the gateway has no torch


class Point(BaseModel):
    """One colour at one place of the upright photograph, whose pixel i covers [i, i + 1)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    x: Annotated[float, Field(ge=0, description="Columns from the left, pixels")]
    y: Annotated[float, Field(ge=0, description="Rows from the top, pixels")]
    a: Annotated[float, Field(ge=-AB, le=AB, description="Lab's a: green to red")]
    b: Annotated[float, Field(ge=-AB, le=AB, description="Lab's b: blue to yellow")]
    radius: Annotated[float, Field(ge=0, description="Of the disc that has this colour, pixels; 0 is one point")] = 0.0


_POINTS = TypeAdapter(Annotated[tuple[Point, ...], Field(max_length=MOST)])


def read(text: str) -> tuple[Point, ...]:
    """The points in a JSON list; raises Refusal 422, which names the first point that is wrong."""
    try:
        return _POINTS.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        given = "" if isinstance(first["input"], str | list | dict) else f" is {first['input']}"
        raise Refusal(422, "hints", f"hints{place}{given}: {first['msg']}") from error


def check_inside(points: Sequence[Point], height: int, width: int) -> None:
    """Raises Refusal 422, which names the first point that lies outside a photograph of this size."""
    for number, point in enumerate(points):
        for axis, value, side, sides in (("x", point.x, width, "width"), ("y", point.y, height, "height")):
            if value >= side:
                name = f"hints[{number}].{axis}"
                message = f"{name} is {value:g}; it must be from 0 to below {side}, the photograph's {sides}"
                raise Refusal(422, "hints", message)
