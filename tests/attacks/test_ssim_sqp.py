"""The second-order attack in whole levels: its algebra, its optimum, what each cost is for."""

import itertools

import pytest
import torch
from skimage import data

from percert.attacks import Targeted, Untargeted, create_attack, judge
from percert.attacks.second_order import ssim_sqp
from percert.attacks.second_order.integer_step import (
    Growth,
    Pixels,
    cheapest_scale,
    invert,
    moving_pixels,
    times,
    whole_levels,
)
from percert.attacks.second_order.local_cost import COSTS, colour_difference, local_cost
from percert.color import ciede2000, srgb_to_lab
from percert.images import round_to_8bit
from percert.metrics import create_metric
from percert.metrics.full_reference.ssim import ssim_distance


def photographs(side=32):
    image = torch.from_numpy(data.astronaut()[60 : 60 + 2 * side, 180 : 180 + side].copy())
    return (image.permute(2, 0, 1).float() / 255).reshape(3, 2, side, side).transpose(0, 1)


def two_classes(gradient, bias):
    """A linear classifier: class 1 where gradient . x > bias (``(n,)`` each its own bias)."""

    def model(images):
        score = (images * gradient).sum((1, 2, 3)) - bias[: len(images)]
        return torch.stack((-score, score), 1)

    return model


