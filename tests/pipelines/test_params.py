"""Every wrong params.yaml ends in one line that names the key, the value and what would be right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.catalogue import CATALOGUE
from pipelines import params
from pipelines.params import ParamsError

ROOT = Path(__file__).resolve().parents[2]
SETS = [ROOT / "params.yaml", *sorted((ROOT / "scales").glob("*.yaml"))]
Edit = Callable[[dict[str, Any]], None]


def read_everything(path: Path) -> None:
    for source in ("imagenet", "coco", "more"):
        params.prepare_params(source, path)
    params.categories_params(path)
    params.damage_params(path)
    for task in ("restore", "colorize"):
        params.freeze_params(task, path)
    for recipe in CATALOGUE:
        params.recipe_params(recipe, path)
    params.evaluate_params(path)
    params.register_params(path)


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[Edit], Path]:
    def edit(change: Edit) -> Path:
        numbers = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        change(numbers)
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(numbers), encoding="utf-8")
        return path

    return edit


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.name)
def test_every_set_of_numbers_in_the_repository_is_valid(path: Path) -> None:
    read_everything(path)


def test_every_scale_has_the_same_sections_and_keys() -> None:
    def shape(node: Any) -> Any:
        return {key: shape(value) for key, value in node.items()} if isinstance(node, dict) else None

    shapes = {path.name: shape(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in SETS}
    assert all(found == shapes["params.yaml"] for found in shapes.values()), shapes


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("pix2pix", "epochs", -3, "pix2pix.epochs is -3; it must be >= 1"),
        ("pix2pix", "epochs", 2.5, "pix2pix.epochs is 2.5; it must be a valid integer"),
        ("pix2pix", "epochs", "many", "pix2pix.epochs is 'many'; it must be a valid integer"),
        ("pix2pix", "epochs", True, "pix2pix.epochs is True; it must be a valid integer"),
        ("pix2pix", "data", [], "pix2pix.data is []; "),
        ("pix2pix", "data", [3], "pix2pix.data[0] is 3; it must be a valid string"),
        ("pix2pix", "precision", "float8", "pix2pix.precision is 'float8'; it must be 'auto', 'float32' or 'bfloat16'"),
        ("pix2pix", "epoch", 3, "pix2pix.epoch is 3; it is no known key; did you mean epochs?"),
        ("damage", "severity", 1.5, "damage.severity is 1.5; it must be <= 1"),
        ("damage", "severity", float("nan"), "damage.severity is nan; it must be a finite number"),
        ("register", "promote", "yes", "register.promote is 'yes'; it must be a valid boolean"),
    ],
)
def test_a_wrong_value_is_named(
    edited: Callable[[Edit], Path], section: str, key: str, value: Any, message: str
) -> None:
    path = edited(lambda numbers: numbers[section].update({key: value}))
    with pytest.raises(ParamsError) as error:
        read_everything(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_a_missing_key_and_a_missing_section_are_named(edited: Callable[[Edit], Path]) -> None:
    path = edited(lambda numbers: numbers["freeze"]["restore"].pop("seed"))
    with pytest.raises(ParamsError, match=r"freeze\.restore\.seed is missing"):
        params.freeze_params("restore", path)
    path = edited(lambda numbers: numbers.pop("evaluate"))
    with pytest.raises(ParamsError, match="evaluate is missing"):
        params.evaluate_params(path)


def test_numbers_that_contradict_each_other_are_named(edited: Callable[[Edit], Path]) -> None:
    path = edited(lambda numbers: numbers["prepare"]["coco"].update(validation=0.5, test=0.6))
    with pytest.raises(ParamsError, match=r"prepare\.coco: validation \+ test is 1\.1; it must be below 1"):
        params.prepare_params("coco", path)


def test_categories_belong_to_coco_alone(edited: Callable[[Edit], Path]) -> None:
    path = edited(lambda numbers: numbers["prepare"]["imagenet"].update(categories=["cat"]))
    with pytest.raises(ParamsError, match=r"prepare\.imagenet\.categories is \['cat'\]; it is no known key"):
        params.prepare_params("imagenet", path)


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("pix2pix: [", encoding="utf-8")
    with pytest.raises(ParamsError) as error:
        params.damage_params(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(ParamsError, match=r"pix3pix is no recipe; the catalogue has classical, .*, pix2pix, "):
        params.recipe_params("pix3pix")
