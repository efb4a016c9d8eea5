"""The networks that stand for LipSim's: what they are called, and that attacks see their choice."""

import pytest
import torch

from experiments.papers import MissingDataError, Setting
from experiments.papers.lipsim.judges import lipsim_there
from experiments.papers.networks import catalog_judge, dreamsim_there
from percert.attacks.goal import FlipTriplet
from percert.attacks.goal_through import flip_together


def test_an_angle_is_attacked_as_the_distance_it_is(setting):
    metric = dreamsim_there(setting).metric
    images = torch.rand(3, 2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    triplet = dict(zip(("reference", "left", "right"), images, strict=True))
    choice = torch.tensor([0, 1])
    fast = flip_together(metric, triplet, choice, "reference")
    plain = FlipTriplet(triplet["left"], triplet["right"], choice)
    assert not isinstance(fast, FlipTriplet)
    found = [goal.margin(goal.scores(metric, images[0])) for goal in (fast, plain)]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_a_stand_in_says_whose_place_it_takes(setting):
    assert lipsim_there(setting).name == "LipSim, here lipsim-tiny"
    assert dreamsim_there(setting).name == "DreamSim, here SqueezeNet's features"
    assert catalog_judge("mse", "PSNR", setting).name == "PSNR"
    assert catalog_judge("gmsd", "", setting).name == "gmsd"


def test_what_takes_weights_is_not_there_without_them(setting, tmp_path):
    assert catalog_judge("lpips-alex", "LPIPS", setting) is None
    with pytest.raises(MissingDataError, match="SqueezeNet"):
        dreamsim_there(Setting(tmp_path))


def test_weights_that_are_something_else_are_not_passed_over(tmp_path):
    (tmp_path / "weights").mkdir()
    there = Setting(tmp_path / "out", data=tmp_path)
    assert catalog_judge("lpips-alex", "LPIPS", there) is None
    (tmp_path / "weights" / "alex.pth").write_bytes(b"an error page")
    with pytest.raises(ValueError, match=r"alex\.pth"):
        catalog_judge("lpips-alex", "LPIPS", there)
