"""The small residual network: every size, every name, and no image depends on its neighbours."""

import pytest
import torch

from percert.models import load_classifier
from percert.models.small_resnet import small_resnet


@pytest.mark.parametrize("side", [9, 12, 28, 32])
def test_it_takes_images_of_any_side(side):
    assert small_resnet(classes=3, width=4)(torch.rand(2, 3, side, side)).shape == (2, 3)


def test_logits_do_not_depend_on_the_batch():
    model = small_resnet(classes=3, width=4).train()
    images = torch.rand(5, 3, 16, 16)
    alone = torch.cat([model(image[None]) for image in images])
    assert torch.allclose(model(images), alone, atol=1e-5)


def test_the_identity_path_carries_the_input():
    # With the last convolution of a block at zero, the block is its skip: here the identity.
    block = small_resnet(classes=3, width=4).network[1]
    torch.nn.init.zeros_(block.second.weight)
    features = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(features), features)


def test_a_network_of_any_size_is_named():
    model = load_classifier("percert.models.small_resnet:classes7_width6", "cpu")
    assert model(torch.rand(1, 3, 16, 16)).shape == (1, 7)
    assert model.network[0].weight.shape == (6, 3, 3, 3)


@pytest.mark.parametrize("name", ["classes7", "classes1_width4", "classes7_width0", "network"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r"no function|at least 2 classes"):
        load_classifier(f"percert.models.small_resnet:{name}", "cpu")
