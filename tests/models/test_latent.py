import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.judge import Judge
from models.latent import Latent, LatentParams
from models.latent_networks import LatentRestorer, Mapping, network
from models.pix2pix import PatchDiscriminator
from models.recipe import Batch, Phase, Setting

TINY = LatentParams(
    epochs=3,
    scratches_epochs=1,
    autoencoder_epochs=2,
    real=[],
    width=4,
    blocks=1,
    normalization="batch",
    kl=0.01,
    reconstruction=10.0,
    adversarial=0.0,
    latent_l1=60.0,
    feature_matching=0.0,
    l1=10.0,
    learning_rate=0.002,
    beta1=0.5,
    average=0.0,
)
WHOLE = replace(TINY, adversarial=1.0, feature_matching=10.0, average=0.5)
OLD_LOSSES = {"old_l1", "old_kl"}
CLEAN_LOSSES = {"clean_l1", "clean_kl"}


def pictures(seed: int) -> Tensor:
    spots = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(spots, 64, mode="bilinear")


def batch(seed: int = 0, real: bool = False) -> Batch:
    clean = pictures(seed)
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 20:26, 8:56] = 1
    damaged = (0.3 + 0.5 * clean) * (1 - mask) + mask
    old = 0.2 + 0.3 * pictures(seed + 100) if real else None
    return Batch(clean=clean, damaged=damaged, mask=mask, labels=torch.zeros(2, 0), real=old)


def started(params: LatentParams = TINY, real: bool = False) -> tuple[Latent, dict[str, Phase]]:
    torch.manual_seed(0)
    recipe = Latent(params, Setting(classes=0, size=64, real=real))
    return recipe, {phase.name: phase for phase in recipe.phases(lambda module: module)}


def weights(module: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().float() for value in module.state_dict().values()])


