"""PPGD against the maximum of a linear margin over an ellipsoid, which is known."""

import pytest
import torch

from percert.attacks import PPGD, MetricBall, Targeted, Untargeted, judge
from percert.attacks.transport.cost import FeatureDistance
from percert.images import round_to_8bit
from percert.tensors import l2_norm

from .small_network import SmallNetwork, clear_images
from .test_perceptual_ball import WEIGHTS, weighted

SLOPE = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))
EDGE = 0.3


def halfspace(images):
    """Two logits whose gap is SLOPE . (x - 1/2) - EDGE."""
    gap = ((images - 0.5) * SLOPE).sum((1, 2, 3)) - EDGE
    return torch.stack([-gap, gap], 1) / 2


def best_margin(bound):
    """max SLOPE . d over |WEIGHTS d| <= bound, at d proportional to SLOPE / WEIGHTS^2."""
    return bound * (SLOPE / WEIGHTS).norm() - EDGE


@pytest.mark.parametrize(("projection", "bound"), [("newton", 0.2), ("bisection", 0.02)])
def test_it_reaches_the_maximum_of_a_linear_margin(bound, projection):
    grey = torch.full((3, 3, 4, 4), 0.5)
    attack = PPGD(
        metric=weighted,
        bound=bound,
        step=bound / 10,
        steps=25,
        conjugate_steps=8,
        noise=0.001,
        kappa=100.0,
        projection=projection,
    )
    goal = Untargeted(torch.zeros(3, dtype=torch.long))
    moved = attack(halfspace, grey, goal, seeds=torch.arange(3))
    change = bound * (SLOPE / WEIGHTS**2) / (SLOPE / WEIGHTS).norm()
    ideal = best_margin(bound)
    scores = halfspace(moved)
    margin = scores[:, 1] - scores[:, 0]
    gained = (margin + EDGE) / (ideal + EDGE)
    assert (gained > 0.9).all()  # a Newton projection is not the nearest point of an ellipsoid
    assert (gained < 1 + 1e-4).all()
    cosine = ((moved - grey) * change).flatten(1).sum(1) / l2_norm(moved - grey) / change.norm()
    assert (cosine > 0.93).all()
    along_the_gradient = bound * SLOPE.square().sum() / (WEIGHTS * SLOPE).norm()
    assert (margin + EDGE > 1.1 * along_the_gradient).all()


def test_it_succeeds_just_where_it_can():
    """EDGE is reached at a bound of EDGE / |SLOPE / WEIGHTS|: not below, but above."""
    grey = torch.full((1, 3, 4, 4), 0.5)
    needed = EDGE / (SLOPE / WEIGHTS).norm().item()
    goal = Untargeted(torch.tensor([0]))
    for share, expected in ((0.98, False), (1.12, True)):
        bound = share * needed
        attack = PPGD(metric=weighted, bound=bound, step=bound / 10, steps=25)
        moved = attack(halfspace, grey, goal)
        threat = MetricBall(weighted, bound**2)
        assert judge(halfspace, grey, moved, goal, threat=threat).success.item() is expected


@pytest.mark.parametrize("metric", ["features", "ssim"])
def test_what_it_finds_is_inside_its_bound(metric):
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    attack = PPGD(bound=0.3, metric=metric, steps=20)
    moved = attack(model, images, Untargeted(labels), seeds=torch.arange(4))
    features = FeatureDistance(model.layers)
    if metric == "features":
        verdict = judge(model, images, moved, Untargeted(labels), threat=MetricBall(features, 0.09))
        assert verdict.success.all()
    else:
        from percert.metrics.full_reference.ssim import SSIM

        assert MetricBall(SSIM(), 0.09).within(images, moved).all()
        assert (model(moved).argmax(1) != labels).all()


def test_rescaling_shrinks_what_it_found_to_8_bits():
    model = SmallNetwork()
    images, labels = clear_images(model, 4)
    images = round_to_8bit(images)
    whole, least = (
        PPGD(steps=10, rescale_steps=steps)(model, images, Untargeted(labels)) for steps in (0, 8)
    )
    assert torch.equal(least, round_to_8bit(least))
    assert (model(least).argmax(1) != labels).all()
    assert (l2_norm(least - images) < 0.9 * l2_norm(whole - images)).all()


def test_it_goes_on_to_the_margin_asked_for():
    model = SmallNetwork()
    images, labels = clear_images(model, 3)
    goal = Targeted((labels + 1) % 5)
    margins = [
        goal.margin(model(PPGD(bound=1.0, steps=20, kappa=kappa)(model, images, goal)))
        for kappa in (0.5, 8.0)
    ]
    assert (margins[0] > 0.5).all()
    assert (margins[1] > 8).all()


def test_rescaling_does_not_grow_a_failure_out_of_its_bound():
    """A target out of reach at this bound; some multiple of the change would get there."""
    model = SmallNetwork()
    images, labels = clear_images(model, 3)
    goal = Targeted((labels + 1) % 5)
    moved = PPGD(bound=0.01, metric="squared-l2", steps=5, rescale_steps=8)(model, images, goal)
    assert not (goal.margin(model(moved)) > 0).any()
    assert (l2_norm(moved - images) <= 0.01 * (1 + 1e-4)).all()


def test_settings_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="bound"):
        PPGD(bound=-1.0)
    with pytest.raises(ValueError, match="projection"):
        PPGD(projection="none")
