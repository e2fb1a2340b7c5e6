import hashlib
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from models import bins
from models.color import rgb_to_lab
from models.colorful import Classes, Colorful, ColorfulParams, Colorizer, class_losses, decode, load_classes, network
from models.published import WeightsError
from models.recipe import Batch, Phase, Prepare, Setting

TINY = ColorfulParams(
    epochs=1,
    width=2,
    weights="",
    weights_sha256="",
    uniform=0.5,
    temperature=0.38,
    learning_rate=0.001,
    weight_decay=0.001,
    average=0.0,
)
SIZE = 32
CONVOLUTIONS = {  # of the release: layer -> (inputs, outputs, kernel)
    **{"model1.0": (1, 64, 3), "model1.2": (64, 64, 3), "model2.0": (64, 128, 3), "model2.2": (128, 128, 3)},
    **{"model3.0": (128, 256, 3), "model3.2": (256, 256, 3), "model3.4": (256, 256, 3), "model4.0": (256, 512, 3)},
    **{
        f"model{block}.{layer}": (512, 512, 3)
        for block in (4, 5, 6, 7)
        for layer in (0, 2, 4)
        if (block, layer) != (4, 0)
    },
    **{"model8.2": (256, 256, 3), "model8.4": (256, 256, 3), "model8.6": (256, 313, 1)},
}
NORMS = {"model1.4": 64, "model2.4": 128, "model3.6": 256, **{f"model{block}.6": 512 for block in (4, 5, 6, 7)}}


def batch(seed: int = 0, size: int = SIZE) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    clean = functional.interpolate(torch.rand(2, 3, 4, 4, generator=generator), size, mode="bilinear")
    return Batch(clean=clean, damaged=clean, mask=torch.zeros(2, 1, size, size), labels=torch.zeros(2, 0))


def palette(photographs: Batch) -> Tensor:
    counts = bins.histogram(rgb_to_lab(photographs.clean)[:, 1:]).double()
    return counts / counts.sum()


def started(params: ColorfulParams = TINY, prepare: Prepare = lambda module: module) -> tuple[Colorful, Phase]:
    torch.manual_seed(0)
    recipe = Colorful(params, Setting(classes=0, size=SIZE, palette=palette(batch())))
    [phase] = recipe.phases(prepare)
    return recipe, phase


def published() -> dict[str, Tensor]:
    """A state dict with the names and shapes of the release's eccv16, from before batch counters."""
    state: dict[str, Tensor] = {}
    for name, (inputs, outputs, kernel) in CONVOLUTIONS.items():
        state |= {f"{name}.weight": torch.rand(outputs, inputs, kernel, kernel), f"{name}.bias": torch.rand(outputs)}
    for name, channels in NORMS.items():
        state |= {f"{name}.{part}": torch.rand(channels) for part in ("weight", "bias", "running_mean", "running_var")}
    state |= {"model8.0.weight": torch.rand(512, 256, 4, 4), "model8.0.bias": torch.rand(256)}
    return state | {"model_out.weight": torch.rand(2, 313, 1, 1)}


def saved(state: dict[str, Tensor], folder: Path) -> tuple[Path, str]:
    path = folder / "eccv16.pth"
    torch.save(state, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_papers_shapes_at_its_width() -> None:
    with torch.device("meta"):
        classes = Classes(64).eval()
        x = torch.empty(1, 1, 176, 264)
        shapes = []
        for block in classes.children():
            x = block(x)
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        (64, 88, 132),
        (128, 44, 66),
        (256, 22, 33),
        *[(512, 22, 33)] * 4,
        (313, 44, 66),
    ]
    dilated = {name[:6] for name, m in classes.named_modules() if isinstance(m, nn.Conv2d) and m.dilation == (2, 2)}
    assert dilated == {"model5", "model6"}


def test_the_release_loads_by_its_own_names(tmp_path: Path) -> None:
    state, classes = published(), Classes(64)
    load_classes(classes, *saved(state, tmp_path))
    loaded = classes.state_dict()
    assert {name for name in loaded if not name.endswith("num_batches_tracked")} == set(state) - {"model_out.weight"}
    for name, value in loaded.items():
        assert name not in state or torch.equal(value, state[name]), name


