import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchmetrics
from numpy.typing import NDArray
from scipy.linalg import sqrtm  # type: ignore[import-untyped]
from torchmetrics.functional.image import lpips as theirs

from models.alexnet import AlexNet, Heads, load_heads
from models.features import Extractor, Features, build_extractor
from models.image import to_tensor
from pipelines import perception
from pipelines.perception import Perceived, Seen

HEADS = Path(torchmetrics.__file__).parent / "functional/image/lpips_models/alex.pth"
HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Photo = NDArray[np.uint8]


@pytest.fixture(scope="module")
def random_mobilenet() -> Extractor:
    return build_extractor("mobilenet_v2", "", "")


@pytest.fixture(scope="module")
def alexnet() -> Extractor:
    torch.manual_seed(3)
    return Extractor("alexnet", AlexNet(), None, None, False, *IMAGENET)


def photo(seed: int, side: int = 64) -> Photo:
    """Big soft blobs of colour."""
    rng = np.random.default_rng(seed)
    blobs = cv2.resize(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(blobs, np.uint8)


def noisy(truth: Photo, sigma: float) -> Photo:
    noise = np.random.default_rng(9).normal(0, sigma, truth.shape)
    return np.clip(truth + noise, 0, 255).astype(np.uint8)


def with_moments(mean: NDArray[np.float64], root: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    """`count` points whose sample mean is `mean` and whose sample covariance is root @ root.T, exactly."""
    points = np.random.default_rng(seed).normal(size=(count, len(mean)))
    points -= points.mean(axis=0)
    white = np.linalg.qr(points)[0] * math.sqrt(count - 1)
    return np.asarray(white @ root.T + mean)


def test_frechet_of_two_gaussians_with_known_moments() -> None:
    # Independent axes: (1 - 4)^2 + (2 - 2)^2 + (5 - 0)^2, and each axis's (s1 - s2)^2.
    one = with_moments(np.array([1.0, 2.0, 5.0]), np.diag([1.0, 2.0, 3.0]), 50, 1)
    other = with_moments(np.array([4.0, 2.0, 0.0]), np.diag([2.0, 2.0, 0.5]), 40, 2)
    assert perception.frechet(one, other) == pytest.approx(9 + 0 + 25 + 1 + 0 + 6.25)
    assert perception.frechet(one, one) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("first", "second", "width"), [(60, 50, 8), (9, 12, 20), (30, 9, 12), (12, 200, 12)])
def test_frechet_is_that_of_scipys_matrix_root(first: int, second: int, width: int) -> None:
    rng = np.random.default_rng(4)
    real = (rng.normal(size=(first, width)) @ rng.normal(size=(width, width)) + 1).astype(np.float32)
    made = (rng.normal(size=(second, width)) @ rng.normal(size=(width, width))).astype(np.float32)
    one, other = np.cov(real.astype(float), rowvar=False), np.cov(made.astype(float), rowvar=False)
    means = float(((real.astype(float).mean(0) - made.astype(float).mean(0)) ** 2).sum())
    expected = means + np.trace(one) + np.trace(other) - 2 * np.trace(sqrtm(one @ other).real)
    assert perception.frechet(real, made) == pytest.approx(expected, rel=1e-5)
    assert perception.frechet(made, real) == pytest.approx(expected, rel=1e-5)


def test_precision_and_recall_of_a_set_with_itself_and_of_disjoint_ones() -> None:
    features = np.random.default_rng(1).normal(size=(30, 1280)).astype(np.float32)
    features[7] = features[8]
    assert perception.precision_recall(features, features, 3) == (1.0, 1.0, 1.0)
    duplicates = np.repeat(features[:5], 6, axis=0)  # every radius is 0
    assert perception.precision_recall(duplicates, duplicates, 3) == (1.0, 1.0, 1.0)
    assert perception.precision_recall(features, features + 100, 3) == (0.0, 0.0, 0.0)


def test_precision_and_recall_by_hand() -> None:
    # On a line, k = 2: radii 2, 1, 2, 9 of the real ones and 1, 0.5, 1, 98.5 of the made.
    real = np.array([[0.0], [1.0], [2.0], [10.0]])
    made = np.array([[3.5], [4.0], [4.5], [102.5]])
    precision, recall, f1 = perception.precision_recall(real, made, 2)
    assert precision == 3 / 4  # 102.5 is in no ball
    assert recall == 1 / 4  # 10 alone, 92.5 from 102.5, is in one
    assert f1 == pytest.approx(2 * 0.75 * 0.25)
    # A made set that keeps to one of two clusters is precise and misses the other.
    two = np.concatenate(
        [np.random.default_rng(2).normal(size=(20, 4)), np.random.default_rng(3).normal(50, 1, (20, 4))]
    )
    assert perception.precision_recall(two, two[:20] + 0.01, 3)[:2] == (1.0, 0.5)


def test_features_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 4\) and \(9, 4\); they must be .* N at least 2"):
        perception.frechet(np.zeros((1, 4)), np.zeros((9, 4)))
    with pytest.raises(ValueError, match=r"\(9, 4\) and \(9, 5\)"):
        perception.frechet(np.zeros((9, 4)), np.zeros((9, 5)))
    with pytest.raises(ValueError, match="N at least 4"):
        perception.precision_recall(np.zeros((3, 4)), np.zeros((9, 4)), 3)


def test_lpips_of_equal_pictures_is_zero_and_grows_with_noise(random_mobilenet: Extractor) -> None:
    truth = photo(1)
    photos = [truth, noisy(truth, 2), noisy(truth, 10), noisy(truth, 40)]
    distances = perception.lpips(random_mobilenet, None, photos, [truth] * 4, batch=3)
    assert distances[0] == 0
    assert 0 < distances[1] < distances[2] < distances[3] < 4


