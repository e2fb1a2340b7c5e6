"""What a training run is called: a run is what it was made of.

The name is the recipe and a hash of its numbers, its data and the code that learns from them. So the same training,
started again, resumes itself; changed numbers never resume old weights; and a mended network is trained, not found
finished.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.catalogue import CATALOGUE
from pipelines.params import Damage, RecipeSection

ROOT = Path(__file__).resolve().parent.parent
LEARNS = ("pipelines.loop", "pipelines.photos", "pipelines.damage", "pipelines.defects", "pipelines.strokes")


def run_name(recipe: str, section: RecipeSection, damage: Damage | None, data: Mapping[str, str]) -> str:
    """Such as `pix2pix-1a2b3c4d5e`; `data` is the sets' names and the sha256 of their manifests."""
    made_of = {"params": all_params(section, damage), "data": dict(data), "code": code_hash(recipe)}
    return f"{recipe}-{_hash(made_of)[:10]}"


def params_hash(section: RecipeSection, damage: Damage | None) -> str:
    """sha256 of every number that a training depends on."""
    return _hash(all_params(section, damage))


def all_params(section: RecipeSection, damage: Damage | None) -> dict[str, Any]:
    """Every number that a training depends on, by its key; those of the damage as `damage.scratches`."""
    struck = {} if damage is None else {f"damage.{name}": value for name, value in asdict(damage).items()}
    return {**asdict(section.training), **asdict(section.recipe), **struck}


def code_hash(recipe: str) -> str:
    """sha256 of the code that a recipe's training runs: its own file in models/, what that imports, and the loop.

    Comments and layout do not count, and no other recipe's file does.
    """
    entry = CATALOGUE[recipe]
    own = {part.__module__ for part in (entry.recipe, entry.first) if part is not None}
    learnt = [module for name in sorted(own) for module in _learnt_with(name)]
    sources = {module: _source(module) for module in (*learnt, *LEARNS)}
    return _hash({module: ast.dump(ast.parse(source)) for module, source in sources.items() if source is not None})


def _learnt_with(module: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """`module` and the modules of models/ that it imports, and so on; some more than once."""
    yield module
    for node in ast.walk(ast.parse(_source(module) or "")):
        name = node.module if isinstance(node, ast.ImportFrom) else None
        if name is not None and name.startswith("models.") and name not in seen:
            yield from _learnt_with(name, seen | {module, name})


def _source(module: str) -> str | None:
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _hash(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
