import io
import math
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from statistics import mean

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from models.color import lab_to_rgb, rgb_to_lab
from models.distance import psnr
from models.guided import Guided, GuidedParams, GuidedPhase, LocalHints, classes, network, stack
from models.hints import Hint, hint_tensor
from models.published import WeightsError
from models.recipe import Batch, Recipe, Setting

TINY = GuidedParams(
    epochs=2,
    classification_epochs=1,
    width=2,
    hints=7.0,
    revealed=0.01,
    learning_rate=0.001,
    classification_learning_rate=0.001,
    average=0.0,
    weights="",
    weights_sha256="",
)


def colored(clean: Tensor) -> Batch:
    return Batch(clean=clean, damaged=clean, mask=torch.zeros_like(clean[:, :1]), labels=torch.zeros(len(clean), 0))


def batch(seed: int = 0, size: int = 32) -> Batch:
    spots = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return colored(functional.interpolate(spots, size, mode="bilinear"))


def started(params: GuidedParams = TINY, size: int = 32) -> tuple[Guided, dict[str, GuidedPhase]]:
    torch.manual_seed(0)
    recipe = Guided(params, Setting(classes=0, size=size))
    phases = recipe.phases(lambda module: module)
    return recipe, {phase.name: phase for phase in phases if isinstance(phase, GuidedPhase)}


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def trained_statistics(net: LocalHints) -> LocalHints:
    """A network whose batch norms are not the identity."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias, module.weight):
                nn.init.normal_(tensor)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return net.eval()


def published_forward(w: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """siggraph17 by the names and the order of its published file: every layer written out."""

    def conv(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        kernel = w[f"{name}.weight"]
        padding = dilation * (kernel.shape[-1] // 2)
        return functional.conv2d(x, kernel, w[f"{name}.bias"], 1, padding, dilation)

    def up(name: str, x: Tensor) -> Tensor:
        return functional.conv_transpose2d(x, w[f"{name}.0.weight"], w[f"{name}.0.bias"], 2, 1)

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"])

    def block(name: str, x: Tensor, places: tuple[int, ...], last: int, dilation: int = 1) -> Tensor:
        for place in places:
            x = conv(f"{name}.{place}", x, dilation).relu()
        return norm(f"{name}.{last}", x)

    one = block("model1", x, (0, 2), 4)
    two = block("model2", one[:, :, ::2, ::2], (0, 2), 4)
    three = block("model3", two[:, :, ::2, ::2], (0, 2, 4), 6)
    x = block("model4", three[:, :, ::2, ::2], (0, 2, 4), 6)
    x = block("model5", x, (0, 2, 4), 6, dilation=2)
    x = block("model6", x, (0, 2, 4), 6, dilation=2)
    x = block("model7", x, (0, 2, 4), 6)
    eight = block("model8", (up("model8up", x) + conv("model3short8.0", three)).relu(), (1, 3), 5)
    nine = block("model9", (up("model9up", eight) + conv("model2short9.0", two)).relu(), (1,), 3)
    ten = conv("model10.1", (up("model10up", nine) + conv("model1short10.0", one)).relu())
    ab = torch.tanh(conv("model_out.0", functional.leaky_relu(ten, 0.2)))
    return conv("model_class.0", eight), ab


def test_the_network_is_the_published_one() -> None:
    torch.manual_seed(0)
    net = trained_statistics(LocalHints(4))
    x = torch.randn(2, 4, 32, 40)
    logits, ab = net(x, classes_lead=False)
    expected_logits, expected_ab = published_forward(net.state_dict(), x)
    assert logits.shape == (2, 529, 8, 10)
    assert ab.shape == (2, 2, 32, 40)
    assert torch.allclose(logits, expected_logits, atol=1e-5)
    assert torch.allclose(ab, expected_ab, atol=1e-5)


def test_channels_and_parameters_are_the_papers() -> None:
    with torch.device("meta"):
        net = LocalHints(64)
    convolutions = [(4, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512)]
    convolutions += [(512, 512)] * 11 + [(256, 256)] * 3 + [(128, 128)] * 3 + [(64, 128)]  # with the shortcuts
    ups = [(512, 256), (256, 128), (128, 128)]
    norms = [64, 128, 256, 512, 512, 512, 512, 256, 128]
    by_hand = sum(9 * i * o + o for i, o in convolutions) + sum(16 * i * o + o for i, o in ups) + 2 * sum(norms)
    by_hand += 256 * 529 + 529 + 128 * 2 + 2
    assert sum(parameter.numel() for parameter in net.parameters()) == by_hand
    assert len(net.state_dict()) == 2 * (len(convolutions) + len(ups) + 2) + 5 * len(norms)


def test_input_scales_are_the_published_ones() -> None:
    hints = torch.tensor([55.0, -110.0, 1.0]).view(1, 3, 1, 1)
    assert stack(torch.full((1, 1, 1, 1), 75.0), hints).flatten().tolist() == [0.25, 0.5, -1.0, 1.0]
    assert stack(torch.full((1, 1, 1, 1), 0.0), None).flatten().tolist() == [-0.5, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("classes_lead", [True, False])
def test_the_one_that_leads_alone_teaches_the_features(classes_lead: bool) -> None:
    net = LocalHints(2)
    logits, ab = net(torch.randn(1, 4, 32, 32), classes_lead)
    leader, follower = (logits, ab) if classes_lead else (ab, logits)
    follower.square().sum().backward(retain_graph=True)
    assert net.model1[0].weight.grad is None
    assert net.model8[1].weight.grad is None
    leader.square().sum().backward()
    # Nothing is left without a gradient: DistributedDataParallel would wait for it.
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_classes_are_the_nearest_of_the_grid() -> None:
    torch.manual_seed(0)
    ab = torch.rand(2, 2, 16, 24) * 219 - 109.5
    axis = torch.arange(-110.0, 111.0, 10.0)
    grid = torch.cartesian_prod(axis, axis)
    sampled = ab[:, :, ::4, ::4].movedim(1, -1).reshape(-1, 2)
    nearest = torch.cdist(sampled, grid, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
    assert classes(ab).shape == (2, 4, 6)
    assert torch.equal(classes(ab).flatten(), nearest)


def test_the_phases_of_the_paper() -> None:
    recipe: Recipe = started()[0]
    assert [(p.name, p.epochs) for p in recipe.phases(lambda m: m)] == [("classification", 1), ("regression", 2)]


@pytest.mark.parametrize("name", ["classification", "regression"])
def test_losses_of_a_network_that_says_nothing(name: str) -> None:
    recipe, phases = started()
    for head in (recipe.learner.network.model_class[0], recipe.learner.network.model_out[0]):
        nn.init.zeros_(head.weight)  # type: ignore[arg-type]
    ab = rgb_to_lab(batch().clean)[:, 1:]
    found = phases[name].validate(batch())
    losses = phases[name].step(batch())
    size = ab.abs()
    assert float(losses["classes"]) == pytest.approx(math.log(529), abs=1e-4)
    assert float(losses["huber"]) == pytest.approx(float(torch.where(size < 1, size**2 / 2, size - 0.5).mean()))
    grey = lab_to_rgb(torch.cat((rgb_to_lab(batch().clean)[:, :1], torch.zeros_like(ab)), dim=1))
    assert float(found["l1"]) == pytest.approx(float(size.mean()) / 110)
    assert float(found["psnr"]) == pytest.approx(float(psnr(grey, batch().clean).mean()))


def test_validation_says_what_each_phase_learns_and_draws_the_same_hints_again() -> None:
    _, phases = started()
    assert set(phases["classification"].validate(batch())) == {"classes", "l1", "psnr"}
    first = phases["regression"].validate(batch())
    assert set(first) == {"classes", "l1", "psnr", "psnr_hinted"}
    torch.manual_seed(77)
    assert phases["regression"].validate(batch()) == first
    assert not phases["regression"].finished({"psnr": 100.0})


def test_classes_are_learned_first() -> None:
    _, phases = started(replace(TINY, width=8, classification_learning_rate=0.003))
    before = phases["classification"].step(batch())["classes"]
    for _ in range(30):
        after = phases["classification"].step(batch())["classes"]
    assert after < 0.7 * before


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_a_resumed_training_is_the_training_itself(average: float) -> None:
    params = replace(TINY, average=average)

    def stepped(phase: GuidedPhase, step: int) -> list[float]:
        torch.manual_seed(step)  # as the loop does
        return [float(value) for value in phase.step(batch(step)).values()]

    whole, phases = started(params)
    expected = [value for phase in phases.values() for step in range(2) for value in stepped(phase, step)]
    half, phases = started(params)
    found = []
    for name in list(phases):
        found += stepped(phases[name], 0)
        file = io.BytesIO()
        torch.save(half.state_dict(), file)
        file.seek(0)
        torch.manual_seed(1)
        half, phases = started(params)
        half.load_state_dict(torch.load(file, weights_only=True))
        found += stepped(phases[name], 1)
    assert found == expected
    assert torch.equal(weights(half.predictor()), weights(whole.predictor()))
    assert torch.equal(weights(whole.predictor()), weights(whole.learner.network)) is (average == 0.0)


def test_the_predictor_works_with_hints_and_without() -> None:
    recipe, _ = started()
    predictor = recipe.predictor().eval()
    lightness = torch.rand(2, 1, 24, 40) * 100
    ab = predictor(lightness)
    assert predictor.hinted
    assert predictor.multiple == 8
    assert ab.shape == (2, 2, 24, 40)
    assert ab.dtype is torch.float32
    assert torch.equal(predictor(lightness, torch.zeros(2, 3, 24, 40)), ab)
    assert not torch.equal(predictor(lightness, torch.ones(2, 3, 24, 40)), ab)


def test_keywords_build_the_predictor_again() -> None:
    recipe, _ = started()
    with torch.device("meta"):
        again = network(**recipe.network_config())
    again.load_state_dict(recipe.predictor().state_dict(), assign=True)
    lightness, hints = torch.rand(1, 1, 32, 32) * 100, torch.rand(1, 3, 32, 32)
    assert torch.equal(again.eval()(lightness, hints), recipe.predictor().eval()(lightness, hints))


def test_autocast_keeps_the_losses_in_float32() -> None:
    _, phases = started()
    with torch.autocast("cpu", torch.bfloat16):
        losses = phases["regression"].step(batch()) | phases["regression"].validate(batch())
    assert all(value.dtype is torch.float32 and value.isfinite() for value in losses.values())


def test_published_weights_load_and_a_missing_layer_is_named(tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = LocalHints(64).state_dict()
    published = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    path = tmp_path / "siggraph17.safetensors"
    save_file(published, path)
    params = replace(TINY, width=64, weights=str(path), weights_sha256=sha256(path.read_bytes()).hexdigest())
    recipe = Guided(replace(params, average=0.9), Setting(classes=0, size=32))
    kept = recipe.predictor().state_dict()
    assert all(torch.equal(kept[f"network.{name}"], value) for name, value in published.items())
    del published["model2short9.0.bias"]
    save_file(published, path)
    with pytest.raises(WeightsError, match="sha256"):
        Guided(params, Setting(classes=0, size=32))
    with pytest.raises(WeightsError, match=r"lacks the layer model2short9\.0\.bias; it must be siggraph17"):
        Guided(
            replace(params, weights_sha256=sha256(path.read_bytes()).hexdigest()),
            Setting(classes=0, size=32),
        )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"width": 32}, "width is 32; it must be 64"), ({"weights_sha256": ""}, "weights_sha256 is ''")],
)
def test_params_that_contradict_each_other_are_refused(wrong: dict[str, int], says: str) -> None:
    given = replace(TINY, width=64, weights="siggraph17.pth", weights_sha256="0" * 64)
    with pytest.raises(ValueError, match=says):
        replace(given, **wrong)  # type: ignore[arg-type]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="size is 36; it must be a multiple of 8"):
        Guided(TINY, Setting(classes=0, size=36))


SIDE = 32  # of the painted pictures
CHROMA = 25.0


def painted(pictures: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two rectangles side by side on a light ground: Lab (B, 3, 32, 32) and where each is (B, 2, 32, 32).

    Their hues are random, so that nothing but a hint tells them; the ground is grey.
    """
    lab = torch.zeros(pictures, 3, SIDE, SIDE)
    where = torch.zeros(pictures, 2, SIDE, SIDE, dtype=torch.bool)
    for picture, objects in zip(lab, where, strict=True):
        picture[0] = 80 + 10 * torch.rand((), generator=generator)
        for k in range(2):
            high, wide = torch.randint(10, 14, (2,), generator=generator).tolist()
            top = int(torch.randint(1, SIDE - high, (), generator=generator))
            left = k * SIDE // 2 + int(torch.randint(1, SIDE // 2 - wide, (), generator=generator))
            objects[k, top : top + high, left : left + wide] = True
            lightness, hue = torch.rand(2, generator=generator).tolist()
            chroma = (CHROMA * math.cos(math.tau * hue), CHROMA * math.sin(math.tau * hue))
            picture[:, objects[k]] = torch.tensor((40 + 20 * k + 10 * lightness, *chroma))[:, None]
    return lab, where


