import pytest
import torch

from models.attention import SelfAttention


def attentive(channels: int = 16, gamma: float = 0.7) -> SelfAttention:
    torch.manual_seed(0)
    attention = SelfAttention(channels)
    for layer in (attention.query, attention.key, attention.value, attention.back):
        torch.nn.init.normal_(layer.weight, 0.0, 0.3)
    torch.nn.init.constant_(attention.gamma, gamma)
    return attention


def test_equation_by_equation() -> None:
    """Section 3, place by place: s_ij = f(x_i) g(x_j), beta_j a softmax over i, o_j = v(sum of beta_ji h(x_i))."""
    attention = attentive()
    x = torch.randn(2, 16, 3, 5)
    weights = [layer.weight[:, :, 0, 0] for layer in (attention.key, attention.query, attention.value, attention.back)]
    f, g, h, v = weights
    for photo, answer in zip(x.flatten(2), attention(x).flatten(2), strict=True):
        for j in range(15):
            scores = torch.stack([(f @ photo[:, i]) @ (g @ photo[:, j]) for i in range(15)])
            shares = scores.exp() / scores.exp().sum()
            seen = sum((shares[i] * (h @ photo[:, i]) for i in range(15)), torch.zeros(8))
            assert torch.allclose(answer[:, j], photo[:, j] + 0.7 * (v @ seen), atol=1e-4)


def test_the_channels_of_the_released_code() -> None:
    attention = SelfAttention(64)
    shapes = {name: tuple(weight.shape) for name, weight in attention.named_parameters()}
    assert shapes == {
        "gamma": (),
        "query.weight": (8, 64, 1, 1),
        "key.weight": (8, 64, 1, 1),
        "value.weight": (32, 64, 1, 1),
        "back.weight": (64, 32, 1, 1),
    }


def test_it_starts_as_nothing_and_can_learn() -> None:
    attention = SelfAttention(8)
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(attention(x), x)
    attention(x).square().sum().backward()
    assert attention.gamma.grad is not None
    assert attention.gamma.grad != 0


def test_who_asks_nothing_sees_the_mean_of_all_places() -> None:
    attention = attentive(gamma=1.0)
    torch.nn.init.zeros_(attention.query.weight)
    x = torch.randn(1, 16, 8, 8)
    mean = x.mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(attention(x) - x, attention.back(attention.value(mean)).expand(1, 16, 8, 8), atol=1e-4)


def test_few_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="channels is 7; it must be at least 8"):
        SelfAttention(7)
