"""Files of published weights: their sha256 is checked, and they load by the layer names they were published with."""

from collections.abc import Collection, Mapping
from hashlib import file_digest
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


class WeightsError(ValueError):
    """A file of published weights that is not what it should be; the message names file and cause."""


def load_published(
    network: nn.Module,
    path: Path,
    sha256: str,
    what: str,
    ours: Collection[str] = (),
    left_out: tuple[str, ...] = (),
) -> None:
    """Loads a published file into `network` by its own layer names; `what` says what the file must be.

    `ours` are names of the network's state that no file has (scaling buffers, layers of our own); what begins with
    one of `left_out` in the file is not wanted. WeightsError where the file is missing, is another file, or lacks a
    layer or has one too many.
    """
    given = {name: value for name, value in read_published(path, sha256).items() if not name.startswith(left_out)}
    expected = set(network.state_dict()) - set(ours)
    # Files from before 2018 have no batch counters; nothing here reads them.
    missing = sorted(name for name in expected - set(given) if not name.endswith("num_batches_tracked"))
    unknown = sorted(set(given) - expected)
    if missing or unknown:
        said = f"lacks the layer {missing[0]}" if missing else f"has the layer {unknown[0]}, which {what} has not"
        raise WeightsError(f"{path} {said}; it must be {what}")
    try:
        network.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise WeightsError(f"{path}: {' '.join(str(error).split())}") from error


def read_published(path: Path, sha256: str) -> Mapping[str, Tensor]:
    """The layers of a .safetensors or torch file, by name; WeightsError where it is missing or is another file."""
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if found != sha256.lower():
        raise WeightsError(f"{path} has sha256 {found}; it must be {sha256}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{path} is no file of weights: {' '.join(str(error).split())}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}; it must be a mapping of layers to weights")
    return state