@torch.no_grad()
def moved(predictor: nn.Module, lightness: Tensor, objects: Tensor, color: tuple[float, float]) -> Tensor:
    """How far a small hint in the middle of object 0 moves the ab of each pixel: (2, H, W) in Lab units."""
    rows, columns = objects[0].nonzero().T
    x, y = float(columns.float().mean()) + 0.5, float(rows.float().mean()) + 0.5
    hints = hint_tensor([Hint(x, y, *color, radius=2.0)], (SIDE, SIDE), (SIDE, SIDE))
    with_hint, without = predictor(lightness[None], hints[None]), predictor(lightness[None])
    change: Tensor = (with_hint - without)[0]
    return change


def test_a_hint_colours_its_own_object_up_to_its_edges_and_no_other() -> None:
    recipe, phases = started(replace(TINY, width=8, hints=15.0, learning_rate=0.006, average=0.9), SIDE)
    generator = torch.Generator().manual_seed(0)
    for step in range(250):
        torch.manual_seed(step)
        phases["regression"].step(colored(lab_to_rgb(painted(16, generator)[0])))
    predictor = recipe.predictor().eval()
    own, corner, other, ground = [], [], [], []
    for picture, objects in zip(*painted(12, torch.Generator().manual_seed(1)), strict=True):
        for pair in (objects, objects.flip(0)):
            for color in ((CHROMA, 0.0), (0.0, CHROMA), (-CHROMA, 0.0), (0.0, -CHROMA)):
                change = moved(predictor, picture[:1], pair, color)
                toward = (change * torch.tensor(color)[:, None, None]).sum(dim=0) / CHROMA
                top, left = pair[0].nonzero().amin(dim=0).tolist()
                own.append(float(toward[pair[0]].mean()))
                corner.append(float(toward[top : top + 3, left : left + 3].mean()))
                other.append(float(change[:, pair[1]].mean(dim=1).norm()))
                ground.append(float(change[:, ~pair.any(dim=0)].mean(dim=1).norm()))
    assert mean(own) > 8  # of 25; measured 12 to 17 over seeds
    assert mean(corner) > 4  # where the hint does not reach: it has spread; measured 6 to 12
    assert mean(other) < 1.5  # measured 0.2 to 0.9
    assert mean(ground) < 0.5  # measured 0.1
    assert sum(a > 3 * b for a, b in zip(own, other, strict=True)) > 0.9 * len(own)
