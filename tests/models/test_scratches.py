import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from models import bundle
from models.bundle import Config
from models.catalogue import CATALOGUE, Entry
from models.recipe import Batch, Phase, Setting
from models.scratches import (
    Detector,
    Scratches,
    ScratchesParams,
    agreement,
    focal_loss,
    network,
    weighted_cross_entropy,
)
from models.task import Task

TINY = ScratchesParams(epochs=1, width=4, learning_rate=0.002, average=0.5)


def batch(seed: int = 0, photographs: int = 4, size: int = 32) -> Batch:
    """Soft spots with bright lines across."""
    generator = torch.Generator().manual_seed(seed)
    clean = functional.interpolate(torch.rand(photographs, 3, 4, 4, generator=generator) * 0.7, size, mode="bilinear")
    mask = torch.zeros(photographs, 1, size, size)
    for photograph, row in enumerate(torch.randint(2, size - 2, (photographs,), generator=generator).tolist()):
        mask[photograph, :, row : row + 2] = 1.0
    return Batch(clean=clean, damaged=clean * (1 - mask) + mask, mask=mask, labels=torch.zeros(photographs, 0))


def started(params: ScratchesParams = TINY, seed: int = 0) -> tuple[Scratches, Phase]:
    torch.manual_seed(seed)
    recipe = Scratches(params, Setting(classes=0, size=32))
    (phase,) = recipe.phases(lambda module: module)
    return recipe, phase


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_the_unet_level_by_level() -> None:
    with torch.device("meta"):
        detector = Detector(16)
        assert detector(torch.empty(2, 3, 48, 64)).shape == (2, 1, 48, 64)
        inputs = [layer[0].in_channels for layer in [*detector.encoder, *detector.decoder]]
        outputs = [layer[0].out_channels for layer in [*detector.encoder, *detector.decoder]]
    assert inputs == [1, 16, 32, 64, 128, 256, 128, 64, 32]
    assert outputs == [16, 32, 64, 128, 128, 64, 32, 16, 16]