class Half(nn.Module):
    """A discriminator that halves what it sees, and halves it again."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False))
        for layer in self.layers:
            nn.init.constant_(layer.weight, 0.5)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        halved: Tensor = self.layers(x)
        return halved


def test_least_squares_by_hand() -> None:
    judge = Judge(Half())  # type: ignore[arg-type]
    judge.prepare(lambda module: module, TINY.learning_rate, TINY.beta1)
    four, two = torch.full((1, 1, 2, 2), 4.0), torch.full((3, 1, 2, 2), 2.0)  # scores 1 and 0.5
    assert float(judge.fooling(two)) == 0.25
    assert float(judge.confusion(four, two)) == (1.0 + 0.25) / 2
    assert float(judge.matching(four, two[:1])) == 1.0
    assert float(judge.learn(four, two)) == (0.0 + 0.25) / 2
    assert float(judge.fooling(two)) != 0.25


def test_fooling_leaves_the_discriminator_as_it_is() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(3, 2, "batch")
    judge = Judge(discriminator)
    judge.prepare(lambda module: module, TINY.learning_rate, TINY.beta1)
    before = weights(discriminator)
    made = pictures(0).requires_grad_(True)
    (judge.fooling(made) + judge.matching(made, pictures(1))).backward()  # type: ignore[no-untyped-call]
    assert made.grad is not None
    assert torch.count_nonzero(made.grad) > 0
    assert torch.equal(weights(discriminator), before)
    assert all(p.grad is None and p.requires_grad for p in discriminator.parameters())


def test_the_phases_of_the_paper() -> None:
    _, phases = started()
    assert [(name, phase.epochs) for name, phase in phases.items()] == [
        ("scratches", 1),
        ("autoencoders", 2),
        ("mapping", 3),
    ]


@pytest.mark.parametrize("params", [TINY, WHOLE])
@pytest.mark.parametrize("real", [False, True])
def test_the_losses_of_the_paper(params: LatentParams, real: bool) -> None:
    recipe, phases = started(params, real)
    expected = OLD_LOSSES | CLEAN_LOSSES
    if params.adversarial:
        expected |= {f"{side}_{loss}" for side in ("old", "clean") for loss in ("discriminator", "fooling")}
    if real:
        expected |= {"old_latent_discriminator", "old_confusion"}
    mapping = {"latent", "l1"} | ({"discriminator", "fooling", "matching"} if params.adversarial else set())
    losses, mapped = phases["autoencoders"].step(batch(real=real)), phases["mapping"].step(batch(real=real))
    assert set(losses) == expected
    assert set(mapped) == mapping
    assert all(loss.shape == () and not loss.requires_grad for loss in (losses | mapped).values())
    assert ("judge_latent" in recipe.state_dict()) == real


def test_each_phase_learns_what_is_its_own() -> None:
    recipe, phases = started(WHOLE, real=True)
    moves = {
        "scratches": {"detector"},
        "autoencoders": {"old", "clean", "judge_old", "judge_clean", "judge_latent"},
        "mapping": {"mapping", "average", "judge_restored"},
    }
    parts = {name: part for name, part in recipe.networks.parts().items() if isinstance(part, nn.Module)}
    for name, phase in phases.items():
        before = {part: weights(module) for part, module in parts.items()}
        phase.step(batch(real=True))
        assert {part for part, module in parts.items() if not torch.equal(before[part], weights(module))} == moves[name]


def test_the_phases_lower_their_losses() -> None:
    recipe, phases = started(replace(TINY, width=8))
    steps = {"scratches": ("focal", 30), "autoencoders": ("old_l1", 60), "mapping": ("l1", 30)}
    untrained = recipe.predictor().eval()(batch().damaged)
    for name, (loss, number) in steps.items():
        first = phases[name].step(batch())
        for _ in range(number):
            last = phases[name].step(batch())
        assert last[loss] < 0.7 * first[loss], name
    found = phases["mapping"].validate(batch())
    restored = recipe.predictor().eval().requires_grad_(False)(batch().damaged)
    assert float(found["l1"]) == pytest.approx(2 * float((restored - batch().clean).abs().mean()), rel=1e-4)
    assert (restored - batch().clean).abs().mean() < 0.7 * (untrained - batch().clean).abs().mean()


def test_the_encoder_learns_to_confuse_the_latent_discriminator() -> None:
    """The discriminator learns to tell; then, with nothing else to learn, the encoder makes both alike."""
    recipe, phases = started(replace(TINY, reconstruction=0.0, kl=0.0), real=True)
    judge, encoder = recipe.networks.judges["latent"], recipe.networks.old.encoder
    photographs = batch(real=True)
    assert photographs.real is not None

    def told_apart() -> float:
        assert photographs.real is not None
        judge.network.eval()
        with torch.no_grad():
            synthetic, real = (judge.network(encoder(rgb * 2 - 1)[0]).mean() for rgb in (photographs.damaged, old))
        return float(real - synthetic)

    old = photographs.real
    latents = [encoder(rgb * 2 - 1)[0].detach() for rgb in (old, photographs.damaged)]
    for _ in range(30):
        judge.learn(*latents)
    sure = told_apart()
    assert sure > 0.5
    judge.optimizer.param_groups[0]["lr"] = 0.0
    for _ in range(30):
        phases["autoencoders"].step(photographs)
    assert told_apart() < 0


def test_real_photographs_that_do_not_come_are_missed() -> None:
    _, phases = started(real=True)
    with pytest.raises(ValueError, match=r"batch\.real is None"):
        phases["autoencoders"].step(batch())


@pytest.mark.parametrize("real", [False, True])
def test_a_resumed_training_is_the_training_itself(real: bool) -> None:
    def steps(phase: Phase, some: range) -> list[float]:
        losses = []
        for step in some:
            torch.manual_seed(step)  # as the loop does: latents are drawn as a function of the step
            losses += [float(loss) for loss in phase.step(batch(step, real)).values()]
        return losses

    whole, phases = started(WHOLE, real)
    expected = [loss for phase in phases.values() for loss in steps(phase, range(2))]
    half, phases = started(WHOLE, real)
    found: list[float] = []
    for name in list(phases):
        found += steps(phases[name], range(1))
        file = io.BytesIO()
        torch.save(half.state_dict(), file)
        file.seek(0)
        torch.manual_seed(1)
        half = Latent(WHOLE, Setting(classes=0, size=64, real=real))
        phases = {phase.name: phase for phase in half.phases(lambda module: module)}
        half.load_state_dict(torch.load(file, weights_only=True))
        found += steps(phases[name], range(1, 2))
    assert found == expected
    assert torch.equal(weights(half.predictor()), weights(whole.predictor()))


class OnceForward(nn.Module):
    """As DistributedDataParallel: one forward, then every parameter gets its gradient, before the next forward."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.waiting: set[int] = set()
        for parameter in module.parameters():
            parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                lambda p: self.waiting.discard(id(p))
            )

    def forward(self, *given: Tensor) -> Any:
        assert not self.waiting, "a forward before the last one's backward reached every parameter"
        self.waiting = {id(parameter) for parameter in self.module.parameters()}
        return self.module(*given)