def test_published_weights_are_where_training_starts(tmp_path: Path) -> None:
    path, sha256 = saved(published(), tmp_path)
    recipe, _ = started(replace(TINY, width=64, epochs=0, weights=str(path), weights_sha256=sha256, average=0.9))
    kept = recipe.predictor()
    assert isinstance(kept, Colorizer)
    name = "model5.2.weight"
    assert torch.equal(kept.classes.state_dict()[name], torch.load(path, weights_only=True)[name])


def test_a_file_that_is_another_or_lacks_a_layer_is_refused(tmp_path: Path) -> None:
    state = published()
    with pytest.raises(WeightsError, match=f"it must be {'0' * 64}"):
        load_classes(Classes(64), saved(state, tmp_path)[0], "0" * 64)
    del state["model6.2.bias"]
    with pytest.raises(WeightsError, match=r"lacks the layer model6\.2\.bias; it must be richzhang/colorization's"):
        load_classes(Classes(64), *saved(state, tmp_path))


@pytest.mark.parametrize("width", [2, 16, 64])
def test_an_untrained_network_finds_all_colours_as_likely(width: int) -> None:
    torch.manual_seed(1)
    lab = rgb_to_lab(batch(size=64).clean)
    logits = Classes(width)(lab[:, :1])
    losses = class_losses(logits.detach(), lab[:, 1:], torch.ones(313))
    assert float(losses["classes"]) == pytest.approx(math.log(313), abs=0.01)
    assert torch.equal(losses["classes"], losses["classes_plain"])


def test_on_the_palettes_own_photographs_the_rebalanced_loss_starts_there_too() -> None:
    _, phase = started()
    losses = phase.step(batch())
    assert float(losses["classes_plain"]) == pytest.approx(math.log(313), abs=0.01)
    assert float(losses["classes"]) == pytest.approx(math.log(313), abs=0.5)  # averages of 4 x 4 are less colourful


def test_losses_are_the_papers_sums() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 313, 4, 4, generator=generator)
    ab = rgb_to_lab(torch.rand(2, 3, 16, 16, generator=generator))[:, 1:]
    weigh = torch.rand(313, generator=generator) * 2
    plain, rebalanced = [], []
    for photo in range(2):
        for row in range(4):
            for column in range(4):
                color = ab[photo, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].mean(dim=(1, 2))
                far = (bins.points() - color).square().sum(1)
                near = far.argsort()[:5]
                share = (-far[near] / 50).exp()
                loss = -(share / share.sum() * logits[photo, :, row, column].log_softmax(0)[near]).sum()
                plain.append(float(loss))
                rebalanced.append(float(weigh[near[0]] * loss))
    losses = class_losses(logits, ab, weigh)
    assert float(losses["classes_plain"]) == pytest.approx(sum(plain) / 32, rel=1e-4)
    assert float(losses["classes"]) == pytest.approx(sum(rebalanced) / 32, rel=1e-4)


def test_certain_classes_come_out_as_their_colours() -> None:
    """Two halves, each sure of its bin: its colour within, a straight way between them where they meet."""
    logits = torch.zeros(1, 313, 2, 4)
    logits[:, 20, :, :2] = logits[:, 250, :, 2:] = 1e3
    ab = decode(logits, 0.38)
    assert ab.shape == (1, 2, 8, 16)
    left, right = bins.points()[20], bins.points()[250]
    torch.testing.assert_close(ab[0, :, :, :6], left[:, None, None].expand(2, 8, 6))
    torch.testing.assert_close(ab[0, :, :, 10:], right[:, None, None].expand(2, 8, 6))
    torch.testing.assert_close(ab[0, :, 0, 6], left + (right - left) / 8)


def test_the_predictor_takes_lightness_and_gives_ab() -> None:
    recipe, _ = started()
    predictor = recipe.predictor().eval()
    assert predictor.multiple == 8
    ab = predictor(torch.rand(1, 1, 40, 64) * 100)
    assert ab.shape == (1, 2, 40, 64)
    assert ab.dtype is torch.float32