def test_lpips_with_heads_is_torchmetrics(alexnet: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    network = alexnet.network
    assert isinstance(network, AlexNet)
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda net, pretrained: network.features)
    reference = theirs._LPIPS(net="alex")
    heads = load_heads(HEADS, HEADS_SHA256)
    truths, photos = [photo(1), photo(2)], [noisy(photo(1), 20), photo(3)]
    tensors = [torch.stack([to_tensor(one) for one in some]) for some in (photos, truths)]
    expected = reference(*tensors, normalize=True).flatten().numpy()
    assert perception.lpips(alexnet, heads, photos, truths, batch=2) == pytest.approx(expected, rel=1e-4)


def test_lpips_without_heads_by_hand() -> None:
    # Two levels: directions at right angles differ by 2 in square, opposite ones by 4, whatever their length.
    one = [torch.tensor([[1.0, 0.0]]).view(1, 2, 1, 1), torch.tensor([[3.0, 0.0]]).view(1, 2, 1, 1)]
    other = [torch.tensor([[0.0, 5.0]]).view(1, 2, 1, 1), torch.tensor([[-1.0, 0.0]]).view(1, 2, 1, 1)]
    assert perception.distance(one, other, None).tolist() == pytest.approx([3.0])
    nothing = [torch.zeros(1, 2, 1, 1)] * 2
    assert perception.distance(nothing, nothing, None).tolist() == [0.0]


def test_the_names_say_extractor_and_heads(random_mobilenet: Extractor, alexnet: Extractor) -> None:
    assert perception.lpips_name(random_mobilenet, None) == "lpips_mobilenet_v2_random"
    assert perception.lpips_name(alexnet, Heads()) == "lpips_alexnet_lin"


class Counted(Extractor):
    """Counts the pictures it looks at."""

    looked = 0

    def forward(self, rgb: torch.Tensor) -> Features:
        """As any."""
        self.looked += len(rgb)
        return super().forward(rgb)


def test_everything_is_looked_at_once_and_the_same_alone_or_together() -> None:
    torch.manual_seed(1)
    extractor = Counted("alexnet", AlexNet(), None, None, False, *IMAGENET)
    truths = [photo(seed) for seed in range(5)]
    sets = {"model": [noisy(truth, 5) for truth in truths], "baseline": [noisy(truth, 30) for truth in truths]}
    truth, perceived = perception.perceive(extractor, None, truths, sets, batch=2)
    assert extractor.looked == 15
    assert truth.pooled.shape == (5, 256)
    for name, photos in sets.items():
        alone = perception.look(extractor, photos, batch=5)
        assert np.allclose(perceived[name].seen.pooled, alone.pooled, atol=1e-5)
        assert np.allclose(perceived[name].distances, perception.lpips(extractor, None, photos, truths, 1), atol=1e-5)
    assert (perceived["model"].distances < perceived["baseline"].distances).all()


def test_sets_that_do_not_match_their_truths_are_refused(alexnet: Extractor) -> None:
    with pytest.raises(ValueError, match="model has 1 photographs; it must have 2"):
        perception.perceive(alexnet, None, [photo(1)] * 2, {"model": [photo(1)]}, 2)
    with pytest.raises(ValueError, match=r"\(64, 64, 3\) and \(80, 80, 3\); they must be of one size"):
        perception.look(alexnet, [photo(1), photo(1, 80)], 2)
    with pytest.raises(ValueError, match="no photograph"):
        perception.look(alexnet, [], 2)


LOGITS = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.0, 0.2, 0.8], [0.3, 0.4, 0.3]], np.float32)  # 1, 0, 2, 1
TRUE_LOGITS = np.array([[0.1, 0.9, 0.0], [0.0, 0.1, 0.9], [0.0, 0.2, 0.8], [0.9, 0.0, 0.1]], np.float32)  # 1, 2, 2, 0


def test_class_accuracy_counts_what_has_a_label() -> None:
    assert perception.class_accuracy(LOGITS, [1, 1, None, 1]) == pytest.approx(2 / 3)
    assert perception.hits(LOGITS, [1, 1, None, 1]).tolist() == pytest.approx([1, 0, math.nan, 1], nan_ok=True)
    assert perception.class_agreement(LOGITS, TRUE_LOGITS) == 0.5
    with pytest.raises(ValueError, match="none of the 4 photographs has a label"):
        perception.class_accuracy(LOGITS, [None] * 4)


def test_measures_leave_out_what_cannot_be_said(random_mobilenet: Extractor) -> None:
    def of(count: int, logits: bool, labels: list[int | None]) -> set[str]:
        features = np.random.default_rng(1).normal(size=(count, 6)).astype(np.float32)
        truth = Seen(features, TRUE_LOGITS[:count] if logits else None)
        perceived = Perceived(Seen(features + 1, LOGITS[:count] if logits else None), np.full(count, 0.25))
        found = perception.measures(random_mobilenet, None, truth, perceived, labels)
        assert found["lpips_mobilenet_v2_random"] == 0.25
        if count > 1:
            assert found["frechet_mobilenet_v2_random"] == pytest.approx(6)
        return {name.removesuffix("_mobilenet_v2_random") for name in found}

    assert of(1, False, [None]) == {"lpips"}
    assert of(3, False, [None] * 3) == {"lpips", "frechet"}
    four = {"lpips", "frechet", "precision", "recall", "f1"}
    assert of(4, False, [0] * 4) == four
    assert of(4, True, [None] * 4) == four | {"class_agreement"}
    assert of(4, True, [1, 0, None, 0]) == four | {"class_agreement", "class_accuracy"}
