"""What an attack may do to an image, and rounding to 8 bits without leaving that."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, final

import torch
from torch import Tensor

from percert.attacks.attack import for_images
from percert.check import check_budget, check_choice
from percert.images import round_to_8bit
from percert.metrics.metric import Distance
from percert.tensors import Images, Vector, l2_norm, linf_norm, per_sample, project_l2

Norm: TypeAlias = Literal["l1", "l2", "linf"]
NORMS: tuple[Norm, ...] = ("l1", "l2", "linf")
#: A budget: a number for all images, or a tensor ``(n,)`` of one an image.
Eps: TypeAlias = float | Tensor
#: Share of eps by which float rounding may carry a projected image over the edge.
SLACK = 1e-5


class Threat(Protocol):
    """``within(reference, candidate)`` says of each image, ``(n,)``, whether it was allowed."""

    def within(self, reference: Images, candidate: Images, /) -> Tensor: ...


@final
@dataclass(frozen=True)
class LpBall:
    """All images in [0, 1] within ``eps`` of the reference in the l1, l2 or linf norm of pixels.

    ``eps`` is a number, or a tensor ``(n,)`` of one an image.

    >>> ball = LpBall(norm="linf", eps=torch.tensor([0.1, 0.2]))
    >>> ball.project(torch.zeros(2, 3, 1, 1), torch.full((2, 3, 1, 1), 0.5)).flatten(1)
    tensor([[0.1000, 0.1000, 0.1000],
            [0.2000, 0.2000, 0.2000]])
    """

    norm: Norm
    eps: Eps

    def __post_init__(self) -> None:
        check_choice(self.norm, NORMS, "norm")
        check_eps(self.eps)

    def within(self, reference: Images, candidate: Images) -> Tensor:
        radius = per_image(self.eps, reference, torch.float64)
        return length(candidate - reference, self.norm) <= radius * (1 + SLACK) + 1e-7

    def project(self, reference: Images, candidate: Images) -> Images:
        """An image of the ball for each candidate: the nearest one for linf; for l1 and l2 the
        nearest of the unclipped ball, clipped to [0, 1], which leaves it inside.
        """
        change = project(candidate - reference, self.norm, per_image(self.eps, reference))
        return (reference + change).clamp(0, 1)

    def select(self, index: Tensor) -> "LpBall":
        """The ball of the images at ``index``."""
        return for_images(self, index)


@final
@dataclass(frozen=True)
class MetricBall:
    """All images within ``eps`` of the reference in a perceptual metric."""

    metric: Distance
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


def select_threat(threat: Threat, index: Tensor) -> Threat:
    """What the ``threat`` allows the images at ``index``, where it knows images apart."""
    select = getattr(threat, "select", None)
    chosen: Threat = threat if select is None else select(index)
    return chosen


def check_eps(eps: Eps, name: str = "eps") -> None:
    """Raise ``ValueError`` unless ``eps`` is finite and at least 0, ``(n,)`` if a tensor.

    >>> check_eps(torch.tensor([0.5, -1.0]))
    Traceback (most recent call last):
    ValueError: eps: expected finite numbers of at least 0, one an image, found -1.0
    """
    if not isinstance(eps, Tensor) or not eps.ndim:
        check_budget(float(eps), name)
        return
    if eps.ndim != 1 or not eps.is_floating_point():
        raise ValueError(
            f"{name}: expected a number, or floats of shape (n,), found {eps.dtype} of shape "
            f"{tuple(eps.shape)}"
        )
    wrong = eps[~(eps.isfinite() & (eps >= 0))]
    if len(wrong):
        raise ValueError(
            f"{name}: expected finite numbers of at least 0, one an image, found {wrong[0].item()}"
        )


def per_image(
    value: Eps, images: Images, dtype: torch.dtype | None = None, *, name: str = "eps"
) -> Vector:
    """``value`` of each image, ``(n,)``, on their device, in their precision unless told.

    Raises ``ValueError`` for a tensor of another length.
    """
    dtype = dtype or images.dtype
    if not isinstance(value, Tensor) or not value.ndim:
        return torch.full((len(images),), float(value), dtype=dtype, device=images.device)
    if len(value) != len(images):
        raise ValueError(
            f"{name}: expected one number or {len(images)}, one an image, found {len(value)}"
        )
    return value.to(images.device, dtype)


def length(change: Tensor, norm: Norm) -> Vector:
    """The norm of each sample of ``(n, ...)``, shape ``(n,)``."""
    if norm == "l1":
        return change.flatten(1).abs().sum(1)
    return l2_norm(change) if norm == "l2" else linf_norm(change)


def project(change: Tensor, norm: Norm, radius: Vector) -> Tensor:
    """The nearest point of each sample's ball of ``radius`` (``(n,)``) around 0."""
    if norm == "l1":
        return project_l1(change, radius)
    if norm == "l2":
        return project_l2(change, radius)
    edge = per_sample(radius, change)
    return change.clamp(-edge, edge)


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
    led_out = threat.within(images, adversarial) & ~threat.within(images, files)
    rows = led_out.nonzero()[:, 0]
    if len(rows):
        some, origin = select_threat(threat, rows), images[rows]
        if isinstance(some, LpBall):
            tried = nearest_in_ball(some, origin, adversarial[rows])
        else:
            tried = _on_the_way(some, origin, adversarial[rows])
        inside = some.within(origin, tried)
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
    reach = level * per_image(ball.eps, images, torch.float64)
    rounded = wanted.clamp(0, level).round()
    if ball.norm == "linf":
        edge = per_sample(reach, images) + HAIR
        low, high = (origin - edge).ceil(), (origin + edge).floor()
        found = torch.maximum(torch.minimum(rounded, high.clamp(0, level)), low.clamp(0, level))
    else:
        power = 1 if ball.norm == "l1" else 2
        rows = zip(origin.flatten(1), wanted.flatten(1), rounded.flatten(1), reach, strict=True)
        levels = [_taken_back(x, y, z, float(most) ** power, power) for x, y, z, most in rows]
        found = torch.stack(levels).view_as(rounded)
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
