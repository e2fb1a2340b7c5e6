"""The two-sided update, on the smallest of its recipes."""

import copy
import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.distance import psnr
from models.pix2pix import Pix2Pix, Pix2PixParams, UNet
from models.recipe import Batch, Phase, Setting

PARAMS = Pix2PixParams(
    epochs=1,
    width=2,
    normalization="batch",
    dropout=0.5,
    discriminator_epochs=1,
    l1=100.0,
    learning_rate=0.0002,
    beta1=0.5,
    fooled_below=0.1,
    average=0.0,
)


def batch(seed: int = 0) -> Batch:
    clean = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    return Batch(clean=clean, damaged=1 - clean, mask=torch.zeros(2, 1, 64, 64), labels=torch.zeros(2, 0))


def smooth(seed: int) -> Batch:
    """Four photographs of soft spots, as negatives."""
    spots = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    clean = functional.interpolate(spots, 128, mode="bilinear")
    return Batch(clean=clean, damaged=1 - clean, mask=torch.zeros(4, 1, 128, 128), labels=torch.zeros(4, 0))


def started(params: Pix2PixParams = PARAMS) -> tuple[Pix2Pix, Phase, Phase]:
    torch.manual_seed(0)
    recipe = Pix2Pix(params, Setting(classes=0, size=64))
    discriminator, adversarial = recipe.phases(lambda module: module)
    return recipe, discriminator, adversarial


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def moved(before: list[Tensor], module: nn.Module) -> bool:
    return any(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


def saved(recipe: Pix2Pix) -> dict[str, Any]:
    """What a checkpoint file gives back, read as safely as it will be."""
    file = io.BytesIO()
    torch.save(recipe.state_dict(), file)
    file.seek(0)
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def test_the_discriminator_learns_alone() -> None:
    recipe, discriminator, _ = started()
    generator, judge = weights(recipe.gan.generator), weights(recipe.gan.discriminator)
    losses = discriminator.step(batch())
    assert set(losses) == {"discriminator"}
    assert not moved(generator, recipe.gan.generator)
    assert moved(judge, recipe.gan.discriminator)
    assert all(parameter.grad is None for parameter in recipe.gan.generator.parameters())


def test_both_learn_in_turn_and_each_only_from_its_own_loss() -> None:
    recipe, _, adversarial = started()
    gan = recipe.gan
    source, target = gan.view.pair(batch())
    generator, judge = weights(gan.generator), weights(gan.discriminator)
    fake = gan.fake(source)
    gan.update_discriminator(source, target, fake)
    assert not moved(generator, gan.generator)
    assert moved(judge, gan.discriminator)
    assert all(parameter.grad is None for parameter in gan.generator.parameters())

    judge, marks = weights(gan.discriminator), copy.deepcopy([p.grad for p in gan.discriminator.parameters()])
    statistics = copy.deepcopy(list(gan.discriminator.buffers()))
    gan.update_generator(source, target, fake, l1=100.0)
    assert moved(generator, gan.generator)
    assert not moved(judge, gan.discriminator)
    for mark, parameter in zip(marks, gan.discriminator.parameters(), strict=True):
        assert mark is not None
        assert parameter.grad is not None
        assert torch.equal(mark, parameter.grad)
    assert all(torch.equal(old, new) for old, new in zip(statistics, gan.discriminator.buffers(), strict=True))
    assert all(parameter.requires_grad for parameter in gan.discriminator.parameters())
    assert set(adversarial.step(batch())) == {"discriminator", "generator", "l1"}


def test_losses_are_scalars_that_hold_no_graph() -> None:
    _, discriminator, adversarial = started()
    for phase in (discriminator, adversarial):
        for value in (phase.step(batch()) | phase.validate(batch())).values():
            assert value.shape == ()
            assert value.dtype is torch.float32
            assert not value.requires_grad


def test_the_discriminator_gets_better_alone() -> None:
    """And it is as sure in eval mode, in which it judges, as it was while it learned."""
    _, discriminator, _ = started(replace(PARAMS, width=4, learning_rate=0.001))
    for seed in range(20):
        discriminator.step(smooth(seed))
    accuracies = discriminator.validate(smooth(99))
    assert accuracies["discriminator_accuracy_real"] > 0.9
    assert accuracies["discriminator_accuracy_fake"] > 0.9


def test_finished_when_the_discriminator_is_fooled() -> None:
    _, discriminator, adversarial = started()
    assert adversarial.finished({"discriminator_accuracy_fake": 0.09})
    assert not adversarial.finished({"discriminator_accuracy_fake": 0.1})
    assert not discriminator.finished({"discriminator_accuracy_fake": 0.0})


def test_validation_changes_nothing() -> None:
    recipe, _, adversarial = started()
    adversarial.step(batch())
    before = copy.deepcopy(recipe.state_dict())
    first, second = adversarial.validate(batch(1)), adversarial.validate(batch(1))
    assert first == second  # dropout is off
    after = recipe.state_dict()
    for part in ("generator", "discriminator"):
        assert all(torch.equal(before[part][name], after[part][name]) for name in before[part])


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_a_resumed_training_is_the_training_itself(average: float) -> None:
    params = replace(PARAMS, average=average)

    def steps(phases: tuple[Phase, Phase], some: range) -> list[float]:
        losses = []
        for step in some:
            torch.manual_seed(step)  # as the loop does: dropout is a function of the step
            losses += [float(loss) for phase in phases for loss in phase.step(batch(step)).values()]
        return losses

    whole, *phases = started(params)
    expected = steps((phases[0], phases[1]), range(4))
    half, *phases = started(params)
    found = steps((phases[0], phases[1]), range(2))
    state = saved(half)
    torch.manual_seed(1)
    other = Pix2Pix(params, Setting(classes=0, size=64))
    one, two = other.phases(lambda module: module)
    other.load_state_dict(state)
    found += steps((one, two), range(2, 4))
    assert found == expected
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.predictor().state_dict().values(), other.predictor().state_dict().values(), strict=True)
    )