def test_it_learns_which_lightness_has_which_colour() -> None:
    """Dark red above light blue: after some steps both are told apart, and far better than grey."""
    clean = torch.tensor([0.5, 0.1, 0.1])[None, :, None, None].repeat(2, 1, SIZE, SIZE)
    clean[:, :, SIZE // 2 :] = torch.tensor([0.6, 0.8, 1.0])[:, None, None]
    photographs = replace(batch(), clean=clean)
    torch.manual_seed(0)
    params = replace(TINY, width=8, learning_rate=0.003, weight_decay=0.0)
    recipe = Colorful(params, Setting(classes=0, size=SIZE, palette=palette(photographs)))
    [phase] = recipe.phases(lambda module: module)
    first = phase.step(photographs)
    for _ in range(60):
        last = phase.step(photographs)
    assert float(last["classes"]) < float(first["classes"]) / 2
    found = phase.validate(photographs)
    assert set(found) == {"classes", "classes_plain", "l1", "psnr"}
    grey = float(rgb_to_lab(clean)[:, 1:].abs().mean()) / 110
    assert float(found["l1"]) < grey / 3
    assert not phase.finished({name: float(value) for name, value in found.items()})


def test_the_true_colours_have_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _, phase = started()
    photographs = batch()
    truth = rgb_to_lab(photographs.clean)[:, 1:]
    monkeypatch.setattr("models.colorful.decode", lambda logits, temperature: truth)
    found = phase.validate(photographs)
    assert float(found["l1"]) == 0
    assert float(found["psnr"]) > 80


def test_what_is_kept_is_the_average_that_validation_measures() -> None:
    recipe, phase = started(replace(TINY, average=0.9))
    for seed in range(3):
        phase.step(batch(seed))
    assert not torch.equal(weights(recipe.predictor()), weights(recipe.learner.network))
    kept = recipe.predictor()
    assert isinstance(kept, Colorizer)
    lab = rgb_to_lab(batch().clean)
    expected = class_losses(kept.classes.eval()(lab[:, :1]).detach(), lab[:, 1:], recipe.weights)
    assert float(phase.validate(batch())["classes"]) == pytest.approx(float(expected["classes"]))


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_a_resumed_training_is_the_training_itself(average: float) -> None:
    params = replace(TINY, average=average)
    whole, phase = started(params)
    expected = [float(value) for i in range(4) for value in phase.step(batch(i)).values()]
    half, phase = started(params)
    found = [float(value) for i in range(2) for value in phase.step(batch(i)).values()]
    file = io.BytesIO()
    torch.save(half.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    again = Colorful(params, Setting(classes=0, size=SIZE, palette=palette(batch())))
    [phase] = again.phases(lambda module: module)
    again.load_state_dict(torch.load(file, weights_only=True))
    found += [float(value) for i in range(2, 4) for value in phase.step(batch(i)).values()]
    assert found == expected
    assert torch.equal(weights(again.predictor()), weights(whole.predictor()))


def test_it_trains_inside_distributed_data_parallel(tmp_path: Path) -> None:
    _, alone = started()
    expected = [float(alone.step(batch(i))["classes"]) for i in range(3)]
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        _, shared = started(prepare=DistributedDataParallel)
        found = [float(shared.step(batch(i))["classes"]) for i in range(3)]
        shared.validate(batch())
    finally:
        distributed.destroy_process_group()
    assert found == pytest.approx(expected, rel=1e-5)


def test_in_bfloat16_losses_and_colours_are_float32() -> None:
    recipe, phase = started()
    with torch.autocast("cpu", torch.bfloat16):
        losses = phase.step(batch()) | phase.validate(batch())
        assert recipe.predictor().eval()(torch.rand(1, 1, 16, 16) * 100).dtype is torch.float32
    assert all(value.dtype is torch.float32 and value.isfinite() for value in losses.values())


def test_keywords_build_the_predictor_again_without_memory_of_its_own() -> None:
    recipe, _ = started()
    with torch.device("meta"):
        again = network(**recipe.network_config())
    again.load_state_dict(recipe.predictor().state_dict(), assign=True)
    lightness = torch.rand(1, 1, 32, 32) * 100
    assert torch.equal(again.eval()(lightness), recipe.predictor().eval()(lightness))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1 where no weights are given"),
        ({"weights": "eccv16.pth", "weights_sha256": "0"}, "width is 2; it must be 64 where weights are given"),
        ({"weights": "eccv16.pth", "width": 64}, "weights_sha256 is ''; it must be the sha256 of weights"),
    ],
)
def test_params_that_contradict_each_other_are_refused(wrong: dict[str, str | int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(TINY, **wrong)  # type: ignore[arg-type]


def test_without_a_palette_it_says_how_to_make_one() -> None:
    with pytest.raises(ValueError, match=r"palette is None; run `python -m pipelines\.palette colorful`"):
        Colorful(TINY, Setting(classes=0, size=SIZE))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="size is 36; it must be a multiple of 8"):
        Colorful(TINY, Setting(classes=0, size=36, palette=palette(batch())))
