"""What an attack may do to an image, and rounding to 8 bits without leaving that.

What an attack may do to an image.

Rounding to 8 bits without leaving what an attack was allowed.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, final

import torch
from torch import Tensor

from percert.check import check_budget, check_choice
from percert.images import round_to_8bit
from percert.metrics.metric import Metric
from percert.tensors import Images, Vector, l2_norm, linf_norm, per_sample, project_l2

Norm: TypeAlias = Literal["l1", "l2", "linf"]
#: Share of eps by which float rounding may carry a projected image over the edge.
SLACK = 1e-5


class Threat(Protocol):
    """``within(reference, candidate)`` says of each image, ``(n,)``, whether it was allowed."""

    def within(self, reference: Images, candidate: Images, /) -> Tensor: ...


@final
@dataclass(frozen=True)
class LpBall:
    """All images in [0, 1] within ``eps`` of the reference in the l1, l2 or linf norm of pixels.

    >>> ball = LpBall(norm="linf", eps=0.1)
    >>> ball.project(torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), 0.5)).flatten()
    tensor([0.1000, 0.1000, 0.1000])
    """

    norm: Norm
    eps: float

    def __post_init__(self) -> None:
        check_choice(self.norm, ("l1", "l2", "linf"), "norm")
        check_budget(self.eps)

    def within(self, reference: Images, candidate: Images) -> Tensor:
        return length(candidate - reference, self.norm) <= self.eps * (1 + SLACK) + 1e-7

    def project(self, reference: Images, candidate: Images) -> Images:
        """An image of the ball for each candidate: the nearest one for linf; for l1 and l2 the

        nearest of the unclipped ball, clipped to [0, 1], which leaves it inside.
        """
        change = candidate - reference
        radius = change.new_full((len(change),), self.eps)
        if self.norm == "linf":
            change = change.clamp(-self.eps, self.eps)
        elif self.norm == "l2":
            change = project_l2(change, radius)
        else:
            change = project_l1(change, radius)
        return (reference + change).clamp(0, 1)


@final
@dataclass(frozen=True)
class MetricBall:
    """All images within ``eps`` of the reference in a perceptual metric."""

    metric: Metric
    eps: float

    def within(self, reference: Images, candidate: Images) -> Tensor:
        with torch.no_grad():
            return self.metric(reference, candidate) <= self.eps * (1 + SLACK)


@final
@dataclass(frozen=True)
class Unbounded:
    """Every image in [0, 1]: the attack itself looks for a small change."""

    def within(self, reference: Images, candidate: Images) -> Tensor:
        return torch.ones(len(candidate), dtype=torch.bool, device=candidate.device)


def threat_of(attack: object, model: object, images: Images) -> Threat:
    """What the ``attack`` allows itself: its budget, or anything where it says nothing of it.

    >>> from percert.attacks import create_attack
    >>> image = torch.zeros(1, 3, 4, 4)
    >>> threat_of(create_attack("pgd", eps=0.5), None, image)
    LpBall(norm='l2', eps=0.5)
    >>> threat_of(create_attack("ddn"), None, image)
    Unbounded()
    """
    own = getattr(attack, "threat", None)
    found: Threat = own(model, images) if callable(own) else Unbounded()
    return found


def length(change: Tensor, norm: Norm) -> Vector:
    """The norm of each sample of ``(n, ...)``, shape ``(n,)``."""
    if norm == "l1":
        return change.flatten(1).abs().sum(1)
    return l2_norm(change) if norm == "l2" else linf_norm(change)


def project_l1(batch: Tensor, radius: Vector) -> Tensor:
    """The nearest point to each sample in the l1 ball of its ``radius`` (Duchi et al. 2008).

    >>> project_l1(torch.tensor([[3.0, 1.0]]), torch.tensor([2.0]))
    tensor([[2., 0.]])
    """
    flat = batch.flatten(1)
    size = flat.abs()
    ordered = size.sort(dim=1, descending=True).values
    excess = ordered.cumsum(1) - radius[:, None]
    count = torch.arange(1, flat.shape[1] + 1, device=flat.device, dtype=flat.dtype)
    support = (ordered * count > excess).sum(1).clamp_min(1)
    shift = excess.gather(1, support[:, None] - 1)[:, 0] / support
    shift = torch.where(size.sum(1) > radius, shift, 0).clamp_min(0)
    shrunk = flat.sign() * (size - shift[:, None]).clamp_min(0)
    return shrunk.view_as(batch)


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
