from dataclasses import fields, is_dataclass

import pytest
import torch

from models.catalogue import CATALOGUE
from models.recipe import Setting
from models.task import Task
from pipelines.params import recipe_params


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_entry_builds_from_params_and_its_network_again_from_a_config(name: str) -> None:
    entry = CATALOGUE[name]
    assert is_dataclass(entry.params)
    params = recipe_params(name).recipe
    setting = Setting(3, 128, torch.full((313,), 1 / 313))
    recipe = entry.recipe(params, setting)
    with torch.device("meta"):
        network = entry.network(recipe.network_config())
    assert recipe.task is entry.task
    assert network.state_dict().keys() == recipe.predictor().state_dict().keys()


def test_no_number_has_a_second_home() -> None:
    for entry in CATALOGUE.values():
        for field in fields(entry.params):
            assert repr(field.default).startswith("<dataclasses._MISSING"), field.name


def test_every_task_can_be_done() -> None:
    assert {entry.task for entry in CATALOGUE.values()} == set(Task)