def test_colour_is_not_seen() -> None:
    torch.manual_seed(0)
    detector = Detector(2).eval()
    rgb = torch.rand(1, 3, 16, 16)
    luma = (rgb * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    assert torch.allclose(detector(rgb), detector(luma), atol=1e-5)


def test_focal_loss_by_hand() -> None:
    """Of p = 0.9 for the true side: 0.1 ** 2 * -ln 0.9; of p = 0.2: 0.8 ** 2 * -ln 0.2."""
    logits = torch.tensor([math.log(9), -math.log(4)]).view(1, 1, 1, 2)
    both_destroyed = torch.ones(1, 1, 1, 2)
    by_hand = (0.01 * -math.log(0.9) + 0.64 * -math.log(0.2)) / 2
    assert float(focal_loss(logits, both_destroyed)) == pytest.approx(by_hand, rel=1e-5)
    assert float(focal_loss(-logits, 1 - both_destroyed)) == pytest.approx(by_hand, rel=1e-5)
    plain = functional.binary_cross_entropy_with_logits(logits, both_destroyed)
    assert float(focal_loss(logits, both_destroyed, focus=0.0)) == pytest.approx(float(plain), rel=1e-5)


def test_both_classes_weigh_as_much() -> None:
    """At logits 0 every photograph costs ln 2, half of it by either class, and a sound one half of that."""
    mask = torch.zeros(3, 1, 4, 5)
    mask[0, 0, 0] = 1.0  # a quarter
    mask[1, 0, :2] = 1.0  # a half
    logits = torch.zeros(3, 1, 4, 5, requires_grad=True)
    loss = weighted_cross_entropy(logits, mask)
    assert loss.item() == pytest.approx(math.log(2) * (1 + 1 + 0.5) / 3, rel=1e-5)
    (slope,) = torch.autograd.grad(loss, logits)
    pull = (slope * mask).sum(dim=(1, 2, 3)), (slope * (1 - mask)).sum(dim=(1, 2, 3))
    assert torch.allclose(pull[0][:2], -pull[1][:2])


def test_huge_logits_cost_finitely() -> None:
    logits = torch.tensor([200.0, -200.0]).view(1, 1, 1, 2).requires_grad_()
    loss = focal_loss(logits, torch.tensor([0.0, 1.0]).view(1, 1, 1, 2))
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(200.0)
    assert torch.isfinite(slope).all()


def test_agreement_by_hand() -> None:
    """Three photographs: 1 of 2 marks right and 1 of 4 found; nothing marked of something; nothing of nothing."""
    marked, destroyed = torch.zeros(3, 1, 2, 4, dtype=torch.bool), torch.zeros(3, 1, 2, 4, dtype=torch.bool)
    marked[0, 0, 0, :2] = True
    destroyed[0, 0, 0, 1], destroyed[0, 0, 1, :3] = True, True
    destroyed[1, 0, 0, 0] = True
    found = {name: float(value) for name, value in agreement(marked, destroyed).items()}
    assert found["precision"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found["recall"] == pytest.approx((1 / 4 + 0 + 1) / 3)
    assert found["f1"] == pytest.approx((2 / 6 + 0 + 1) / 3)


def test_it_learns_to_find() -> None:
    recipe, phase = started()
    before = phase.validate(batch(99))
    for seed in range(90):
        losses = phase.step(batch(seed))
    assert set(losses) == {"focal", "cross_entropy"}
    after = phase.validate(batch(99))
    assert after["focal"] < before["focal"] / 2
    assert after["f1"] > 0.8
    finder = recipe.predictor().eval()
    probability: Tensor = finder(batch(99).damaged)
    assert probability.shape == (4, 1, 32, 32)
    assert probability.min() >= 0
    assert probability.max() <= 1
    assert float(agreement(probability >= 0.5, batch(99).mask > 0)["f1"]) == float(after["f1"])


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_a_resumed_training_is_the_training_itself(average: float) -> None:
    params = ScratchesParams(1, 2, 0.002, average)
    whole, phase = started(params)
    expected = [float(loss) for seed in range(4) for loss in phase.step(batch(seed)).values()]
    half, phase = started(params)
    for seed in range(2):
        phase.step(batch(seed))
    file = io.BytesIO()
    torch.save(half.state_dict(), file)
    file.seek(0)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    other, phase = started(params, seed=1)
    other.load_state_dict(state)
    assert [float(loss) for seed in range(2, 4) for loss in phase.step(batch(seed)).values()] == expected[4:]
    ends = (recipe.predictor().state_dict().values() for recipe in (whole, other))
    assert all(torch.equal(one, two) for one, two in zip(*ends, strict=True))


def test_validation_changes_nothing() -> None:
    recipe, phase = started()
    phase.step(batch())
    before = [value.clone() for value in recipe.learner.network.state_dict().values()]
    assert phase.validate(batch(1)) == phase.validate(batch(1))
    assert all(torch.equal(*pair) for pair in zip(before, recipe.learner.network.state_dict().values(), strict=True))


def test_workers_and_bfloat16(alone: None) -> None:
    torch.manual_seed(0)
    recipe = Scratches(TINY, Setting(0, 32))
    (phase,) = recipe.phases(DistributedDataParallel)
    for seed in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            losses = phase.step(batch(seed)) | phase.validate(batch(seed))
        assert all(value.dtype is torch.float32 and torch.isfinite(value) for value in losses.values())


def test_the_predictor_is_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, phase = started()
    phase.step(batch())
    entry = Entry(Task.DETECT, ScratchesParams, Scratches, lambda keywords: network(**keywords))
    monkeypatch.setitem(CATALOGUE, "scratches", entry)
    config = Config("scratches", Task.DETECT, 32, recipe.network_config(), {}, {}, "scratches-0")
    bundle.save(tmp_path / "bundle", config, recipe.predictor())
    _, again = bundle.load(tmp_path / "bundle")
    assert torch.equal(again(batch().damaged), recipe.predictor().eval()(batch().damaged))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="size is 40; it must be a multiple of 16"):
        Scratches(TINY, Setting(0, 40))
