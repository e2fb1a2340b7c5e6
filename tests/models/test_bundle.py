import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models import bundle
from models.bundle import BundleError, Config
from models.catalogue import CATALOGUE
from models.task import Task

PIX2PIX = Config(
    recipe="pix2pix",
    task=Task.RESTORE,
    size=64,
    network={"width": 2, "normalization": "batch", "dropout": 0.5},
    params={"width": 2, "l1": 100.0},
    data={"imagenet": "0" * 64},
    run="pix2pix-1a2b3c4d5e",
)
COLORGAN = replace(
    PIX2PIX,
    recipe="colorgan",
    task=Task.COLORIZE,
    network={"generator": "resnet18", "width": 2, "normalization": "batch", "dropout": 0.5},
)


def made(config: Config) -> nn.Module:
    torch.manual_seed(0)
    return CATALOGUE[config.recipe].network(config.network).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle.save(tmp_path / "bundle", PIX2PIX, made(PIX2PIX))
    return tmp_path / "bundle"


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("config", [PIX2PIX, COLORGAN])
def test_what_is_saved_is_loaded(config: Config, tmp_path: Path) -> None:
    network = made(config)
    bundle.save(tmp_path / "a" / "bundle", config, network)
    loaded, again = bundle.load(tmp_path / "a" / "bundle")
    assert loaded == config
    assert not again.training
    picture = torch.rand(1, 3 if config.task is Task.RESTORE else 1, 64, 64)
    assert torch.equal(again(picture), network(picture))


def test_nothing_is_left_beside_it_and_the_old_one_is_replaced(folder: Path) -> None:
    before = bundle.digest(folder)
    bundle.save(folder, replace(PIX2PIX, run="pix2pix-another"), made(PIX2PIX))
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "weights.safetensors"]
    assert bundle.load(folder)[0].run == "pix2pix-another"
    assert bundle.digest(folder) != before


def test_a_failed_save_leaves_the_old_one(folder: Path) -> None:
    before = bundle.digest(folder)
    with pytest.raises(TypeError):
        bundle.save(folder, replace(PIX2PIX, params={"width": object()}), made(PIX2PIX))
    assert bundle.digest(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_the_digest_is_of_the_contents_alone(folder: Path, tmp_path: Path) -> None:
    bundle.save(tmp_path / "other", PIX2PIX, made(PIX2PIX))
    assert bundle.digest(folder) == bundle.digest(tmp_path / "other")
    weights = folder / "weights.safetensors"
    flipped = bytearray(weights.read_bytes())
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    assert bundle.digest(folder) != bundle.digest(tmp_path / "other")


def test_weights_in_any_memory_order_can_be_saved(tmp_path: Path) -> None:
    network = made(PIX2PIX).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    bundle.save(tmp_path / "bundle", PIX2PIX, network)
    assert bundle.load(tmp_path / "bundle")[0] == PIX2PIX


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipe": "pix3pix"}, "recipe is 'pix3pix'; it must be one of classical, "),
        ({"task": "colorize"}, "task is 'colorize'; it must be 'restore'"),
        ({"size": "64"}, "size is '64'; it must be of type int"),
        ({"size": True}, "size is True; it must be of type int"),
        ({"size": 0}, "size is 0; it must be at least 1"),
        ({"size": 65}, "size is 65; it must be a multiple of 64"),
        ({"version": 2}, "version is 2; it must be 1"),
        ({"network": []}, r"network is \[\]; it must be of type dict"),
        ({"network": {"width": 2}}, "missing 2 required positional arguments"),
        ({"network": PIX2PIX.network | {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ({"network": PIX2PIX.network | {"width": "wide"}}, "network is .*wide"),
        ({"network": PIX2PIX.network | {"normalization": "none"}}, "normalization is 'none'"),
        ({"color": "red"}, "color is no known key"),
    ],
)
def test_a_config_that_says_something_else_is_refused(folder: Path, changes: dict[str, Any], says: str) -> None:
    rewrite(folder, **changes)
    with pytest.raises(BundleError, match=rf"config\.json: .*{says}"):
        bundle.load(folder)


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_config_that_is_no_object_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(BundleError, match=r"config\.json"):
        bundle.load(folder)


def test_a_missing_key_is_named(folder: Path) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    del values["run"]
    path.write_text(json.dumps(values))
    with pytest.raises(BundleError, match="run is missing"):
        bundle.load(folder)


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    for read in (bundle.load, bundle.digest):
        with pytest.raises(BundleError, match=f"{name} cannot be read"):
            read(folder)


def test_weights_cut_short_are_refused(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BundleError, match=r"weights\.safetensors is no safetensors file"):
        bundle.load(folder)


def test_layers_that_do_not_fit_are_named(folder: Path) -> None:
    path = folder / "weights.safetensors"
    state = load_file(path)
    name = "network.last.bias"
    save_file({key: value for key, value in state.items() if key != name}, path)
    with pytest.raises(BundleError, match=f"lacks the layer {name}"):
        bundle.load(folder)
    save_file(state | {"network.more": torch.zeros(1)}, path)
    with pytest.raises(BundleError, match=r"has the layer network\.more"):
        bundle.load(folder)
    save_file(state | {name: torch.zeros(4)}, path)
    with pytest.raises(BundleError, match=rf"layer {name} is torch\.float32 \(4,\); it must be torch\.float32 \(3,\)"):
        bundle.load(folder)
