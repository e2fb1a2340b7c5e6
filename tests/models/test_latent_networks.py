import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from models.latent_networks import (
    Autoencoder,
    Decoder,
    Encoder,
    LatentDiscriminator,
    Mapping,
    ResidualBlock,
    divergence,
    latent_mask,
)


def shapes(layers: nn.Sequential, x: Tensor) -> list[tuple[int, int]]:
    """Channels and side after each layer of a chain."""
    found = []
    for layer in layers:
        x = layer(x)
        found.append((x.shape[1], x.shape[2]))
    return found


def test_the_papers_networks_layer_by_layer() -> None:
    with torch.device("meta"):
        encoder, decoder, mapping = Encoder(64), Decoder(64), Mapping(64, "batch", 6)
        assert shapes(encoder.layers, torch.empty(1, 3, 256, 256)) == [(64, 256), (64, 128), (64, 64), (64, 64)]
        mean, log_variance = encoder(torch.empty(1, 3, 256, 256))
        assert mean.shape == log_variance.shape == (1, 64, 64, 64)
        assert shapes(decoder.layers, mean) == [(64, 64), (64, 128), (64, 256)]
        assert decoder(mean).shape == (1, 3, 256, 256)
        assert shapes(mapping.before, mean) == [(128, 64), (256, 64), (512, 64)]
        features = torch.empty(1, 512, 64, 64)
        assert shapes(mapping.after, features) == [(512, 64), (256, 64), (128, 64), (64, 64)]
        assert mapping.partial(features, torch.empty(1, 1, 64, 64)).shape == (1, 512, 64, 64)
        assert mapping(mean, torch.empty(1, 1, 64, 64)).shape == (1, 64, 64, 64)
    chains = [encoder.layers[3], decoder.layers[0], mapping.filled, mapping.local, mapping.after[0]]
    counts = [sum(isinstance(part, ResidualBlock) for part in chain.modules()) for chain in chains]
    assert counts == [4, 4, 2, 2, 6]
    kernels = [encoder.layers[0][0], encoder.layers[1][0], decoder.layers[1][0], decoder.last]  # type: ignore[index]
    assert [layer.kernel_size for layer in kernels] == [(7, 7), (4, 4), (4, 4), (7, 7)]


def test_mapping_parameters_by_hand() -> None:
    """9 x in x out + out for a convolution, 2 x out for a norm; four 1x1 convolutions in the non-local block."""
    with torch.device("meta"):
        mapping = Mapping(64, "batch", 6)
    convolutions = [(64, 128), (128, 256), (256, 512), (512, 256), (256, 128)] + [(512, 512)] * 2 * (2 + 2 + 6)
    expected = sum(9 * i * o + o for i, o in convolutions)
    expected += 2 * (128 + 256 + 512 + 256 + 128) + 2 * 512 * (2 + 2 + 6)
    expected += 3 * (512 * 256 + 256) + 256 * 512 + 512 + 9 * 128 * 64 + 64
    assert sum(p.numel() for p in mapping.parameters()) == expected


def test_a_latents_discriminator_and_its_patches() -> None:
    with torch.device("meta"):
        assert LatentDiscriminator(64, "batch")(torch.empty(1, 64, 64, 64)).shape == (1, 1, 15, 15)


def test_the_divergence_is_torchs() -> None:
    mean, log_variance = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(()), torch.ones(()))).mean()
    assert torch.allclose(divergence(mean, log_variance), expected, atol=1e-6)
    assert float(divergence(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))) == 0


def test_latents_are_drawn_while_it_learns_and_are_means_after() -> None:
    torch.manual_seed(0)
    autoencoder = Autoencoder(4)
    rgb = torch.rand(2, 3, 64, 64) * 2 - 1
    assert not torch.equal(autoencoder.train()(rgb)[0], autoencoder(rgb)[0])
    rebuilt, mean, _ = autoencoder.eval()(rgb)
    assert torch.equal(rebuilt, autoencoder(rgb)[0])
    assert torch.equal(rebuilt, autoencoder.decoder(mean))


def test_a_latent_is_destroyed_where_a_pixel_or_its_neighbour_is() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[0, 0, 5, 6] = 1  # in the middle of its latent
    mask[0, 0, 8, 12] = 1  # at a corner of its latent: three more are touched
    expected = torch.zeros(4, 4)
    expected[1, 1] = expected[1, 2] = expected[2, 2] = expected[1, 3] = expected[2, 3] = 1
    assert torch.equal(latent_mask(mask)[0, 0], expected)


def test_each_branch_answers_for_its_own_places() -> None:
    torch.manual_seed(0)
    mapping = Mapping(2, "batch", 0).eval()
    mapping.after = nn.Sequential(nn.Conv2d(16, 2, 1))
    latent, mask = torch.randn(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[:, :, :, :4] = 1
    features = mapping.before(latent)
    made = mapping(latent, mask)
    local, filled = mapping.local(features), mapping.filled(mapping.partial(features, mask))
    assert torch.allclose(made[..., 4:], (latent + mapping.after(local))[..., 4:], atol=1e-6)
    assert torch.allclose(made[..., :4], mapping.after(filled)[..., :4], atol=1e-6)