def random_pixels(count=200, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(1, count, 3, 3, generator=generator, dtype=torch.float64)
    form = (root @ root.mT + 0.2 * torch.eye(3)).permute(0, 2, 3, 1)
    direction = scale * torch.randn(1, 3, count, generator=generator, dtype=torch.float64)
    wide = torch.full_like(direction, 50)
    position = torch.arange(count)[None]
    return Pixels(form, invert(form), direction, -wide, wide, position)


def objective(pixels, levels):
    return (levels * times(pixels.form, levels)).sum(1) / 2 - (pixels.direction * levels).sum(1)


def test_cofactors_invert():
    pixels = random_pixels()
    expected = torch.linalg.inv(pixels.form.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(pixels.inverse, expected)


def test_whole_levels_are_nearly_the_best_integers():
    pixels = random_pixels()
    one = torch.ones(1, dtype=torch.float64)
    found = objective(pixels, whole_levels(pixels, one, Growth()))
    plain = objective(pixels, times(pixels.inverse, pixels.direction).round())
    grid = itertools.product(range(-8, 9), repeat=3)
    best = torch.full_like(found, torch.inf)
    for levels in grid:
        candidate = torch.tensor(levels, dtype=torch.float64).view(1, 3, 1)
        best = torch.minimum(best, objective(pixels, candidate.expand_as(pixels.direction)))
    inside = times(pixels.inverse, pixels.direction).abs().amax(1) < 7
    assert inside.sum() > 100
    assert (found <= plain + 1e-9).all()
    assert (found >= best - 1e-9)[inside].all()
    assert ((found - best)[inside] < 1e-9).double().mean() > 0.7
    assert found[inside].sum() < 0.95 * best[inside].sum()  # both negative: within 5 % of the best


@pytest.mark.parametrize("growth", [Growth(), Growth(power=1.3, cap=6)])
def test_the_scale_is_just_enough(growth):
    pixels = random_pixels(scale=0.01)
    wanted, start = torch.tensor([2e-3], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    scale = cheapest_scale(pixels, pixels.direction, wanted, start, growth)

    def gain(scale):
        return (pixels.direction * whole_levels(pixels, scale, growth)).sum() / 255

    assert gain(scale) >= wanted
    assert gain(0.98 * scale) < wanted


def test_pixels_left_out_would_not_have_moved():
    images = photographs()
    gradient = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    form = local_cost(images, "perceptual")
    inverse = invert(form)
    part = moving_pixels(images, form, inverse, gradient, 0.2)
    whole = moving_pixels(images, form, inverse, gradient, 1.0)
    assert part.position.shape[1] == round(0.2 * 32 * 32)
    last = part.direction[:, :, -1]
    reach = (last * times(part.inverse[..., -1], last)).sum(1).sqrt()
    widest = torch.stack([part.inverse[:, i, i, -1] for i in range(3)]).amax(0).sqrt()
    scale = 0.49 / (reach * widest)
    few, all_ = (whole_levels(pixels, scale, Growth()) for pixels in (part, whole))
    assert all_.abs().sum() > 0
    assert few.abs().sum() == all_.abs().sum()


def test_on_a_linear_model_the_l2_optimum_is_reached():
    images = photographs() * 0.5 + 0.25
    gradient = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(2))
    distance = torch.tensor([1.5, 3.0])
    bias = (images * gradient).sum((1, 2, 3)) + distance * gradient.norm()
    goal = Untargeted(torch.zeros(2, dtype=torch.long))
    attack = create_attack("ssim-sqp", cost="l2")
    model = two_classes(gradient, bias)
    verdict = judge(model, images, attack(model, images, goal), goal)
    assert verdict.success_8bit.all()
    assert (verdict.images == verdict.images_8bit).all()
    assert (verdict.distances["l2"] < 1.03 * distance).all()


def test_each_cost_is_best_at_its_own():
    images = photographs()
    gradient = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(3))
    bias = (images * gradient).sum((1, 2, 3)) + 0.5 * gradient.norm()
    model, goal = two_classes(gradient, bias), Untargeted(torch.zeros(2, dtype=torch.long))
    found = {}
    for cost in ("ssim", "ciede2000", "l2", "l1"):
        moved = create_attack("ssim-sqp", cost=cost)(model, images, goal)
        verdict = judge(model, images, moved, goal)
        assert verdict.success_8bit.all(), cost
        lab = srgb_to_lab(images), srgb_to_lab(moved)
        found[cost] = {
            "ssim": ssim_distance(images, moved).mean(),
            "ciede2000": ciede2000(*lab).mean(),
            "l2": verdict.distances["l2"].mean(),
            "l1": verdict.distances["l1"].mean(),
        }
    for cost in found:
        # A mean of colour differences is small for few pixels too, whatever their colours: on a
        # gradient of pure noise l1 is its equal.
        others = [name for name in found if (cost, name) != ("ciede2000", "l1")]
        assert min(others, key=lambda name: found[name][cost]) == cost, found


def test_colour_difference_is_the_local_form_of_ciede2000():
    images = photographs()
    step = torch.randn(images.shape, generator=torch.Generator().manual_seed(4)).sign() / 255
    step = torch.where((images + step).clamp(0, 1) == images + step, step, 0)
    form = colour_difference(images)
    predicted = (step * times(form, step)).sum(1)
    measured = ciede2000(srgb_to_lab(images), srgb_to_lab(images + step)).square()
    ratio = predicted.sqrt() / measured.sqrt().clamp_min(1e-6)
    ratio = ratio / ratio.flatten(1).median(1).values.view(-1, 1, 1)
    assert ((ratio > 0.7) & (ratio < 1.4)).float().mean() > 0.85


def test_the_cost_of_people_moves_texture_rather_than_a_smooth_place():
    """Half smooth, half textured, and a gradient that is the same everywhere."""
    texture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.full((1, 3, 32, 64), 0.5)
    images[..., 32:] = 0.2 + 0.6 * texture
    images = round_to_8bit(images)
    wanted = images.mean() + 0.3 / 255  # three values of ten move by a level

    def model(batch):
        mean = batch.mean((1, 2, 3))
        return torch.stack([wanted - mean, mean - wanted], 1)

    moved = create_attack("ssim-sqp", cost="seen")(model, images, torch.tensor([0]))
    change = (moved - images).abs().mean((0, 1, 2))
    assert change.mean() > 0.29 / 255
    assert change[36:60].mean() > 3 * change[4:28].mean()


@pytest.mark.parametrize("cost", [name for name in COSTS if name != "l1"])
def test_forms_are_positive_definite(cost):
    images = torch.cat((photographs(), torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)))
    form = local_cost(images, cost)
    assert form.isfinite().all()
    torch.testing.assert_close(form, form.transpose(1, 2))
    assert torch.linalg.eigvalsh(form.permute(0, 3, 4, 1, 2).double()).min() > 0


