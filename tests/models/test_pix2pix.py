from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.pix2pix import PatchDiscriminator, Pix2Pix, Pix2PixParams, UNet, network
from models.recipe import Batch, Recipe, Setting

TINY = Pix2PixParams(
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


def batch(photographs: int = 2, size: int = 64, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    spots = torch.rand(photographs, 3, 4, 4, generator=generator)
    clean = functional.interpolate(spots, size, mode="bilinear")
    mask = (torch.rand(photographs, 1, size, size, generator=generator) < 0.1).float()
    return Batch(clean=clean, damaged=clean * (1 - mask) + mask, mask=mask, labels=torch.zeros(photographs, 0))


def made(params: Pix2PixParams = TINY, size: int = 64) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(params, Setting(classes=0, size=size))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def shapes(layers: nn.ModuleList | nn.Sequential, x: Tensor) -> list[tuple[int, int]]:
    """Channels and side after each layer of a chain."""
    found = []
    for layer in layers:
        x = layer(x)
        found.append((x.shape[1], x.shape[2]))
    return found


def test_the_papers_generator_layer_by_layer() -> None:
    with torch.device("meta"):
        unet = UNet(3, 3, 64, "batch", 0.5).eval()
        encoder = shapes(unet.encoder, torch.empty(1, 3, 256, 256))
        inputs = [layer[0].in_channels for layer in unet.decoder]  # type: ignore[index]
        outputs = [layer[0].out_channels for layer in unet.decoder]  # type: ignore[index]
        assert unet(torch.empty(1, 3, 256, 256)).shape == (1, 3, 256, 256)
    assert encoder == [(64, 128), (128, 64), (256, 32), (512, 16), (512, 8), (512, 4)]
    assert inputs == [512, 1024, 1024, 512, 256]
    assert outputs == [512, 512, 256, 128, 64]
    assert (unet.last.in_channels, unet.last.out_channels) == (128, 3)


def test_the_papers_layers_hold_what_the_paper_lists() -> None:
    unet = UNet(3, 3, 2, "batch", 0.5)
    kinds = [[type(part).__name__ for part in layer] for layer in [*unet.encoder, *unet.decoder]]
    assert kinds[0] == ["Conv2d", "LeakyReLU"]
    assert kinds[1:6] == [["Conv2d", "BatchNorm2d", "LeakyReLU"]] * 5
    assert kinds[6:] == [["ConvTranspose2d", "BatchNorm2d", "Dropout", "ReLU"]] * 5
    assert {part.p for part in unet.modules() if isinstance(part, nn.Dropout)} == {0.5}
    assert {part.negative_slope for part in unet.modules() if isinstance(part, nn.LeakyReLU)} == {0.2}


def test_generator_parameters_by_hand() -> None:
    """4 x 4 x in x out for a convolution, out more where no norm follows, 2 x out for a norm."""
    with torch.device("meta"):
        unet = UNet(3, 3, 64, "batch", 0.5)
    encoder = 3136 + 131_328 + 524_800 + 2_098_176 + 4_195_328 + 4_195_328
    decoder = 4_195_328 + 8_389_632 + 4_194_816 + 1_048_832 + 262_272
    assert parameters(unet) == encoder + decoder + 6147 == 29_245_123


def test_the_papers_discriminator() -> None:
    with torch.device("meta"):
        discriminator = PatchDiscriminator(6, 64, "batch").eval()
        found = shapes(discriminator.layers, torch.empty(1, 6, 256, 256))
    assert found == [(64, 128), (128, 64), (256, 32), (512, 16), (512, 15), (512, 14), (1, 13)]
    by_hand = 6208 + 131_328 + 524_800 + 2_098_176 + 4_195_328 + 4_195_328 + 8193
    assert parameters(discriminator) == by_hand == 11_159_361


def test_weights_start_as_pix2pix_has_them() -> None:
    torch.manual_seed(0)
    unet = UNet(3, 3, 16, "batch", 0.5)
    weights = torch.cat([p.flatten() for n, p in unet.named_parameters() if p.dim() == 4]).detach()
    assert abs(float(weights.mean())) < 1e-3
    assert abs(float(weights.std()) - 0.02) < 1e-3


def test_the_predictor_takes_and_gives_srgb() -> None:
    restored = made().predictor().eval()(torch.rand(2, 3, 64, 128))
    assert restored.shape == (2, 3, 64, 128)
    assert restored.dtype is torch.float32
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_keywords_build_the_predictor_again() -> None:
    recipe = made()
    again = network(**recipe.network_config())
    again.load_state_dict(recipe.predictor().state_dict())
    rgb = torch.rand(1, 3, 64, 64)
    assert torch.equal(again.eval()(rgb), recipe.predictor().eval()(rgb))


@pytest.mark.parametrize(
    ("normalization", "size", "says"),
    [("batch", 96, "size is 96; it must be a multiple of 64, at least 64"), ("instance", 64, "at least 128")],
)
def test_sizes_that_do_not_fit_are_refused(normalization: str, size: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        made(replace(TINY, normalization=normalization), size)  # type: ignore[arg-type]


def test_the_phases_of_the_paper() -> None:
    recipe: Recipe = made()
    assert [(phase.name, phase.epochs) for phase in recipe.phases(lambda module: module)] == [
        ("discriminator", 1),
        ("adversarial", 1),
    ]


def test_it_learns_a_picture_by_heart() -> None:
    recipe = made(replace(TINY, width=8, dropout=0.0, learning_rate=0.002))
    _, adversarial = recipe.phases(lambda module: module)
    photographs = batch()
    before = float(adversarial.validate(photographs)["psnr"])
    for _ in range(60):
        adversarial.step(photographs)
    assert float(adversarial.validate(photographs)["psnr"]) > before + 3
