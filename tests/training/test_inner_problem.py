"""The inner problem as Algorithm 2 solves it: closed form, and names as everywhere."""

import pytest
import torch

pytest.importorskip("pyarrow")

from tests.attacks.closed_form import Linear, grey_images
from tests.training.shards_world import Brightness, bright_and_dark

from percert.attacks import Untargeted
from percert.attacks.bounded.pgd import PGD
from percert.training.dro import RoundSettings, make_adversarial_dataset
from percert.training.dro.recipe import Surrogate, parse_solver


def test_with_the_quadratic_cost_the_worst_image_is_known():
    """max of g x - lambda |x - x0|^2 for a linear margin is at x0 + g / (2 lambda)."""
    model = Linear(classes=2)
    images = grey_images(3)
    labels = model(images).argmax(1)
    solver = parse_solver("surrogate:cost=squared-l2,lam=4,step=0.1,steps=60,loss=margin")
    found = solver(model, images, Untargeted(labels))
    gradient = (model.weight[1 - labels] - model.weight[labels]).view_as(images)
    assert torch.allclose(found, images + gradient.float() / 8, atol=1e-3)


def test_it_makes_data_sets_whether_it_succeeds_or_not(tmp_path):
    settings = RoundSettings(rounds=1, batch=8, learning_rate=0.0)
    solver = Surrogate(cost="squared-l2", step=0.25, steps=8, loss="margin")
    dataset, (tally,) = make_adversarial_dataset(
        Brightness(), bright_and_dark(16), solver, tmp_path, settings
    )
    assert tally.succeeded == 0  # the worst image is 0.023 away, and the boundary 0.2
    assert (dataset.facts.cost[16:][~dataset.facts.wrong[16:]] > 0).any()  # yet images moved


def test_names_and_numbers_are_checked():
    assert parse_solver("surrogate") == Surrogate()
    assert isinstance(parse_solver("pgd:eps=2"), PGD)
    assert parse_solver("surrogate:steps=3,cost=ssim") == Surrogate(steps=3)
    for text, reason in (
        ("surrogate:eps=1", "unknown option 'eps'; known: checkpoint, cost, lam, loss, "),
        ("surrogate:lam", "expected key=value"),
        ("surrogate:steps=many", "steps: expected int, found 'many'"),
        ("surrogat", "unknown name"),
    ):
        with pytest.raises(ValueError, match=reason):
            parse_solver(text)