def a_deep_network(depth):
    """A random network of 10 classes, and 16 images for it."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = [torch.nn.Conv2d(3, 16, 3, stride=2)]
    for _ in range(depth):
        layers += [torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, padding=1)]
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(16 * 225, 10))
    for weights in network.requires_grad_(False).parameters():
        if weights.ndim > 1:
            torch.nn.init.kaiming_normal_(weights)
        else:
            weights.zero_()
    images = torch.nn.functional.avg_pool2d(torch.rand(16, 3, 32, 32), 3, 1, 1)
    return network.eval(), round_to_8bit(images)


def a_wide_margin(scores):
    best = scores.topk(2).values
    return Untargeted(scores.argmax(1), confidence=3 * (best[:, 0] - best[:, 1]).mean().item())


def the_least_likely_class(scores):
    return Targeted(scores.argmin(1))


@pytest.mark.parametrize(
    ("depth", "goal_of", "settings", "undone"),
    [
        # Where gradients turn, an average of them goes less far round.
        (4, a_wide_margin, {}, {"SETTLING": (float("inf"), 0.997)}),
        # Too long a push reaches a far class at once: a bound on it and iterations after it take
        # less.
        (
            *(8, the_least_likely_class, {"steps": 2}),
            {"FARTHEST": (float("inf"), 1.0), "MORE": (0, 0.9)},
        ),
    ],
)
def test_on_a_deep_network_each_bound_on_the_way_costs_less(
    monkeypatch, depth, goal_of, settings, undone
):
    network, images = a_deep_network(depth)
    goal = goal_of(network(images))

    def cost():
        found = create_attack("ssim-sqp", polish=0, **settings)(network, images, goal)
        assert judge(network, images, found, goal).success_8bit.all()
        return ssim_distance(images, found).mean().item()

    costs = [cost()]
    for name, (value, most) in undone.items():
        monkeypatch.setattr(ssim_sqp, name, value)
        costs.append(cost())
        assert costs[-2] < most * costs[-1], name


def far_and_smooth(levels):
    """A classifier that a smooth change has to move so far, root mean square, and images."""
    images = photographs(64) * 0.5 + 0.25
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randn((1, 3, 6, 6), generator=generator)
    gradient = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic")[0]
    distance = levels / 255 * gradient.numel() ** 0.5
    bias = (images * gradient).sum((1, 2, 3)) + distance * gradient.norm()
    return two_classes(gradient, bias), round_to_8bit(images), torch.zeros(2, dtype=torch.long)


def test_a_wide_change_costs_little_more_than_by_the_gradient_of_the_cost():
    """A form kept pixel by pixel does not know that a smooth change has no structure to lose."""
    model, images, labels = far_and_smooth(6.0)

    def cost(name, **settings):
        found = create_attack(name, **settings)(model, images, labels)
        assert judge(model, images, found, Untargeted(labels)).success_8bit.all()
        return ssim_distance(images, found)

    ours = cost("ssim-sqp")
    assert (ours < 0.5 * cost("ssim-sqp", polish=0)).all()
    assert (ours < 1.25 * cost("human-perc-ot")).all()


def test_what_people_would_notice_is_lowered_itself_too():
    model, images, labels = far_and_smooth(6.0)
    seen = create_metric("seen")
    shares = [
        seen(images, create_attack("ssim-sqp", cost="seen", polish=polish)(model, images, labels))
        for polish in (0, 16)
    ]
    assert (shares[1] < 0.7 * shares[0]).all()


def test_a_change_of_few_pixels_is_left_as_the_form_has_it():
    images = photographs() * 0.5 + 0.25
    gradient = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(2))
    bias = (images * gradient).sum((1, 2, 3)) + 0.005 * gradient.norm()
    model, labels = two_classes(gradient, bias), torch.zeros(2, dtype=torch.long)
    found = [create_attack("ssim-sqp", polish=polish)(model, images, labels) for polish in (0, 16)]
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("survive", ["", "bits-7"])
def test_it_goes_where_the_boundary_is_nearest_not_to_the_likeliest_class(survive: str) -> None:
    def model(images: torch.Tensor) -> torch.Tensor:
        left, right = (half.mean((1, 2, 3)) - 0.5 for half in images.split(16, 3))
        return torch.stack([0 * left, 0.1 * left - 0.1, 2 * right - 0.2], 1)  # 1.0 and 0.1 away

    images = torch.full((2, 3, 32, 32), 0.5)
    attack = ssim_sqp.SSIMSQP(cost="l2", survive=survive)
    moved = attack(model, images, Untargeted(torch.tensor([0, 0])))
    assert model(moved).argmax(1).tolist() == [2, 2]
    assert (moved - images)[..., :16].abs().max() < 0.01
