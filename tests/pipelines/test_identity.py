import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import identity
from pipelines.params import Damage, RecipeSection, damage_params, recipe_params
from tests.pipelines import trial

DATA = {"imagenet": "a" * 64}


@pytest.fixture
def section(tmp_path: Path) -> RecipeSection:
    return recipe_params("pix2pix", trial.set_up(tmp_path) / "params.yaml")


@pytest.fixture
def damage(tmp_path: Path) -> Damage:
    return damage_params(trial.set_up(tmp_path) / "params.yaml")


def test_the_same_training_has_the_same_name(section: RecipeSection, damage: Damage) -> None:
    name = identity.run_name("pix2pix", section, damage, DATA)
    assert name == identity.run_name("pix2pix", replace(section), replace(damage), dict(DATA))
    recipe, dash, digest = name.partition("-")
    assert (recipe, dash, len(digest)) == ("pix2pix", "-", 10)


def test_any_change_is_another_training(section: RecipeSection, damage: Damage) -> None:
    seeded = replace(section, training=replace(section.training, seed=8))
    wider = replace(section, recipe=replace(section.recipe, width=8))
    names = [
        identity.run_name("pix2pix", section, damage, DATA),
        identity.run_name("pix2pix", seeded, damage, DATA),
        identity.run_name("pix2pix", wider, damage, DATA),
        identity.run_name("pix2pix", section, replace(damage, tears=0.1), DATA),
        identity.run_name("pix2pix", section, None, DATA),
        identity.run_name("pix2pix", section, damage, {"imagenet": "b" * 64}),
        identity.run_name("pix2pix", section, damage, {**DATA, "more": "a" * 64}),
    ]
    assert len(set(names)) == len(names)


def test_the_code_that_learns_counts_and_comments_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    (tmp_path / "models").mkdir()
    paper, shared, other = (tmp_path / "models" / f"{name}.py" for name in ("pix2pix", "shared", "other"))
    paper.write_text("from models.shared import x\n")
    shared.write_text("x = 1\n")
    other.write_text("y = 1\n")
    before = identity.code_hash("pix2pix")
    shared.write_text("x  =  1  # one\n")
    other.write_text("y = 2\n")
    assert identity.code_hash("pix2pix") == before
    shared.write_text("x = 2\n")
    assert identity.code_hash("pix2pix") != before


def test_the_real_code_is_found(section: RecipeSection) -> None:
    assert identity.code_hash("pix2pix") != identity.code_hash("colorgan")
    assert {"models.pix2pix", "models.adversarial", "models.blocks"} <= set(identity._learnt_with("models.pix2pix"))


def test_all_the_code_that_damages_counts() -> None:
    """What damage.py imports draws too; the contact sheet only looks, params are hashed as numbers."""
    source = (identity.ROOT / "pipelines/damage.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^from (pipelines\.\w+) import", source, flags=re.MULTILINE))
    assert {"pipelines.defects", "pipelines.strokes"} <= imported
    assert imported - {"pipelines.params"} <= set(identity.LEARNS)
