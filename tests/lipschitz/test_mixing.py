"""Mixing channels in one product: the same values, whatever the order in memory."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from percert.lipschitz.fixed_layers import HalfAbs
from percert.lipschitz.mixing import channel_by_channel, join_channels, mix_channels
from percert.lipschitz.orthogonal import OrthogonalMix, Shift


def images(n: int, channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(n + 10 * channels + 100 * height + width)
    return torch.randn(n, channels, height, width, dtype=torch.float64, generator=generator)


def by_channel(x: Tensor) -> Tensor:
    """The same values, channel by channel in memory."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)


@given(
    st.integers(0, 4), st.integers(1, 7), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)
)
def test_the_product_is_the_convolution_and_so_are_its_gradients(n, into, out, height, width):
    weight, bias = torch.randn(out, into, dtype=torch.float64), torch.randn(out).double()
    x = images(n, into, height, width).requires_grad_(True)
    towards = images(n, out, height, width)
    expected = F.conv2d(x, weight[:, :, None, None], bias)
    (wanted,) = torch.autograd.grad((expected * towards).sum(), x)
    for given_x in (x, by_channel(x)):
        found = mix_channels(given_x, weight, bias)
        (slope,) = torch.autograd.grad((found * towards).sum(), x, retain_graph=True)
        assert found.shape == (n, out, height, width)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(slope, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("layer", [HalfAbs(), Shift(), Shift(mirror=True)])
def test_a_layer_says_the_same_of_both_orders_and_keeps_them(layer, n):
    x = images(n, 44, 5, 3)
    plain, turned = layer(x), layer(by_channel(x))
    assert torch.equal(plain, turned)
    assert not channel_by_channel(plain)
    assert channel_by_channel(turned) == (n > 1)


def test_between_mixing_layers_nothing_is_put_into_another_order():
    mixed = OrthogonalMix(36, mirror=True)(images(2, 36, 4, 4).float())
    assert channel_by_channel(mixed)
    assert channel_by_channel(HalfAbs()(Shift(mirror=True)(mixed)))


def test_vectors_and_parts_of_vectors_are_put_together_as_they_are():
    x = torch.randn(3, 8)
    assert torch.equal(join_channels(x.split(2, 1)), x)
    assert torch.equal(mix_channels(x, torch.eye(8), torch.ones(8)), x + 1)


def test_a_batch_of_perturbations_can_be_mapped():
    """As attacks and statistics do with ``torch.func``."""
    layers = torch.nn.Sequential(OrthogonalMix(36), HalfAbs(), Shift(), OrthogonalMix(36)).eval()
    x = images(4, 36, 4, 4).float()
    mapped = torch.vmap(lambda one: layers(one[None])[0])(x)
    torch.testing.assert_close(mapped, layers(x))
