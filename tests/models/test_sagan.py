import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from models import bundle
from models.attention import SelfAttention
from models.blocks import folded
from models.bundle import Config
from models.catalogue import CATALOGUE, Entry
from models.pix2pix import UNet
from models.recipe import Batch, Phase, Setting
from models.sagan import Discriminator, Sagan, SaganParams, build_generator, network
from models.task import Task

TINY = SaganParams(
    epochs=1,
    width=2,
    normalization="batch",
    l1=100.0,
    generator_rate=0.001,
    discriminator_rate=0.004,
    beta1=0.0,
    average=0.0,
)


def batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    clean = functional.interpolate(torch.rand(2, 3, 4, 4, generator=generator), 64, mode="bilinear")
    mask = (torch.rand(2, 1, 64, 64, generator=generator) < 0.1).float()
    return Batch(clean=clean, damaged=clean * (1 - mask) + mask, mask=mask, labels=torch.zeros(2, 0))


def started(params: SaganParams = TINY, seed: int = 0) -> tuple[Sagan, Phase]:
    torch.manual_seed(seed)
    recipe = Sagan(params, Setting(classes=0, size=64))
    (phase,) = recipe.phases(lambda module: module)
    return recipe, phase


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def largest(weight: Tensor, transposed: bool) -> float:
    matrix = (weight.transpose(0, 1) if transposed else weight).flatten(1)
    return float(torch.linalg.matrix_norm(matrix.detach(), 2))


def test_attention_at_32_of_256() -> None:
    seen: list[tuple[int, ...]] = []
    with torch.device("meta"):
        networks = build_generator(64, "batch"), Discriminator(64)
        for built in networks:
            for module in built.modules():
                if isinstance(module, SelfAttention):
                    module.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
        assert networks[0](torch.empty(1, 3, 256, 256)).shape == (1, 3, 256, 256)
        assert networks[1](torch.empty(1, 6, 256, 256)).shape == (1, 1, 13, 13)
    assert seen == [(1, 256, 32, 32)] * 3  # down, up, discriminator


def test_the_generator_starts_as_pix2pix() -> None:
    """Gamma is 0 at first: with the attention left out it is the U-Net of pix2pix, number by number."""
    torch.manual_seed(0)
    attentive = build_generator(2, "batch").eval()
    torch.manual_seed(0)
    plain = UNet(3, 3, 2, "batch", 0.0).eval()
    picture = torch.rand(1, 3, 64, 64)
    assert torch.equal(attentive(picture), plain(picture))


def test_every_convolution_has_norm_one_and_keeps_it() -> None:
    recipe, phase = started()
    for seed in range(20):
        phase.step(batch(seed))
    sides = (recipe.gan.generator, build_generator(2, "batch")), (recipe.gan.discriminator, Discriminator(2))
    for learnt, plain in sides:
        convolutions = [m for m in folded(learnt, plain).modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert len(convolutions) >= 11
        for layer in convolutions:
            found = largest(layer.weight, isinstance(layer, nn.ConvTranspose2d))
            assert found == pytest.approx(1.0, abs=0.1), layer


def test_the_hinge_and_its_rates() -> None:
    recipe, _ = started()
    game = recipe.gan.game
    real, made = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])
    assert float(game.discriminator(real, made)) == pytest.approx((0 + 0.5 + 2 + 0 + 1 + 2) / 3)
    assert float(game.generator(made)) == pytest.approx(2 / 3)
    sides = (recipe.gan.generator_optimizer, 0.001), (recipe.gan.discriminator_optimizer, 0.004)
    for optimizer, rate in sides:
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"]) == (rate, (0.0, 0.9))


def test_it_learns() -> None:
    recipe, phase = started(replace(TINY, width=4, average=0.9))
    before = phase.validate(batch())
    gammas = [p for n, p in recipe.gan.generator.named_parameters() if n.endswith("gamma")]
    for _ in range(40):
        losses = phase.step(batch())
    after = phase.validate(batch())
    assert set(losses) == {"discriminator", "generator", "l1"}
    assert after["psnr"] > before["psnr"] + 3
    assert after["l1"] < before["l1"] / 1.5
    assert len(gammas) == 2
    assert all(gamma != 0 for gamma in gammas)
    assert not phase.finished({"discriminator_accuracy_fake": 0.0})


def test_the_average_is_a_network_of_its_own() -> None:
    recipe, phase = started(replace(TINY, average=0.9))
    answers = []
    for seed in range(4):
        phase.step(batch(seed))
        with torch.no_grad():
            answers.append(recipe.gan.kept().eval()(batch(9).damaged))
    learner = recipe.gan.generator.eval()(batch(9).damaged)
    assert all(torch.isfinite(answer).all() for answer in answers)
    assert all(not torch.equal(one, two) for one, two in zip(answers, [*answers[1:], learner], strict=True))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_folding_changes_no_picture(average: float) -> None:
    recipe, phase = started(replace(TINY, average=average))
    for seed in range(3):
        phase.step(batch(seed))
    rgb = batch(9).damaged
    chance, state = torch.get_rng_state(), {k: v.clone() for k, v in recipe.gan.generator.state_dict().items()}
    plain = recipe.predictor().eval()
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(state[name], value) for name, value in recipe.gan.generator.state_dict().items())
    with torch.no_grad():
        kept = (recipe.gan.kept().eval()(rgb * 2 - 1) + 1) / 2
        assert torch.allclose(plain(rgb), kept, atol=1e-6)
        assert torch.equal(plain(rgb), plain(rgb))
    phase.step(batch(4))  # and it learns on, apart from what was taken
    assert torch.allclose(plain(rgb), kept, atol=1e-6)


def test_the_predictor_is_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, phase = started(replace(TINY, average=0.9))
    phase.step(batch())
    entry = Entry(Task.RESTORE, SaganParams, Sagan, lambda keywords: network(**keywords))
    monkeypatch.setitem(CATALOGUE, "sagan", entry)
    config = Config("sagan", Task.RESTORE, 64, recipe.network_config(), {}, {}, "sagan-0")
    bundle.save(tmp_path / "bundle", config, recipe.predictor())
    _, again = bundle.load(tmp_path / "bundle")
    assert torch.equal(again(batch().damaged), recipe.predictor().eval()(batch().damaged))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_resumed_training_is_the_training_itself(average: float) -> None:
    params = replace(TINY, average=average)
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
    assert [float(loss) for seed in range(2, 4) for loss in phase.step(batch(seed)).values()] == expected[6:]
    ends = (recipe.predictor().state_dict().values() for recipe in (whole, other))
    assert all(torch.equal(one, two) for one, two in zip(*ends, strict=True))


def test_workers(alone: None) -> None:
    torch.manual_seed(0)
    recipe = Sagan(TINY, Setting(0, 64))
    (wrapped,) = recipe.phases(DistributedDataParallel)
    _, bare = started()
    for seed in range(3):
        assert wrapped.step(batch(seed)) == bare.step(batch(seed))


def test_bfloat16_learns_like_float32() -> None:
    """The norms are computed in float32 whatever the convolutions are in."""
    losses = []
    for low in (False, True):
        _, phase = started()
        for seed in range(2):
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                losses.append(phase.step(batch(seed)))
    for name in ("discriminator", "generator", "l1"):
        assert float(losses[2][name]) == pytest.approx(float(losses[0][name]), rel=0.03, abs=0.01)
        assert losses[3][name].dtype is torch.float32
        assert torch.isfinite(losses[3][name])


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="size is 96; it must be a multiple of 64"):
        Sagan(TINY, Setting(0, 96))
