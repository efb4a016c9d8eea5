"""Costs by the names that only the papers' items know."""

import pytest
import torch

from experiments.papers.costs import OWN, PIEAPP_SLOPE, attack_of
from percert.attacks import create_attack
from percert.metrics.deep.lpips import LPIPS
from percert.models.weights import is_packaged


def test_other_attacks_are_the_catalogs():
    assert attack_of("ascent:steps=7") == create_attack("ascent:steps=7")
    with pytest.raises(ValueError, match="unknown"):
        attack_of("ascent:metrics=alexnet")


@pytest.mark.skipif(not is_packaged("stlpips_pytorch"), reason="no weights of ST-LPIPS")
def test_alexnets_features_are_st_lpips_with_every_channel_weighed_alike():
    torch.manual_seed(0)
    one, other = torch.rand(2, 2, 3, 40, 40).unbind()
    metric = LPIPS("alex", shift_tolerant=True)
    with torch.no_grad():
        for head in metric.heads:
            head.fill_(1.0)
        found = OWN["alexnet"]()(one, other)
        assert torch.allclose(found, metric(one, other), rtol=1e-5)
    assert attack_of("lpa:metric=alexnet,bound=0.3").bound == 0.3


def test_the_untrained_pieapp_has_a_slope_of_about_1_at_an_image():
    cost = OWN["pieapp-untrained"]()
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    at = image.clone().requires_grad_(True)
    value = cost(image, at)
    value.sum().backward()
    assert value.item() == 0
    assert 0.3 < at.grad.norm() < 3  # 1 is the mean over photographs of 299 pixels
    assert PIEAPP_SLOPE > 0
