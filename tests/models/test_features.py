import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchmetrics
from numpy.typing import NDArray
from torch import Tensor, nn

from models.alexnet import AlexNet, Heads, load_heads
from models.features import NAMES, Extractor, build_extractor
from models.image import to_tensor
from models.imagenet_classes import WNIDS, class_index, class_of
from models.inception import InceptionV3
from models.mobilenet import MobileNetV2, randomize
from models.published import WeightsError

SHARED = Path(__file__).resolve().parents[2] / "../shared"
MOBILENET = SHARED / "weights/mobilenet_v2.safetensors"
MOBILENET_SHA256 = "c91f26c6fac60c8c4fc9dc09a80ff7ec1deb2dcdeb26187198a6ed3655d85853"
IMAGENET = SHARED / "photos/imagenet/train"
NORM = ("weight", "bias", "running_mean", "running_var")


def saved(state: dict[str, Tensor], folder: Path) -> tuple[str, str]:
    path = folder / "published.pth"
    torch.save(state, path)
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.rand(shape) for name, shape in shapes.items()}


def mobilenet_names() -> dict[str, tuple[int, ...]]:
    """torchvision's MobileNetV2, written out by hand from the paper's table 2."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, norm: str, outputs: int, inputs: int, size: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, size, size)
        shapes.update({f"{norm}.{part}": (outputs,) for part in NORM})

    convolution("features.0.0", "features.0.1", 32, 3, 3)
    outputs = [16] + [24] * 2 + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3 + [320]
    for index, (narrow, out) in enumerate(zip([32, *outputs], outputs, strict=False), start=1):
        name, wide = f"features.{index}.conv", narrow * (1 if index == 1 else 6)
        if index > 1:
            convolution(f"{name}.0.0", f"{name}.0.1", wide, narrow, 1)
        depthwise = 0 if index == 1 else 1
        convolution(f"{name}.{depthwise}.0", f"{name}.{depthwise}.1", wide, 1, 3)
        convolution(f"{name}.{depthwise + 1}", f"{name}.{depthwise + 2}", out, wide, 1)
    convolution("features.18.0", "features.18.1", 1280, 320, 1)
    return shapes | {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)}


def inception_names() -> dict[str, tuple[int, ...]]:
    """The published FID network, written out by hand."""
    convolutions: dict[str, tuple[int, ...]] = {
        "Conv2d_1a_3x3": (32, 3, 3, 3),
        "Conv2d_2a_3x3": (32, 32, 3, 3),
        "Conv2d_2b_3x3": (64, 32, 3, 3),
        "Conv2d_3b_1x1": (80, 64, 1, 1),
        "Conv2d_4a_3x3": (192, 80, 3, 3),
    }
    for block, inputs, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        convolutions |= {
            f"Mixed_{block}.branch1x1": (64, inputs, 1, 1),
            f"Mixed_{block}.branch5x5_1": (48, inputs, 1, 1),
            f"Mixed_{block}.branch5x5_2": (64, 48, 5, 5),
            f"Mixed_{block}.branch3x3dbl_1": (64, inputs, 1, 1),
            f"Mixed_{block}.branch3x3dbl_2": (96, 64, 3, 3),
            f"Mixed_{block}.branch3x3dbl_3": (96, 96, 3, 3),
            f"Mixed_{block}.branch_pool": (pooled, inputs, 1, 1),
        }
    convolutions |= {
        "Mixed_6a.branch3x3": (384, 288, 3, 3),
        "Mixed_6a.branch3x3dbl_1": (64, 288, 1, 1),
        "Mixed_6a.branch3x3dbl_2": (96, 64, 3, 3),
        "Mixed_6a.branch3x3dbl_3": (96, 96, 3, 3),
    }
    for block, narrow in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        convolutions |= {
            f"Mixed_{block}.branch1x1": (192, 768, 1, 1),
            f"Mixed_{block}.branch7x7_1": (narrow, 768, 1, 1),
            f"Mixed_{block}.branch7x7_2": (narrow, narrow, 1, 7),
            f"Mixed_{block}.branch7x7_3": (192, narrow, 7, 1),
            f"Mixed_{block}.branch7x7dbl_1": (narrow, 768, 1, 1),
            f"Mixed_{block}.branch7x7dbl_2": (narrow, narrow, 7, 1),
            f"Mixed_{block}.branch7x7dbl_3": (narrow, narrow, 1, 7),
            f"Mixed_{block}.branch7x7dbl_4": (narrow, narrow, 7, 1),
            f"Mixed_{block}.branch7x7dbl_5": (192, narrow, 1, 7),
            f"Mixed_{block}.branch_pool": (192, 768, 1, 1),
        }
    convolutions |= {
        "Mixed_7a.branch3x3_1": (192, 768, 1, 1),
        "Mixed_7a.branch3x3_2": (320, 192, 3, 3),
        "Mixed_7a.branch7x7x3_1": (192, 768, 1, 1),
        "Mixed_7a.branch7x7x3_2": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_3": (192, 192, 7, 1),
        "Mixed_7a.branch7x7x3_4": (192, 192, 3, 3),
    }
    for block, inputs in (("7b", 1280), ("7c", 2048)):
        convolutions |= {
            f"Mixed_{block}.branch1x1": (320, inputs, 1, 1),
            f"Mixed_{block}.branch3x3_1": (384, inputs, 1, 1),
            f"Mixed_{block}.branch3x3_2a": (384, 384, 1, 3),
            f"Mixed_{block}.branch3x3_2b": (384, 384, 3, 1),
            f"Mixed_{block}.branch3x3dbl_1": (448, inputs, 1, 1),
            f"Mixed_{block}.branch3x3dbl_2": (384, 448, 3, 3),
            f"Mixed_{block}.branch3x3dbl_3a": (384, 384, 1, 3),
            f"Mixed_{block}.branch3x3dbl_3b": (384, 384, 3, 1),
            f"Mixed_{block}.branch_pool": (192, inputs, 1, 1),
        }
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for name, shape in convolutions.items():
        shapes[f"{name}.conv.weight"] = shape
        shapes |= {f"{name}.bn.{part}": (shape[0],) for part in NORM}
    return shapes


def alexnet_names() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    layers = {
        "features.0": (64, 3, 11, 11),
        "features.3": (192, 64, 5, 5),
        "features.6": (384, 192, 3, 3),
        "features.8": (256, 384, 3, 3),
        "features.10": (256, 256, 3, 3),
        "classifier.1": (4096, 9216),
        "classifier.4": (4096, 4096),
        "classifier.6": (1000, 4096),
    }
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


PUBLISHED = {"mobilenet_v2": mobilenet_names(), "inception_v3": inception_names(), "alexnet": alexnet_names()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_loads_by_its_own_names(name: str, tmp_path: Path) -> None:
    state = filled(PUBLISHED[name])
    extractor = build_extractor(name, *saved(state, tmp_path))
    assert extractor.name == name
    loaded = extractor.network.state_dict()
    unused = {"inception_v3": "fc.", "alexnet": "classifier."}.get(name, "none")
    for layer, value in state.items():
        assert layer.startswith(unused) or torch.equal(loaded[layer], value), layer
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("mobilenet_v2", "features.9.conv.1.0.weight"),
        ("inception_v3", "Mixed_7b.branch3x3_2a.bn.bias"),
        ("alexnet", "features.8.bias"),
    ],
)
def test_a_missing_layer_is_named(name: str, layer: str, tmp_path: Path) -> None:
    state = filled({key: shape for key, shape in PUBLISHED[name].items() if key != layer})
    with pytest.raises(WeightsError, match=f"lacks the layer {layer}"):
        build_extractor(name, *saved(state, tmp_path))


def test_another_file_is_refused_by_its_sha256(tmp_path: Path) -> None:
    path, found = saved({"a": torch.zeros(1)}, tmp_path)
    with pytest.raises(WeightsError, match=f"has sha256 {found}; it must be {'0' * 64}"):
        build_extractor("mobilenet_v2", path, "0" * 64)


def test_names_and_files_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'vgg'; it must be one of mobilenet_v2, mobilenet_v2_random"):
        build_extractor("vgg", "", "")
    with pytest.raises(WeightsError, match=r"inception_v3 has the weights file ''; it must have one"):
        build_extractor("inception_v3", "", "")
    with pytest.raises(WeightsError, match=r"mobilenet_v2_random has the weights file 'a.pth'; it must have none"):
        build_extractor("mobilenet_v2_random", "a.pth", "")
    assert build_extractor("mobilenet_v2", "", "").name == "mobilenet_v2_random"
    assert len(set(NAMES)) == 4


@pytest.mark.parametrize(
    ("network", "parameters", "side", "expected"),
    [
        (MobileNetV2, 3_504_872, 224, [(16, 112), (24, 56), (32, 28), (96, 14), (320, 7), (1280, 7)]),
        # Keras's 21,768,352 without its top, and the 17,216 scales of the norms, which Keras leaves out.
        (InceptionV3, 21_785_568, 299, [(64, 73), (192, 35), (768, 17), (2048, 8)]),
        (AlexNet, 2_469_696, 224, [(64, 55), (192, 27), (384, 13), (256, 13), (256, 13)]),
        (AlexNet, 2_469_696, 64, [(64, 15), (192, 7), (384, 3), (256, 3), (256, 3)]),
    ],
)
def test_layers_are_the_papers(
    network: type[nn.Module], parameters: int, side: int, expected: list[tuple[int, int]]
) -> None:
    with torch.device("meta"):
        built = network().eval()
        levels = built(torch.empty(1, 3, side, side))
    assert sum(parameter.numel() for parameter in built.parameters()) == parameters
    assert [tuple(level.shape[1:]) for level in levels] == [(channels, side, side) for channels, side in expected]


def test_inception_pools_as_tensorflow_did_in_2015() -> None:
    with torch.device("meta"):
        network = InceptionV3()
    block, x = network.Mixed_7b, torch.zeros(1, 1, 3, 3)
    x[0, 0, 0, 0] = 4.0
    assert block.pool(x)[0, 0, 0, 0] == 1.0  # the mean of the four pixels there are, not of nine
    assert network.Mixed_7c.pool(x)[0, 0, 1, 1] == 4.0


def watched(extractor: Extractor) -> list[Tensor]:
    """What the network is given, once the extractor is called."""
    seen: list[Tensor] = []
    extractor.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    return seen


def test_pictures_meet_the_size_and_scale_of_each_network(tmp_path: Path) -> None:
    white = torch.ones(1, 3, 64, 80)
    for name, shape, red in (
        ("mobilenet_v2", (1, 3, 224, 224), 0.515 / 0.229),
        ("inception_v3", (1, 3, 299, 299), 1.0),
        ("alexnet", (1, 3, 64, 80), 0.515 / 0.229),
    ):
        state = {layer: value / 100 for layer, value in filled(PUBLISHED[name]).items()}
        extractor = build_extractor(name, *saved(state, tmp_path))
        seen = watched(extractor)
        features = extractor(white)
        assert seen[0].shape == shape
        assert seen[0][0, 0, 9, 9].item() == pytest.approx(red, rel=1e-5)
        assert features.pooled.shape == (1, {"mobilenet_v2": 1280, "inception_v3": 2048, "alexnet": 256}[name])
        assert torch.equal(features.pooled, features.levels[-1].mean(dim=(2, 3)))
        assert (features.logits is None) == (name != "mobilenet_v2")


def test_an_extractor_never_learns_whatever_contains_it_does() -> None:
    extractor = build_extractor("mobilenet_v2", "", "")
    nn.ModuleList([extractor]).train()
    assert not any(module.training for module in extractor.modules())
    picture = torch.rand(1, 3, 32, 32, requires_grad=True)
    extractor(picture).pooled.sum().backward()
    assert picture.grad is not None


def test_random_weights_are_a_function_of_the_seed_alone() -> None:
    networks = []
    for torch_seed, seed in ((1, 7), (2, 7), (3, 8)):
        torch.manual_seed(torch_seed)
        networks.append(MobileNetV2())
        randomize(networks[-1], seed)
    weights = [network.features.state_dict() for network in networks]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["0.0.weight"], weights[2]["0.0.weight"])
    drawn = np.random.default_rng(7).standard_normal((32, 3, 3, 3), np.float32) * np.sqrt(2 / 27)
    assert torch.allclose(weights[0]["0.0.weight"], torch.from_numpy(drawn.astype(np.float32)))


def scene() -> NDArray[np.uint8]:
    """Coloured shapes with edges and a texture, (96, 96, 3)."""
    rng = np.random.default_rng(5)
    picture = np.full((96, 96, 3), (90, 140, 200), np.uint8)
    cv2.circle(picture, (30, 40), 22, (210, 60, 40), -1)
    cv2.rectangle(picture, (50, 50), (90, 88), (40, 150, 60), -1)
    for x in range(52, 90, 6):
        cv2.line(picture, (x, 50), (x, 88), (230, 220, 90), 2)
    return np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def apart(extractor: Extractor, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    pooled = extractor(torch.stack([to_tensor(one), to_tensor(other)])).pooled
    return float((pooled[0] - pooled[1]).norm() / pooled[0].norm())


def test_random_features_neither_vanish_nor_blow_up_and_tell_pictures_apart() -> None:
    extractor, sharp = build_extractor("mobilenet_v2_random", "", ""), scene()
    levels = extractor(to_tensor(sharp)[None]).levels
    assert all(0.3 < level.std().item() < 10 for level in levels)
    grey = np.repeat(cv2.cvtColor(sharp, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    unseen = apart(extractor, sharp, np.clip(sharp.astype(int) + 1, 0, 255).astype(np.uint8))
    assert apart(extractor, sharp, grey.astype(np.uint8)) > 10 * unseen
    blurs = [cv2.GaussianBlur(sharp, (0, 0), sigma).astype(np.uint8) for sigma in (0.7, 1.5, 3)]
    blurred = [apart(extractor, sharp, blur) for blur in blurs]
    assert 3 * unseen < blurred[0] < blurred[1] < blurred[2]


def test_lpips_heads_of_the_published_file_load() -> None:
    path = Path(torchmetrics.__file__).parent / "functional/image/lpips_models/alex.pth"
    heads = load_heads(path, "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0")
    weights = torch.cat([weight.flatten() for weight in heads.state_dict().values()])
    assert weights.shape == (64 + 192 + 384 + 256 + 256,)
    assert weights.min() >= 0
    with torch.no_grad():
        sums = heads([torch.ones(2, channels, 3, 4) for channels in AlexNet.channels])
    assert [tuple(level.shape) for level in sums] == [(2, 1, 3, 4)] * 5
    assert sums[0][0, 0, 0, 0].item() == pytest.approx(heads.state_dict()["lin0.model.1.weight"].sum().item(), rel=1e-5)
    assert list(Heads().state_dict()) == [f"lin{level}.model.1.weight" for level in range(5)]


def test_classes_are_sorted_as_torchvision_sorts_them() -> None:
    assert len(WNIDS) == 1000
    assert list(WNIDS) == sorted(set(WNIDS))
    assert (class_index("n01440764"), class_index("n02123045"), class_index("n15075141")) == (0, 281, 999)
    assert class_index("n00000000") is None
    assert class_of(["person", "n01443537", "n01440764"]) == 1
    assert class_of(["person"]) is None


@pytest.mark.skipif(not IMAGENET.exists() or not MOBILENET.exists(), reason="../shared is not there")
def test_the_trained_classifier_reads_real_photographs_and_grey_ones_less_well() -> None:
    assert {folder.name for folder in IMAGENET.iterdir()} <= set(WNIDS)
    paths = sorted(IMAGENET.glob("*/*"))[::13]
    extractor = build_extractor("mobilenet_v2", str(MOBILENET), MOBILENET_SHA256)
    hits, grey_hits = [], []
    for path in paths:
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        assert photo is not None
        photo = cv2.resize(photo, (224, 224), interpolation=cv2.INTER_AREA).astype(np.uint8)
        grey = np.repeat(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
        with torch.inference_mode():
            logits = extractor(torch.stack([to_tensor(photo), to_tensor(grey)])).logits
        said, grey_said = logits.argmax(dim=1).tolist()
        hits.append(said == class_index(path.parent.name))
        grey_hits.append(grey_said == class_index(path.parent.name))
    accuracy, grey_accuracy = float(np.mean(hits)), float(np.mean(grey_hits))
    assert accuracy > 0.7
    assert grey_accuracy < accuracy - 0.05
    # A class missing from the list or one too many would shift all that follow it.
    assert all(np.mean(quarter) > 0.55 for quarter in np.array_split(np.array(hits), 4))
