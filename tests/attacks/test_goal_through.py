"""Attacks that expect a defence get through it; those that do not, do not."""

import torch
from skimage import data

from percert.attacks import Untargeted, create_attack
from percert.attacks.goal_through import surviving
from percert.defences import create_defence

DIRECTION = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def model(images):
    score = ((images - photographs()[: len(images)]) * DIRECTION).sum((1, 2, 3)) - 20.0
    return torch.stack((-score, score), 1)


def photographs():
    image = torch.from_numpy(data.astronaut()[60:124, 180:212].copy())
    return (image.permute(2, 0, 1).float() / 255).reshape(3, 2, 32, 32).transpose(0, 1)


def test_the_margin_is_the_worst_of_all_versions():
    images = (photographs() + 0.02 * DIRECTION).clamp(0, 1)
    goal = Untargeted(torch.zeros(2, dtype=torch.long))
    both = surviving(goal, "bits-3+blur-1")
    versions = [images, create_defence("bits-3")(images), create_defence("blur-1")(images)]
    alone = torch.stack([goal.margin(model(version)) for version in versions])
    assert alone.argmin(0).max() > 0  # it is not always the image itself
    torch.testing.assert_close(both.margin(both.scores(model, images)), alone.amin(0))
    one = both.select(torch.tensor([1]))
    assert len(one) == 1


def test_an_attack_that_expects_a_defence_survives_it():
    images, goal = photographs(), Untargeted(torch.zeros(2, dtype=torch.long))
    defence = create_defence("bits-4")
    plain = create_attack("ssim-sqp")(model, images, goal)
    hardened = create_attack("ssim-sqp", survive="bits-4", most_steps=20)(model, images, goal)
    assert (goal.margin(model(plain)) > 0).all()
    assert (goal.margin(model(hardened)) > 0).all()
    assert (goal.margin(model(defence(hardened))) > 0).all()
    assert not (goal.margin(model(defence(plain))) > 0).all()
