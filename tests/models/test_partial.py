import pytest
import torch
from torch import Tensor

from models.partial import PartialNonLocal

CHANNELS, SIDE = 6, 5


def block() -> PartialNonLocal:
    torch.manual_seed(0)
    return PartialNonLocal(CHANNELS)


def features(photographs: int = 2) -> Tensor:
    return torch.randn(photographs, CHANNELS, SIDE, SIDE + 1, generator=torch.Generator().manual_seed(1))


def some_destroyed(photographs: int = 2) -> Tensor:
    mask = torch.zeros(photographs, 1, SIDE, SIDE + 1)
    mask[:, :, 1:3, 2:4] = 1
    return mask


def by_hand(layer: PartialNonLocal, x: Tensor, mask: Tensor) -> Tensor:
    """Equations 6 and 7 of the paper, one place at a time."""
    theta, phi, mu = (f(x).flatten(2) for f in (layer.theta, layer.phi, layer.mu))
    m = mask.flatten(1)
    summed = torch.zeros_like(theta)
    for b in range(len(x)):
        for i in range(m.shape[1]):
            f = torch.stack([torch.exp(theta[b, :, i] @ phi[b, :, j]) for j in range(m.shape[1])])
            s = (1 - m[b]) * f / ((1 - m[b]) * f).sum()
            summed[b, :, i] = mu[b] @ s
    attended: Tensor = layer.nu(summed.reshape(len(x), -1, SIDE, SIDE + 1))
    return x * (1 - mask) + attended * mask


def test_the_papers_equations() -> None:
    layer, x, mask = block(), features(), some_destroyed()
    mask[1, 0, 4, 0] = 1
    assert torch.allclose(layer(x, mask), by_hand(layer, x, mask), atol=1e-5)


@pytest.mark.parametrize("huge", [1e6, -1e30, float("inf"), float("nan")])
def test_a_destroyed_place_reaches_no_other(huge: float) -> None:
    layer, x, mask = block(), features(), some_destroyed()
    changed = x.clone()
    changed[0, :, 1, 2] = huge
    others = torch.ones(2, 1, SIDE, SIDE + 1, dtype=torch.bool)
    others[0, 0, 1, 2] = False
    before, after = layer(x, mask), layer(changed, mask)
    assert torch.equal(before.masked_select(others), after.masked_select(others))


def test_no_gradient_flows_from_another_place_into_a_destroyed_one() -> None:
    layer, mask = block(), some_destroyed()
    x = features().requires_grad_(True)
    others = torch.ones(2, 1, SIDE, SIDE + 1)
    others[:, :, 1, 2] = 0
    (layer(x, mask) * others).square().sum().backward()
    assert x.grad is not None
    assert torch.count_nonzero(x.grad[:, :, 1, 2]) == 0
    assert torch.count_nonzero(x.grad[:, :, 0, 0]) > 0


def test_a_sound_place_reaches_every_destroyed_one() -> None:
    layer, x, mask = block(), features(), some_destroyed()
    changed = x.clone()
    changed[0, :, 4, 5] += 1
    moved = (layer(x, mask) != layer(changed, mask)).any(dim=1, keepdim=True)
    assert torch.equal(moved[0, 0, 1:3, 2:4], torch.ones(2, 2, dtype=torch.bool))
    assert int(moved.sum()) == 4 + 1  # and itself, but no other sound place and no other photograph


def test_sound_places_keep_their_features() -> None:
    layer, x = block(), features()
    assert torch.equal(layer(x, torch.zeros(2, 1, SIDE, SIDE + 1)), x)


def test_a_photograph_without_a_sound_place_is_given_back_and_harms_nobody() -> None:
    layer = block()
    x, mask = features().requires_grad_(True), some_destroyed()
    mask[0] = 1
    made = layer(x, mask)
    assert torch.equal(made[0], x[0])
    torch.testing.assert_close(made[1:], layer(x[1:], mask[1:]))  # kernels differ by the size of the batch
    made.square().sum().backward()
    assert x.grad is not None
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)
    assert torch.isfinite(x.grad).all()


def test_in_bfloat16_too() -> None:
    layer, x, mask = block(), features(), some_destroyed()
    changed = x.clone()
    changed[0, :, 1, 2] = 1e30
    with torch.autocast("cpu", torch.bfloat16):
        before, after = layer(x, mask), layer(changed, mask)
    assert before.dtype is torch.float32
    assert torch.allclose(before, layer(x, mask), atol=0.05)
    assert torch.equal(before[1], after[1])
    assert torch.equal(before[0, :, 2, 3], after[0, :, 2, 3])
