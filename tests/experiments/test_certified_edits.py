"""Sampled edits: embedded together, they have the distances that each has alone."""

import pytest
import torch

from experiments.copies.certified_edits import sampled
from percert.certify import EDITS, edited
from percert.images import round_to_8bit
from percert.metrics.certified.lipsim import Thumbnail


@pytest.mark.parametrize("edit", ["gamma", "downscale", "crop"])
def test_sampled_edits_have_the_distances_that_each_has_alone(edit: str) -> None:
    metric = Thumbnail(8)
    image = torch.rand(1, 3, 40, 52, generator=torch.Generator().manual_seed(0)).double()
    found = sampled(metric, image, edit, seed=0)
    low, high = EDITS[edit].standard
    for at in (0, 17, 40):
        one = edited(image[0], edit, low + (high - low) * at / 40)
        made = one if edit == "crop" else round_to_8bit(one)
        torch.testing.assert_close(found[at], metric(image, made[None])[0], rtol=0, atol=1e-12)