def test_the_average_follows_the_generator() -> None:
    recipe, _, adversarial = started(replace(PARAMS, average=0.75))
    expected: list[Tensor] = []
    for step in range(3):
        adversarial.step(batch(step))
        now = weights(recipe.gan.generator)
        decay = min(0.75, (1 + step) / (10 + step)) if step else 0.0
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected or now, now, strict=True)]
    kept = recipe.predictor()
    for want, got in zip(expected, kept.parameters(), strict=True):
        assert torch.allclose(want, got, atol=1e-7)
    assert moved(weights(recipe.gan.generator), recipe.gan.kept())


def test_the_average_is_measured_and_the_learner_is_judged() -> None:
    recipe, _, adversarial = started(replace(PARAMS, average=0.9))
    for step in range(2):
        adversarial.step(batch(step))
    before = adversarial.validate(batch())
    with torch.no_grad():
        for parameter in recipe.gan.generator.parameters():
            parameter.zero_()
    learner_gone = adversarial.validate(batch())
    assert torch.equal(before["l1"], learner_gone["l1"])
    source, _ = recipe.gan.view.pair(batch())
    recipe.gan.discriminator.eval()
    black = torch.cat((source, torch.zeros_like(source)), 1)
    share = (recipe.gan.discriminator(black) <= 0).float().mean()
    assert torch.equal(learner_gone["discriminator_accuracy_fake"], share)


def test_in_bfloat16_the_generator_meets_the_new_discriminator() -> None:
    """Autocast keeps bfloat16 copies of weights within one region; a step updates weights within one."""
    params = replace(PARAMS, dropout=0.0, learning_rate=0.02)
    _, _, adversarial = started(params)
    with torch.autocast("cpu", torch.bfloat16):
        together = adversarial.step(batch())
    apart_recipe, *_ = started(params)
    gan = apart_recipe.gan
    with torch.autocast("cpu", torch.bfloat16):
        source, target = gan.view.pair(batch())
        fake = gan.fake(source)
        gan.update_discriminator(source, target, fake)
    with torch.autocast("cpu", torch.bfloat16):
        apart = gan.update_generator(source, target, fake, params.l1)
    assert torch.equal(together["generator"], apart["generator"])
    assert all(torch.isfinite(loss) and loss.dtype is torch.float32 for loss in together.values())


def test_bfloat16_learns_like_float32() -> None:
    """The first steps' losses agree to bfloat16's own precision."""
    losses = []
    for low in (False, True):
        _, _, adversarial = started(replace(PARAMS, dropout=0.0))
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            adversarial.step(batch())
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            losses.append(adversarial.step(batch(1)))
    for name in losses[0]:
        assert float(losses[1][name]) == pytest.approx(float(losses[0][name]), rel=0.02)


def test_psnr_by_hand() -> None:
    truth = torch.zeros(2, 3, 4, 4)
    picture = torch.stack((torch.full((3, 4, 4), 0.1), torch.zeros(3, 4, 4)))
    assert psnr(picture, truth).tolist() == pytest.approx([20.0, 100.0], abs=1e-4)


def test_instance_norm_makes_a_photograph_its_own() -> None:
    torch.manual_seed(0)
    unet = UNet(3, 3, 2, "instance", 0.0).train()
    photographs = torch.rand(3, 3, 128, 128)
    assert torch.allclose(unet(photographs)[:1], unet(photographs[:1]), atol=1e-5)
