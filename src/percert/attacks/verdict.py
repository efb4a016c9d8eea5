"""The only place that decides whether an attack succeeded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from percert.attacks.attack import check_attack, evaluating
from percert.attacks.goal import Goal, Model
from percert.attacks.threat import Threat, Unbounded, length, round_inside
from percert.check import check_images, check_same_shape
from percert.images import round_to_8bit
from percert.metrics.metric import Distance
from percert.tensors import Images, Vector


@dataclass(frozen=True, eq=False)
class Verdict:
    """What became of each of n images.

    ``images`` as the attack returned them, ``images_8bit`` as a file holds them: rounded to stay
    within the threat where there is such an image (:mod:`percert.attacks.threat`).
    ``achieved`` and ``achieved_8bit``: the goal is reached by an image that differs from the
    original; ``within_threat`` and ``within_threat_8bit``: it was allowed. ``outside_8bit``: no
    success as a file, but the nearest 8-bit image would reach the goal; it lies outside the threat.
    ``distances``: by name, ``(n,)`` each, of the **8-bit** images from the originals.
    """

    images: Images
    images_8bit: Images
    achieved: Tensor
    achieved_8bit: Tensor
    within_threat: Tensor
    within_threat_8bit: Tensor
    outside_8bit: Tensor
    margin: Vector
    margin_8bit: Vector
    distances: dict[str, Vector]

    @property
    def success(self) -> Tensor:
        """Reached, and allowed, as returned."""
        return self.achieved & self.within_threat

    @property
    def success_8bit(self) -> Tensor:
        """Reached, and allowed, as a file."""
        return self.achieved_8bit & self.within_threat_8bit


def join_verdicts(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict on the images of all, in their order; at least one, with the same distances."""
    values = {
        field.name: torch.cat([getattr(verdict, field.name) for verdict in verdicts])
        for field in fields(Verdict)
        if field.name != "distances"
    }
    distances = {
        name: torch.cat([verdict.distances[name] for verdict in verdicts])
        for name in verdicts[0].distances
    }
    return Verdict(**values, distances=distances)


@torch.no_grad()
def judge(
    model: Model,
    images: Images,
    adversarial: Images,
    goal: Goal | Tensor,
    *,
    threat: Threat | None = None,
    metrics: Mapping[str, Distance] | None = None,
) -> Verdict:
    """Judge ``adversarial`` images of ``images``, both ``(n, 3, h, w)`` in [0, 1].

    Success is decided before and after rounding to 8 bits, which does not lead out of the
    ``threat``: what was allowed (anything where ``None``). ``metrics`` are further distances by
    name; l1, l2 and linf are always there. An unchanged image is no adversarial image, even where
    the model was wrong to begin with. Raises ``ValueError`` for batches that do not fit, for pixels
    that are NaN or outside [0, 1], and for scores that are NaN or infinite.

    >>> from percert.attacks.goal import Untargeted
    >>> model = lambda images: torch.stack([1 - images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1)
    >>> black = torch.zeros(1, 3, 4, 4)
    >>> verdict = judge(model, black, black + 0.7, Untargeted(torch.tensor([0])))
    >>> verdict.success_8bit, round(verdict.distances["linf"].item(), 4)
    (tensor([True]), 0.698)
    """
    goal = check_attack(images, goal)
    check_images(adversarial, "adversarial")
    check_same_shape(images, adversarial, "adversarial")
    threat = threat or Unbounded()
    nearest = round_to_8bit(adversarial)
    with evaluating(model):
        files = round_inside(threat, images, adversarial)
        margin = _margin(model, adversarial, goal)
        margin_8bit = _margin(model, files, goal)
        within_8bit = threat.within(images, files)
        achieved_8bit = (margin_8bit > 0) & _differs(images, files)
        reached_outside = achieved_8bit & ~within_8bit
        moved = _differs(nearest, files).nonzero()[:, 0]
        margin_outside = _margin(model, nearest[moved], goal.select(moved))
        reached_outside[moved] = margin_outside > 0
    change = files - images
    distances = {
        "l1": length(change, "l1"),
        "l2": length(change, "l2"),
        "linf": length(change, "linf"),
    }
    for name, metric in (metrics or {}).items():
        distances[name] = metric(images, files) if len(images) else images.new_zeros(0)
    return Verdict(
        images=adversarial,
        images_8bit=files,
        achieved=(margin > 0) & _differs(images, adversarial),
        achieved_8bit=achieved_8bit,
        within_threat=threat.within(images, adversarial),
        within_threat_8bit=within_8bit,
        outside_8bit=reached_outside & ~(achieved_8bit & within_8bit),
        margin=margin,
        margin_8bit=margin_8bit,
        distances=distances,
    )


def _margin(model: Model, images: Images, goal: Goal) -> Vector:
    return goal.margin(goal.scores(model, images)) if len(images) else images.new_zeros(0)


def _differs(images: Images, others: Images) -> Tensor:
    return (images != others).flatten(1).any(1)