def test_each_wrapped_network_has_one_forward_for_one_whole_backward() -> None:
    wrapped: list[OnceForward] = []

    def prepare(module: nn.Module) -> nn.Module:
        wrapped.append(OnceForward(module))
        return wrapped[-1]

    torch.manual_seed(0)
    recipe = Latent(WHOLE, Setting(classes=0, size=64, real=True))
    for phase in recipe.phases(prepare):
        for step in range(2):
            phase.step(batch(step, real=True))
            phase.validate(batch(step))
            assert not any(module.waiting for module in wrapped)
    assert len(wrapped) == 3 + 4 + 1


def test_the_average_is_kept() -> None:
    recipe, phases = started(WHOLE)
    for step in range(2):
        phases["mapping"].step(batch(step))
    kept = recipe.predictor().mapping
    assert isinstance(kept, Mapping)
    assert not torch.equal(weights(kept), weights(recipe.networks.mapping))


def marking(recipe: Latent, threshold: float) -> None:
    """Makes the detector mark every pixel, or none."""
    with torch.no_grad():
        recipe.networks.detector.network.last.weight.zero_()
        assert recipe.networks.detector.network.last.bias is not None
        recipe.networks.detector.network.last.bias.fill_(threshold)


def test_the_given_mask_is_used_and_without_one_it_is_found() -> None:
    recipe, _ = started()
    restorer = recipe.predictor().eval().requires_grad_(False)
    rgb, mask = batch().damaged, batch().mask
    none, every = torch.zeros_like(mask), torch.ones_like(mask)
    marking(recipe, -5.0)
    assert torch.equal(restorer(rgb, None), restorer(rgb, none))
    assert torch.equal(restorer(rgb), restorer(rgb))
    marking(recipe, 5.0)
    assert torch.equal(restorer(rgb, None), restorer(rgb, every))
    assert torch.isfinite(restorer(rgb, every)).all()
    assert len({float(restorer(rgb, given).sum()) for given in (none, mask, every)}) == 3


def test_the_predictor_takes_and_gives_srgb() -> None:
    restorer = started()[0].predictor().eval()
    assert isinstance(restorer, LatentRestorer)
    assert restorer.multiple == 16
    assert restorer.masked
    restored = restorer(torch.rand(2, 3, 64, 80))
    assert restored.shape == (2, 3, 64, 80)
    assert restored.dtype is torch.float32
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_keywords_build_the_predictor_again_and_it_holds_no_more_than_it_needs() -> None:
    recipe, _ = started(WHOLE, real=True)
    with torch.device("meta"):
        again = network(**recipe.network_config())
    again.load_state_dict(recipe.predictor().state_dict(), assign=True)
    assert {name.split(".")[0] for name in again.state_dict()} == {"detector", "encoder", "mapping", "decoder"}
    assert torch.equal(again.eval()(batch().damaged), recipe.predictor().eval()(batch().damaged))


def test_in_bfloat16_it_learns_too() -> None:
    losses = []
    for low in (False, True):
        _, phases = started(WHOLE, real=True)
        for phase in phases.values():
            torch.manual_seed(0)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                losses.append(phase.step(batch(real=True)))
    for full, low_precision in zip(losses[:3], losses[3:], strict=True):
        assert {name: pytest.approx(float(loss), rel=0.1) for name, loss in full.items()} == low_precision
        assert all(loss.dtype is torch.float32 for loss in low_precision.values())


@pytest.mark.parametrize("size", [32, 72])
def test_sizes_that_do_not_fit_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size is {size}; it must be a multiple of 16, at least 64"):
        Latent(TINY, Setting(classes=0, size=size))


def test_params_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"feature_matching is 10\.0; it must be 0 where adversarial is 0"):
        replace(TINY, feature_matching=10.0)
