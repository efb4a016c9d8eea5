"""What an attack may do to an image."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, final

import torch
from torch import Tensor

from percert.check import check_budget, check_choice
from percert.metrics.metric import Metric
from percert.norms import l2_norm, linf_norm, project_l2
from percert.tensors import Images, Vector

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
