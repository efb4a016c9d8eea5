"""The perceptual ball: its projections end inside, and its curvature is J'J."""

import pytest
import torch

from percert.attacks import LPA, PPGD
from percert.attacks.transport.cost import PROJECTIONS, FeatureDistance, PerceptualBall
from percert.metrics.full_reference.ssim import SSIM

from .small_network import SmallNetwork, clear_images

WEIGHTS = torch.linspace(0.5, 2.0, 48).view(3, 4, 4)


def weighted(reference, candidate):
    """A squared l2 distance that minds some pixels four times as much as others."""
    return ((candidate - reference) * WEIGHTS).flatten(1).square().sum(1)


def noisy(images, size):
    return (images + size * torch.randn_like(images)).clamp(0, 1)


@pytest.mark.parametrize("how", PROJECTIONS)
@pytest.mark.parametrize("bound", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("kind", ["features", "ssim", "weighted l2, no root"])
def test_a_projection_ends_inside_the_ball(how, bound, kind):
    model = SmallNetwork()
    images, _ = clear_images(model, 5)
    if kind == "features":
        ball = PerceptualBall(FeatureDistance(model.layers), bound)
    elif kind == "ssim":
        ball = PerceptualBall(SSIM(), bound)
    else:
        images = images[:, :, :4, :4]
        ball = PerceptualBall(weighted, bound, root=False)
    far = noisy(images, 0.2)
    assert (ball.distance(images, far) > bound).all()
    moved = ball.project(images, far, how=how)
    assert (ball.distance(images, moved) <= bound * (1 + 1e-4)).all()
    assert 0 <= moved.min() <= moved.max() <= 1
    if bound and kind != "features":  # whose unit vectors jump where a feature is 0
        assert (ball.distance(images, moved) > 0.5 * bound).all()


@pytest.mark.parametrize("how", PROJECTIONS)
def test_what_is_inside_stays_as_it_is(how):
    images = 0.2 + 0.6 * torch.rand(4, 3, 4, 4)
    moved = noisy(images, 0.01)
    moved[2] = noisy(images, 0.3)[2]
    ball = PerceptualBall(weighted, 0.2)
    projected = ball.project(images, moved, how=how)
    same = (projected == moved).flatten(1).all(1)
    assert same.tolist() == [True, True, False, True]


def test_newton_goes_straight_where_the_distance_is_a_norm():
    """For the l2 norm the nearest point lies on the line to the reference, a tenth further in."""
    images = torch.full((1, 3, 4, 4), 0.5)
    moved = images + 0.2 * torch.randn(1, 3, 4, 4).clamp(-2, 2)
    ball = PerceptualBall(lambda a, b: (b - a).flatten(1).square().sum(1), 0.5)
    distance = ball.distance(images, moved)
    expected = images + (moved - images) * (0.5 - 0.1 * (distance - 0.5)) / distance
    torch.testing.assert_close(ball.project(images, moved), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("root", [True, False])
def test_the_curvature_of_a_weighted_norm_is_its_weights_squared(root):
    metric = weighted if root else lambda a, b: weighted(a, b).clamp_min(1e-20).sqrt()
    at, direction = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    found = PerceptualBall(metric, 1.0, root).curvature(at, direction, reach=0.05)
    torch.testing.assert_close(found, WEIGHTS.square() * direction, rtol=1e-3, atol=1e-4)


def test_the_curvature_of_a_network_is_that_of_its_explicit_jacobian():
    """Smooth features of 12 pixels, in float64, with the Jacobian written out."""
    mix = torch.randn(7, 12, dtype=torch.float64)

    def features(images):
        return (images.flatten(1) @ mix.T).tanh()

    def metric(reference, candidate):
        return (features(candidate) - features(reference)).square().sum(1)

    at = 0.2 + 0.6 * torch.rand(1, 3, 2, 2, dtype=torch.float64)
    direction = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(features, at).view(7, 12)
    expected = (jacobian.T @ jacobian @ direction.flatten()).view_as(direction)
    found = PerceptualBall(metric, 1.0).curvature(at, direction, reach=1e-5)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_the_speed_is_the_length_of_a_small_step():
    at = torch.rand(2, 3, 4, 4).round()  # at the ends of the range, where a step has no room
    direction = torch.randn(2, 3, 4, 4)
    direction = direction / direction.flatten(1).norm(dim=1)[:, None, None, None]
    found = PerceptualBall(weighted, 1.0).speed(at, direction, reach=0.1)
    torch.testing.assert_close(found, (WEIGHTS * direction).flatten(1).norm(dim=1))


def test_the_distance_has_a_finite_gradient_at_its_own_reference():
    images = torch.rand(1, 3, 4, 4, requires_grad=True)
    PerceptualBall(weighted, 1.0).distance(images.detach(), images).sum().backward()
    assert torch.equal(images.grad, torch.zeros_like(images))


@pytest.mark.parametrize("kind", [LPA, PPGD])
def test_a_metric_that_will_not_do_is_named(kind):
    images = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="layers"):
        kind(metric="features").threat(lambda batch: batch.mean((2, 3)), images)
    with pytest.raises(ValueError, match="metric"):
        kind(metric="no such metric").threat(SmallNetwork(), images)
    with pytest.raises(ValueError, match="bound"):
        kind(metric="ssim", bound=-0.5)
    with pytest.raises(ValueError, match="bound"):
        PerceptualBall(SSIM(), -0.5)
