"""params.yaml, read and checked: every section as a frozen dataclass, every error in one line.

The dataclasses hold names, types and bounds and no defaults: each number is written once, in params.yaml. What a
recipe alone needs stands in its own file (`models/pix2pix.py`: `Pix2PixParams`); what every training needs is
`Training`. Both are read from the recipe's one flat section.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import yaml
from annotated_types import Ge, Interval, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError

from models.catalogue import CATALOGUE

PARAMS = Path("params.yaml")

Share = Annotated[float, Interval(ge=0, le=1)]
Count = Annotated[int, Ge(1)]
T = TypeVar("T")


class ParamsError(Exception):
    """A params file that says something impossible; the message is one line that names the key."""


@dataclass(frozen=True)
class Prepare:
    """How raw photographs become a packed set."""

    photographs: Count
    size: Annotated[int, Ge(32)]
    smallest: Count
    colorfulness: Annotated[float, Ge(0)]
    validation: Share
    test: Share
    shard: Count
    quality: Annotated[int, Interval(ge=1, le=100)]
    seed: Annotated[int, Ge(0)]

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test is {self.validation + self.test:g}; it must be below 1")


@dataclass(frozen=True)
class Categories:
    """Which photographs of a COCO set are wanted."""

    categories: list[str]


@dataclass(frozen=True)
class Pairing:
    """What the pairs are where data/ has none."""

    edges_of: Literal["", "imagenet", "coco", "more"]


@dataclass(frozen=True)
class Damage:
    """How strong damage is, and how often each kind strikes a photograph."""

    severity: Share
    monochrome: Share
    scratches: Share
    creases: Share
    tears: Share
    corners: Share
    stains: Share
    dust: Share
    holes: Share
    fading: Share
    exposure: Share
    sepia: Share
    grain: Share
    blur: Share
    halftone: Share
    jpeg: Share


@dataclass(frozen=True)
class Freeze:
    """Which photographs a task is examined on."""

    data: Annotated[list[str], MinLen(1)]
    photographs: Count
    seed: Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Training:
    """What every recipe's training needs."""

    data: Annotated[list[str], MinLen(1)]
    batch: Count
    seed: Annotated[int, Ge(0)]
    checkpoint_every: Count
    precision: Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Evaluate:
    """How a bundle is examined, and by whose eyes: files of published weights, '' where there is none."""

    batch: Count
    pictures: Count
    mobilenet_weights: str
    mobilenet_sha256: str
    inception_weights: str
    inception_sha256: str
    alexnet_weights: str
    alexnet_sha256: str
    lpips_heads: str
    lpips_heads_sha256: str

    def __post_init__(self) -> None:
        if self.lpips_heads and not self.alexnet_weights:
            raise ValueError(f"lpips_heads is {self.lpips_heads!r}; alexnet_weights must be given too: they are its")


@dataclass(frozen=True)
class Register:
    """When a version becomes champion."""

    promote: bool
    unproven: bool
    resamples: Count
    confidence: Annotated[float, Interval(gt=0, lt=1)]
    seed: Annotated[int, Ge(0)]


@dataclass(frozen=True)
class RecipeSection:
    """A recipe's section: what every training needs, and what this recipe alone does."""

    training: Training
    recipe: Any  # the catalogue entry's own dataclass


def prepare_params(source: str, path: Path = PARAMS) -> Prepare:
    """The section `prepare.<source>`; ParamsError where it is wrong."""
    others = {"coco": _names(Categories), "pairs": _names(Pairing)}
    return _read(path, f"prepare.{source}", Prepare, others=others.get(source, ()))


def categories_params(path: Path = PARAMS) -> Categories:
    """The part of `prepare.coco` that COCO alone has."""
    return _read(path, "prepare.coco", Categories, others=_names(Prepare))


def pairing_params(path: Path = PARAMS) -> Pairing:
    """The part of `prepare.pairs` that pairs alone have."""
    return _read(path, "prepare.pairs", Pairing, others=_names(Prepare))


def damage_params(path: Path = PARAMS) -> Damage:
    """The section `damage`."""
    return _read(path, "damage", Damage)


def freeze_params(task: str, path: Path = PARAMS) -> Freeze:
    """The section `freeze.<task>`."""
    return _read(path, f"freeze.{task}", Freeze)


def recipe_params(name: str, path: Path = PARAMS) -> RecipeSection:
    """The section of one recipe of the catalogue."""
    if name not in CATALOGUE:
        raise ParamsError(f"{name} is no recipe; the catalogue has {', '.join(sorted(CATALOGUE))}")
    own = CATALOGUE[name].params
    return RecipeSection(
        training=_read(path, name, Training, others=_names(own)),
        recipe=_read(path, name, own, others=_names(Training)),
    )


def evaluate_params(path: Path = PARAMS) -> Evaluate:
    """The section `evaluate`."""
    return _read(path, "evaluate", Evaluate)


def register_params(path: Path = PARAMS) -> Register:
    """The section `register`."""
    return _read(path, "register", Register)


def _read(path: Path, section: str, cls: type[T], others: Collection[str] = ()) -> T:
    """The section as `cls`; `others` are keys that another dataclass takes from the same section."""
    values = _section(path, section)
    known = _names(cls)
    _check_keys(path, section, values, known, others)
    hints = get_type_hints(cls, include_extras=True)
    checked = {name: _check(path, f"{section}.{name}", hints[name], values[name]) for name in known}
    try:
        return cls(**checked)
    except ValueError as error:
        raise ParamsError(f"{path}: {section}: {error}") from error


def _section(path: Path, section: str) -> Mapping[str, Any]:
    try:
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParamsError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    for name in section.split("."):
        if not isinstance(node, Mapping) or name not in node:
            raise ParamsError(f"{path}: {section} is missing; there must be a section of that name")
        node = node[name]
    if not isinstance(node, Mapping):
        raise ParamsError(f"{path}: {section} is {node!r}; it must be a section of keys and values")
    return node


def _check_keys(
    path: Path, section: str, values: Mapping[str, Any], known: Collection[str], others: Collection[str]
) -> None:
    expected = [*known, *others]
    for key in values:
        if key not in expected:
            near = difflib.get_close_matches(str(key), expected, n=1)
            right = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(expected))}"
            raise ParamsError(f"{path}: {section}.{key} is {values[key]!r}; it is no known key; {right}")
    for key in known:
        if key not in values:
            raise ParamsError(f"{path}: {section}.{key} is missing; it must be given")


def _check(path: Path, key: str, hint: Any, value: Any) -> Any:
    try:
        return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" for part in first["loc"])
        right = first["msg"].replace("Input should be", "it must be").replace("greater than or equal to", ">=")
        right = right.replace("less than or equal to", "<=").replace("greater than", ">").replace("less than", "<")
        raise ParamsError(f"{path}: {key}{place} is {first['input']!r}; {right}") from error


def _names(cls: type) -> list[str]:
    return [field.name for field in fields(cls)]
