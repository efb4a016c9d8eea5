"""A centre is a translation; what a picture holds changes no farther than the picture does."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from percert.audit import audit_network
from percert.images import Resize
from percert.lipschitz.architectures import TinyShape
from percert.lipschitz.centre import Centre, Content, centre_of
from percert.metrics.certified.exported import NetworkShape, build_network
from percert.training.student import fit_centre

SHAPE = NetworkShape(
    family="tiny",
    tiny=TinyShape(48, (1, 1, 1), 64, inner=16),
    constant=0.0,
    resize="box",
    centre_axes=4,
)


def fitted():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(SHAPE, "mine").eval().requires_grad_(False)
    fit_centre(network, Resize((64, 64), "box"))
    return network


@given(st.integers(0, 2**31), st.floats(0.01, 10))
def test_what_is_held_moves_no_farther_than_the_embedding(seed, length):
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(12, 3, generator=generator, dtype=torch.float64)).Q.T
    rule = Content(axes, 1.5)
    h, move = torch.randn(2, 5, 12, generator=generator, dtype=torch.float64)
    move = length * move / move.norm(dim=1, keepdim=True)
    assert bool(((rule.margin(h + move) - rule.margin(h)).abs() <= length * (1 + 1e-9)).all())


def test_the_margin_is_the_length_outside_the_axes_less_the_least():
    rule = Content(torch.eye(4)[:2], 2.0)
    h = torch.tensor([[7.0, -9.0, 3.0, 4.0], [5.0, 5.0, 0.0, 0.0]])
    assert rule.margin(h).tolist() == [3.0, -2.0]


def test_a_fitted_network_puts_every_plain_picture_at_0():
    network = fitted()
    for grey in (0.0, 0.3, 1.0):
        assert network(torch.full((1, 3, 64, 64), grey)).norm().item() < 1e-4
    layer = centre_of(network)
    assert layer is not None
    assert torch.allclose(layer.axes @ layer.axes.T, torch.eye(4), atol=1e-5)
    assert layer.least > 0


def test_a_fitted_network_is_the_same_every_time():
    one, other = fitted().state_dict(), fitted().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_network_without_a_centre_cannot_be_fitted():
    network = build_network(NetworkShape(family="tiny", tiny=SHAPE.tiny), "mine")
    with pytest.raises(ValueError, match="mine: expected a network that ends in a Centre"):
        fit_centre(network, Resize((64, 64), "box"))


class Scaling(Centre):
    def forward(self, x):
        return 1.01 * x - self.centre


def test_the_audit_passes_a_centre_and_nothing_that_only_looks_like_one():
    network = fitted()
    assert audit_network(network, steps=1).passed
    network.layers[-1].forward = lambda x: 1.01 * x
    assert not audit_network(network, steps=1).passed
    network = fitted()
    network.layers[-1] = Scaling(64, 4)
    report = audit_network(network, steps=1)
    assert any("Scaling is not a layer that the auditor knows" in why for why in report.reasons)
