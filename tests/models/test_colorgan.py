import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from models.color import AB, rgb_to_lab
from models.colorgan import Colorgan, ColorganParams, ResNetUNet, network
from models.pix2pix import PatchDiscriminator
from models.published import WeightsError
from models.recipe import Batch, Phase, Setting

TINY = ColorganParams(
    epochs=1,
    generator="unet",
    width=2,
    normalization="batch",
    dropout=0.0,
    backbone_weights="",
    backbone_sha256="",
    backbone_epochs=1,
    l1_epochs=2,
    l1=100.0,
    learning_rate=0.0002,
    beta1=0.5,
    average=0.0,
)
RESNET = replace(TINY, generator="resnet18")


def batch(seed: int = 0, size: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    clean = functional.interpolate(torch.rand(2, 3, 4, 4, generator=generator), size, mode="bilinear")
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    return Batch(clean=clean, damaged=clean, mask=torch.zeros(2, 1, size, size), labels=labels)


def started(params: ColorganParams, classes: int = 3) -> tuple[Colorgan, dict[str, Phase]]:
    torch.manual_seed(0)
    recipe = Colorgan(params, Setting(classes=classes, size=64))
    return recipe, {phase.name: phase for phase in recipe.phases(lambda module: module)}


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_phases_of_the_paper() -> None:
    _, phases = started(RESNET)
    assert [(name, phase.epochs) for name, phase in phases.items()] == [("backbone", 1), ("l1", 2), ("adversarial", 1)]


@pytest.mark.parametrize(("params", "classes"), [(TINY, 3), (RESNET, 0), (replace(RESNET, backbone_epochs=0), 3)])
def test_no_backbone_phase_without_backbone_classes_or_epochs(params: ColorganParams, classes: int) -> None:
    _, phases = started(params, classes)
    assert list(phases) == ["l1", "adversarial"]


def test_generator_and_discriminator_by_the_papers_shapes() -> None:
    with torch.device("meta"):
        generator = ResNetUNet("batch").eval()
        assert generator(torch.empty(1, 1, 256, 256)).shape == (1, 2, 256, 256)
        assert PatchDiscriminator(3, 64, "batch").eval()(torch.empty(1, 3, 256, 256)).shape == (1, 1, 13, 13)
    backbone = 11_689_512 - 513_000
    ups = [16 * i * o + 2 * o + 9 * (o + s) * o + 2 * o for i, s, o in [(512, 256, 256), (256, 128, 128)]]
    ups += [16 * i * o + 2 * o + 9 * (o + s) * o + 2 * o for i, s, o in [(128, 64, 64), (64, 64, 64)]]
    last = 16 * 64 * 32 + 2 * 32 + 9 * 32 * 2 + 2
    assert sum(parameter.numel() for parameter in generator.parameters()) == backbone + sum(ups) + last


def test_the_predictor_takes_lightness_and_gives_ab() -> None:
    for params, side in ((TINY, 128), (RESNET, 96)):
        recipe, _ = started(params)
        ab = recipe.predictor().eval()(torch.rand(1, 1, 64, side) * 100)
        assert ab.shape == (1, 2, 64, side)
        assert ab.abs().max() <= AB


def test_every_colour_of_srgb_can_be_answered() -> None:
    corners = torch.cartesian_prod(*[torch.linspace(0, 1, 9)] * 3).T[None, :, :, None]
    assert rgb_to_lab(corners)[:, 1:].abs().max() < AB


def test_the_backbone_learns_classes_and_nothing_else_does() -> None:
    recipe, phases = started(replace(RESNET, learning_rate=0.001))
    generator = recipe.gan.generator
    assert isinstance(generator, ResNetUNet)
    trunk, decoder = weights(generator.backbone), weights(generator.decoder)
    first = phases["backbone"].step(batch())
    for _ in range(8):
        last = phases["backbone"].step(batch())
    assert set(first) == {"classes"}
    assert last["classes"] < first["classes"] / 2
    assert not torch.equal(weights(generator.backbone), trunk)
    assert torch.equal(weights(generator.decoder), decoder)
    assert set(phases["backbone"].validate(batch())) == {"classes", "accuracy"}


def test_l1_leaves_the_discriminator_alone_and_lowers_l1() -> None:
    recipe, phases = started(replace(TINY, width=8, learning_rate=0.002))
    judge = weights(recipe.gan.discriminator)
    before = phases["l1"].step(batch())["l1"]
    for _ in range(30):
        after = phases["l1"].step(batch())["l1"]
    assert after < 0.7 * before
    assert torch.equal(weights(recipe.gan.discriminator), judge)


@pytest.mark.parametrize("params", [TINY, RESNET])
def test_adversarial_moves_both(params: ColorganParams) -> None:
    recipe, phases = started(params)
    generator, judge = weights(recipe.gan.generator), weights(recipe.gan.discriminator)
    assert set(phases["adversarial"].step(batch())) == {"discriminator", "generator", "l1"}
    assert not torch.equal(weights(recipe.gan.generator), generator)
    assert not torch.equal(weights(recipe.gan.discriminator), judge)
    found = phases["adversarial"].validate(batch())
    assert set(found) == {"l1", "psnr", "discriminator_accuracy_real", "discriminator_accuracy_fake"}
    assert not phases["adversarial"].finished({"discriminator_accuracy_fake": 0.0})


def test_the_true_colours_have_no_error() -> None:
    recipe, _ = started(TINY)
    photographs = batch()
    source, target = recipe.gan.view.pair(photographs)
    assert (recipe.gan.view.rgb(source, target) - photographs.clean).abs().max() < 1e-4
    assert source.abs().max() <= 1
    assert target.abs().max() <= 1


@pytest.mark.parametrize("params", [replace(TINY, average=0.5), RESNET])
def test_a_resumed_training_is_the_training_itself(params: ColorganParams) -> None:
    whole, phases = started(params)
    expected = [float(v) for p in phases.values() for i in range(2) for v in p.step(batch(i)).values()]
    half, phases = started(params)
    found = []
    for phase in list(phases):
        found += [float(value) for value in phases[phase].step(batch(0)).values()]
        file = io.BytesIO()
        torch.save(half.state_dict(), file)
        file.seek(0)
        torch.manual_seed(1)
        half = Colorgan(params, Setting(classes=3, size=64))
        phases = {phase.name: phase for phase in half.phases(lambda module: module)}
        half.load_state_dict(torch.load(file, weights_only=True))
        found += [float(value) for value in phases[phase].step(batch(1)).values()]
    assert found == expected
    assert torch.equal(weights(half.predictor()), weights(whole.predictor()))


@pytest.mark.parametrize("params", [TINY, RESNET])
def test_keywords_build_the_predictor_again(params: ColorganParams) -> None:
    recipe, _ = started(params)
    again = network(**recipe.network_config())
    again.load_state_dict(recipe.predictor().state_dict())
    lightness = torch.rand(1, 1, 64, 64) * 100
    assert torch.equal(again.eval()(lightness), recipe.predictor().eval()(lightness))


def test_instance_norm_makes_a_photograph_its_own_in_the_backbone_too() -> None:
    torch.manual_seed(0)
    generator = ResNetUNet("instance").train()
    lightness = torch.rand(2, 1, 64, 64)
    assert torch.allclose(generator(lightness)[:1], generator(lightness[:1]), atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in generator.modules())


def test_published_weights_are_looked_for(tmp_path: Path) -> None:
    missing = str(tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match=r"resnet18\.pth cannot be read"):
        started(replace(RESNET, backbone_weights=missing, backbone_sha256="0" * 64))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"generator": "unet"}, "generator is unet; it must be resnet18"),
        ({"normalization": "instance"}, "normalization is instance; it must be batch"),
        ({"backbone_sha256": ""}, "backbone_sha256 is ''"),
    ],
)
def test_params_that_contradict_each_other_are_refused(wrong: dict[str, str], says: str) -> None:
    given = replace(RESNET, backbone_weights="resnet18.pth", backbone_sha256="0" * 64)
    with pytest.raises(ValueError, match=says):
        replace(given, **wrong)  # type: ignore[arg-type]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="size is 72; it must be a multiple of 32"):
        Colorgan(RESNET, Setting(classes=3, size=72))
