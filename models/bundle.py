"""A trained model as a folder: `config.json` says what it is, `weights.safetensors` holds its numbers. No pickle.

A reader never sees half a bundle: it is written beside its place, synced and moved there.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.catalogue import CATALOGUE
from models.task import Task

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
VERSION = 1  # of the format


class BundleError(Exception):
    """A folder that is no bundle; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Config:
    """What a bundle's weights are."""

    recipe: str  # a name of the catalogue
    task: Task
    size: int  # working size in pixels
    network: dict[str, Any]  # keywords of the catalogue entry's `network`
    params: dict[str, Any]  # the recipe's section of params.yaml
    data: dict[str, str]  # prepared set -> sha256 of its manifest.parquet
    run: str  # the training run's name
    version: int = VERSION


def save(folder: Path, config: Config, network: nn.Module) -> None:
    """Writes a bundle, replacing the one that is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        (temporary / CONFIG).write_text(json.dumps(asdict(config), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(state, temporary / WEIGHTS)
        for path in (temporary / CONFIG, temporary / WEIGHTS, temporary):
            _sync(path)
        _move(temporary, folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(folder: Path) -> tuple[Config, nn.Module]:
    """The bundle's config and network, on the CPU and in eval mode; BundleError where anything is amiss."""
    config = _config(folder / CONFIG)
    try:
        with torch.device("meta"):  # shapes only: the weights come from the file
            network = CATALOGUE[config.recipe].network(config.network)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BundleError(f"{folder / CONFIG}: network is {config.network!r}: {error}") from error
    multiple = int(getattr(network, "multiple", 1))
    if config.size % multiple:
        raise BundleError(f"{folder / CONFIG}: size is {config.size}; it must be a multiple of {multiple}")
    weights = _weights(folder / WEIGHTS, network)
    network.load_state_dict(weights, assign=True)
    return config, network.eval()


def digest(folder: Path) -> str:
    """The sha256 that a bundle is known by: over its two files' own sha256; BundleError where one is missing."""
    whole = sha256()
    for path in (folder / CONFIG, folder / WEIGHTS):
        try:
            with path.open("rb") as file:
                whole.update(file_digest(file, "sha256").digest())
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    return whole.hexdigest()


def _config(path: Path) -> Config:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path} holds a {type(values).__name__}; it must be an object")
    _check_keys(path, values)
    if values["version"] != VERSION:
        raise BundleError(f"{path}: version is {values['version']}; it must be {VERSION}")
    recipe = values["recipe"]
    if recipe not in CATALOGUE:
        raise BundleError(f"{path}: recipe is {recipe!r}; it must be one of {', '.join(sorted(CATALOGUE))}")
    if values["task"] != CATALOGUE[recipe].task:
        raise BundleError(f"{path}: task is {values['task']!r}; it must be {CATALOGUE[recipe].task.value!r}")
    if values["size"] < 1:
        raise BundleError(f"{path}: size is {values['size']}; it must be at least 1")
    return Config(**values | {"task": Task(values["task"])})


def _check_keys(path: Path, values: Mapping[str, Any]) -> None:
    types = {"recipe": str, "task": str, "run": str, "size": int, "version": int}
    for name in (field.name for field in fields(Config)):
        expected = types.get(name, dict)
        if name not in values:
            raise BundleError(f"{path}: {name} is missing; it must be given")
        if type(values[name]) is not expected:
            raise BundleError(f"{path}: {name} is {values[name]!r}; it must be of type {expected.__name__}")
    unknown = sorted(values.keys() - {field.name for field in fields(Config)})
    if unknown:
        raise BundleError(f"{path}: {unknown[0]} is no known key")


def _weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load_file(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise BundleError(f"{path} is no safetensors file: {error}") from error
    expected = network.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            raise BundleError(f"{path} lacks the layer {name}")
        if name not in expected:
            raise BundleError(f"{path} has the layer {name}, which the network has not")
        want, got = expected[name], weights[name]
        if want.shape != got.shape or want.dtype != got.dtype:
            raise BundleError(
                f"{path}: layer {name} is {got.dtype} {tuple(got.shape)}; it must be {want.dtype} {tuple(want.shape)}"
            )
    return weights


def _move(temporary: Path, folder: Path) -> None:
    """A folder cannot be renamed over another that is not empty, so the old one steps aside first."""
    if folder.exists():
        aside = temporary.with_name(f"{temporary.name}.old")
        folder.rename(aside)
        temporary.rename(folder)
        shutil.rmtree(aside)
    else:
        temporary.rename(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
