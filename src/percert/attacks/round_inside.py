"""Rounding to 8 bits without leaving what an attack was allowed."""

import torch

from percert.attacks.threat import LpBall, Threat
from percert.images import round_to_8bit
from percert.norms import per_sample
from percert.tensors import Images, Vector

#: Bisections between an image and its original, where nothing is known of the threat.
BISECTIONS = 10
#: By how much, in levels, float32 may miss a pixel's level: less than what a ball's edge forgives.
HAIR = 2e-5


@torch.no_grad()
def round_inside(threat: Threat, images: Images, adversarial: Images) -> Images:
    """The 8-bit image nearest to each of ``adversarial`` that the ``threat`` still allows.

    Plain rounding where that is allowed. Where it leads outside, levels go back towards the
    original ones in ``images`` until the image is inside again: for an Lp ball those that rounding
    moved outwards the most (:func:`nearest_in_ball`), for any other threat along the way to the
    original, by bisection. An image that is not allowed to begin with, or has no 8-bit image near
    it that is, is rounded plainly. All are ``(n, 3, h, w)`` in [0, 1].

    >>> ball = LpBall("linf", 1.7 / 255)
    >>> grey = torch.full((1, 3, 1, 1), 100 / 255)
    >>> (255 * round_inside(ball, grey, grey + 1.7 / 255)).flatten()  # 101.7 rounds to 102
    tensor([101., 101., 101.])
    """
    files = round_to_8bit(adversarial)
    if not len(files):
        return files
    led_out = threat.within(images, adversarial) & ~threat.within(images, files)
    rows = led_out.nonzero()[:, 0]
    if not len(rows):
        return files
    if isinstance(threat, LpBall):
        tried = nearest_in_ball(threat, images[rows], adversarial[rows])
    else:
        tried = _on_the_way(threat, images[rows], adversarial[rows])
    inside = threat.within(images[rows], tried)
    files[rows[inside]] = tried[inside]
    return files


def nearest_in_ball(ball: LpBall, images: Images, adversarial: Images) -> Images:
    """8-bit images of the ``ball`` around ``images``, as near to ``adversarial`` as can be.

    For linf the nearest, value by value. For l1 and l2 values go back a level at a time, those
    first for which the square of the distance grows least for what the norm loses: the greedy
    solution of a knapsack, which misses the best by less than one value's level. In l2 that order
    is also the one that keeps most of a linear loss with the direction of the change as its
    gradient. Where no 8-bit image lies in the ball, as can be around an image that is none itself,
    what comes back lies outside.
    """
    level = 255.0
    origin, wanted = (level * batch.double() for batch in (images, adversarial))
    rounded = wanted.clamp(0, level).round()
    if ball.norm == "linf":
        low = (origin - level * ball.eps - HAIR).ceil().clamp(0, level)
        high = (origin + level * ball.eps + HAIR).floor().clamp(0, level)
        found = torch.maximum(torch.minimum(rounded, high), low)
    else:
        power = 1 if ball.norm == "l1" else 2
        budget = (level * ball.eps) ** power
        flat = zip(origin.flatten(1), wanted.flatten(1), rounded.flatten(1), strict=True)
        found = torch.stack([_taken_back(x, y, z, budget, power) for x, y, z in flat])
        found = found.view_as(rounded)
    return round_to_8bit((found / level).to(images.dtype))


def _taken_back(
    origin: Vector, wanted: Vector, levels: Vector, budget: float, power: int
) -> Vector:
    """One image's ``levels``, taken back to within ``budget``: a sum of changes to the power."""
    levels = levels.clone()
    while (excess := float((levels - origin).abs().pow(power).sum()) - budget) > 0:
        back = levels + (origin - levels).sign()
        gain = (levels - origin).abs().pow(power) - (back - origin).abs().pow(power)
        useful = (gain > 0).nonzero()[:, 0]
        if not len(useful):
            return levels
        price = (back - wanted).square() - (levels - wanted).square()
        order = useful[(price[useful] / gain[useful]).argsort()]
        enough = int((gain[order].cumsum(0) < excess).sum()) + 1
        taken = order[:enough]
        levels[taken] = back[taken]
    return levels


def _on_the_way(threat: Threat, images: Images, adversarial: Images) -> Images:
    """The rounded image furthest along the way from each original that was found to be allowed."""
    change = adversarial - images
    best = round_to_8bit(images)
    low = images.new_zeros(len(images))
    high = torch.ones_like(low)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        tried = round_to_8bit(images + per_sample(middle, change) * change)
        inside = threat.within(images, tried)
        best = torch.where(per_sample(inside, tried), tried, best)
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return best
