import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.published import WeightsError
from models.resnet import Classifier, ResNet18, load_backbone

NORM = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def published() -> dict[str, Tensor]:
    """A state dict with the names and shapes of torchvision's ResNet18, written out by hand."""
    state: dict[str, Tensor] = {}

    def norm(name: str, channels: int) -> None:
        state.update({f"{name}.{part}": torch.rand(channels) for part in NORM[:4]})
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    state["conv1.weight"] = torch.rand(64, 3, 7, 7)
    norm("bn1", 64)
    for layer, (inputs, outputs) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], start=1):
        for block in range(2):
            name = f"layer{layer}.{block}"
            state[f"{name}.conv1.weight"] = torch.rand(outputs, outputs if block else inputs, 3, 3)
            norm(f"{name}.bn1", outputs)
            state[f"{name}.conv2.weight"] = torch.rand(outputs, outputs, 3, 3)
            norm(f"{name}.bn2", outputs)
            if block == 0 and layer > 1:
                state[f"{name}.downsample.0.weight"] = torch.rand(outputs, inputs, 1, 1)
                norm(f"{name}.downsample.1", outputs)
    return state | {"fc.weight": torch.rand(1000, 512), "fc.bias": torch.rand(1000)}


def saved(state: dict[str, Tensor], folder: Path) -> tuple[Path, str]:
    path = folder / "resnet18.pth"
    torch.save(state, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_has_as_many_parameters_as_torchvisions() -> None:
    with torch.device("meta"):
        whole = Classifier(ResNet18("batch"), 1000)
    assert sum(parameter.numel() for parameter in whole.parameters()) == 11_689_512


def test_features_halve_from_level_to_level() -> None:
    with torch.device("meta"):
        features = ResNet18("batch").eval()(torch.empty(1, 1, 128, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (64, 64, 48),
        (64, 32, 24),
        (128, 16, 12),
        (256, 8, 6),
        (512, 4, 3),
    ]


def test_a_published_file_loads_by_its_own_names(tmp_path: Path) -> None:
    state = published()
    backbone = ResNet18("batch")
    load_backbone(backbone, *saved(state, tmp_path))
    loaded = backbone.state_dict()
    for name, value in state.items():
        if not name.startswith("fc."):
            assert torch.equal(loaded[name], value), name


def test_files_from_before_batch_counters_load_too(tmp_path: Path) -> None:
    state = {name: value for name, value in published().items() if not name.endswith("num_batches_tracked")}
    load_backbone(ResNet18("batch"), *saved(state, tmp_path))


def test_the_wrong_file_is_refused_by_its_sha256(tmp_path: Path) -> None:
    path, right = saved(published(), tmp_path)
    wrong = "0" * 64
    with pytest.raises(WeightsError, match=f"{path} has sha256 {right}; it must be {wrong}"):
        load_backbone(ResNet18("batch"), path, wrong)


def test_layers_that_are_missing_unknown_or_of_another_shape_are_named(tmp_path: Path) -> None:
    missing = published()
    del missing["layer3.1.bn2.weight"]
    with pytest.raises(WeightsError, match=r"lacks the layer layer3\.1\.bn2\.weight"):
        load_backbone(ResNet18("batch"), *saved(missing, tmp_path))
    unknown = published() | {"layer5.0.conv1.weight": torch.rand(1)}
    with pytest.raises(WeightsError, match=r"has the layer layer5\.0\.conv1\.weight"):
        load_backbone(ResNet18("batch"), *saved(unknown, tmp_path))
    misshapen = published() | {"conv1.weight": torch.rand(64, 1, 7, 7)}
    with pytest.raises(WeightsError, match=r"conv1\.weight"):
        load_backbone(ResNet18("batch"), *saved(misshapen, tmp_path))


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    with pytest.raises(WeightsError, match="cannot be read"):
        load_backbone(ResNet18("batch"), path, "")
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(WeightsError, match="is no file of weights"):
        load_backbone(ResNet18("batch"), path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_lightness_meets_the_statistics_the_weights_were_made_for() -> None:
    backbone = ResNet18("batch")
    seen: list[Tensor] = []
    backbone.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backbone(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 32, 32))
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert seen[0][1, :, 0, 0].tolist() == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225])
