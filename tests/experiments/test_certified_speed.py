"""Both sides of the comparison compute the same radii and losses; no time is tested."""

import pytest
import torch

from experiments.speed.certificates import (
    PlainLipSim,
    compare,
    our_distilled,
    plain_certified,
    plain_distilled,
)
from percert.certify import twoafc
from percert.images import Resize
from percert.lipschitz.architectures import LipSimSize, convert_authors_state, lipsim_network
from percert.metrics.certified.embedding import EmbeddingMetric

SIZE = LipSimSize(2, 6, 1, 8, conv_inner=2, embedding=10, side=32)


@pytest.fixture
def networks():
    plain = PlainLipSim(
        depth=2, channels=6, conv_inner=2, dense_depth=1, dense_inner=8, embedding=10, side=32
    )
    ours = lipsim_network(SIZE)
    ours.load_state_dict(convert_authors_state(plain.state_dict(), SIZE))
    return plain.eval(), ours.eval()


def images(count):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(count, 3, 32, 32, generator=generator) for _ in range(3)]


def test_radii_are_those_of_the_paper(networks):
    plain, ours = networks
    metric = EmbeddingMetric(ours, Resize((32, 32)), constant=1.0, name="small").double()
    given = [one.double() for one in images(4)]
    expected = plain_certified(plain.double(), *given)
    found = twoafc(metric, *given).radius_paper
    assert torch.allclose(found, expected, rtol=2e-2, atol=2e-4)


def test_one_pass_for_both_pipelines_gives_the_same_gradients(networks):
    plain, ours = networks
    first, second, _ = images(3)
    asked = torch.randn(3, 10)
    losses = [
        run(network.train(), first, second, asked)
        for run, network in ((plain_distilled, plain), (our_distilled, ours))
    ]
    assert torch.allclose(*losses, rtol=1e-4)
    slopes = [
        next(p.grad for p in network.parameters() if p.ndim == 2)  # the dense layer's weight
        for network in networks
    ]
    assert torch.allclose(*slopes, atol=1e-5)
    assert slopes[0].abs().max() > 0


def test_both_sides_take_turns():
    ran = []

    def run(name):
        ran.append(name)
        return torch.ones(2)

    found = compare("certify", 2, 3, lambda: run("plain"), lambda: run("ours"))
    assert ran == ["plain", "ours"] * 4
    assert found.agreement == 0
    assert found.ratio == pytest.approx(found.plain_seconds / found.ours_seconds)
