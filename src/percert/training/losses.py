"""Losses on embeddings: margins in raw radii, the paper's hinge, and the imitation of a teacher.

All angles are between raw embeddings h, all radii in units of the network's own input pixels, so a
margin of 1 is an l2 length of 1 at the network's resolution: the losses push the very numbers that
a certificate states. Norms are never penalised and nothing is normalised before the margin, so that
a longer embedding has a larger radius.
"""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.metrics.certified.embedding import cosine_distance, direction
from percert.tensors import Embeddings, Labels, Vector

#: arccos and arcsin have infinite slopes at 1; they are kept this far from it.
SLACK = 1e-5


def copy_radii(
    candidate: Embeddings, reference: Embeddings, threshold_angle: float
) -> tuple[Vector, Tensor]:
    """Radii of "candidate i is a copy of reference i", and of "it is no copy of reference j".

    ``n sin(tau - theta)`` and ``n sin(theta - tau)``, negative where the decision is wrong: shapes
    ``(n,)`` and ``(n, m)`` for m >= n references. The candidate moves (CERTIFICATES, "copies").

    >>> h = torch.eye(2)
    >>> stays, differs = copy_radii(2 * h, h, torch.pi / 2)
    >>> [round(r, 2) for r in stays.tolist()], round(differs[0, 1].item(), 2)
    ([2.0, 2.0], 0.0)
    """
    norm = candidate.norm(dim=1)
    cosine = F.normalize(candidate, dim=1) @ F.normalize(reference, dim=1).T
    angle = torch.arccos(cosine.clamp(-1 + SLACK, 1 - SLACK))
    stays = norm * torch.sin(threshold_angle - angle.diagonal())
    return stays, norm[:, None] * torch.sin(angle - threshold_angle)


def copy_loss(
    candidate: Embeddings,
    reference: Embeddings,
    strangers: Tensor,
    *,
    threshold_angle: float,
    margin: float,
    temperature: float,
    hardest: float,
) -> Tensor:
    """Softplus of the missing radius: all copies, and the ``hardest`` share of the strangers.

    The first n references are those of the n candidates; more may follow. ``strangers`` ``(n, m)``
    are the pairs that are no copies; others off the diagonal do not count.
    """
    stays, differs = copy_radii(candidate, reference, threshold_angle)
    missing_copies = _softplus(margin - stays, temperature).mean()
    missing_strangers = _softplus(margin - differs[strangers], temperature)
    if not len(missing_strangers):  # all of a small batch show one picture
        return missing_copies
    worst = missing_strangers.topk(max(1, int(hardest * len(missing_strangers)))).values
    return missing_copies + worst.mean()


def kept_loss(
    candidate: Embeddings,
    reference: Embeddings,
    *,
    threshold_angle: float,
    margin: float,
    temperature: float,
) -> Tensor:
    """Softplus of the radius that "candidate i is a copy of reference i" misses.

    >>> h = torch.eye(2)
    >>> loss = kept_loss(9 * h, h, threshold_angle=torch.pi / 2, margin=9, temperature=1.0)
    >>> round(loss.item(), 2)  # log 2: just the margin
    0.69
    """
    stays, _ = copy_radii(candidate, reference, threshold_angle)
    return _softplus(margin - stays, temperature).mean()


def twoafc_loss(
    reference: Embeddings,
    closer: Embeddings,
    further: Embeddings,
    *,
    margin: float,
    temperature: float,
) -> Tensor:
    """Softplus of the radius that "``closer`` is closer" misses when the reference moves."""
    return _softplus(margin - signed_radius(reference, closer, further), temperature).mean()


def class_loss(
    embeddings: Embeddings, labels: Labels, *, margin: float, temperature: float
) -> Tensor:
    """The 2AFC loss of every image, its partner of the same class, and every image of another.

    Rows 2i and 2i + 1 are partners. 0 where all are of one class. As :func:`twoafc_loss` with each
    pair and third, in ``(n, n)`` numbers: <h, u>/|u| follows from the inner products alone.
    """
    others = labels[:, None] != labels[None]
    if not bool(others.any()):  # nothing to compare
        return embeddings.sum() * 0
    units = F.normalize(embeddings, dim=1)
    partner = torch.arange(len(labels), device=labels.device) ^ 1
    along = embeddings @ units.T
    near = along.gather(1, partner[:, None])
    between = (2 - 2 * (units[partner] @ units.T)).clamp_min(1e-12).sqrt()
    missing = _softplus(margin - (near - along) / between, temperature)
    return missing[others].mean()


def distillation_loss(standard: Embeddings, jittered: Embeddings, target: Embeddings) -> Tensor:
    """LipSim's two pipelines (section 4.2): lengths of each less the teacher, and less the other.

    ``target`` is ``(n, d)``; the first d coordinates of the student's embeddings imitate it.
    """
    d = target.shape[1]
    return (
        mean_length(standard[:, :d], target)
        + mean_length(jittered[:, :d], target)
        + mean_length(standard[:, :d], jittered[:, :d])
    )


def _softplus(values: Tensor, temperature: float) -> Tensor:
    return F.softplus(values / temperature) * temperature


def rmse(first: Embeddings, second: Embeddings) -> Tensor:
    """The root of the mean square over images and coordinates, LipSim's loss (section 5.2).

    >>> rmse(torch.tensor([[6.0, 8.0], [0.0, 0.0]]), torch.zeros(2, 2))
    tensor(5.)
    """
    # A root has no slope at 0.
    return (first - second).square().mean().clamp_min(1e-12).sqrt()


def mean_length(first: Embeddings, second: Embeddings) -> Tensor:
    """The mean over images of the l2 distance of two embeddings, in the units of radii.

    Each image counts by its length, where :func:`rmse` counts it by the square of it.

    >>> mean_length(torch.tensor([[6.0, 8.0], [0.0, 0.0]]), torch.zeros(2, 2))
    tensor(5.0000)
    """
    # A root has no slope at 0.
    return (first - second).square().sum(1).clamp_min(1e-12).sqrt().mean()


def relational_loss(student: Embeddings, teacher: Embeddings) -> Tensor:
    """The mean squared difference of the cosines between images, of student and teacher.

    Over all pairs of different images; 0 for fewer than two. It asks for the teacher's angles and
    leaves lengths and rotations free.

    >>> h = torch.randn(5, 3)
    >>> relational_loss(7 * h, h).item() < 1e-12
    True
    """
    count = len(student)
    if count < 2:
        return student.sum() * 0
    ours, theirs = (F.normalize(x, dim=1) for x in (student, teacher))
    difference = (ours @ ours.T - theirs @ theirs.T).square()
    return (difference.sum() - difference.diagonal().sum()) / (count * (count - 1))


Moving: TypeAlias = Literal["reference", "candidates", "all"]
#: Halvings of the bracket of the radius where all three images move: to a millionth of it.
HALVINGS = 24


def hinge_loss(
    reference: Embeddings,
    left: Embeddings,
    right: Embeddings,
    sign: Vector,
    *,
    margin: float,
    constant: float = 1.0,
) -> Tensor:
    """max(0, margin - sign (d_1 - d_0)), each triplet's, ``(n,)``; d = 1 - cosine of ``[h; c]``.

    The loss of LipSim's second step (section 5.2; margins 0.05, as DreamSim has, 0.2 and 0.5). It
    sees directions alone: a longer embedding, whose radius is larger, has the same loss.

    >>> one, other = torch.eye(2).split(1)
    >>> hinge_loss(one, one, other, torch.ones(1), margin=0.5, constant=0.0)
    tensor([0.])
    >>> hinge_loss(one, one, other, -torch.ones(1), margin=0.5, constant=0.0)
    tensor([1.5000])
    """
    gap = cosine_distance(reference, right, constant) - cosine_distance(reference, left, constant)
    return F.relu(margin - sign * gap)


def signed_radius(
    reference: Embeddings,
    left: Embeddings,
    right: Embeddings,
    *,
    moving: Moving = "reference",
    constant: float = 0.0,
) -> Vector:
    """The radius of "left is closer", ``(n,)``: negative, where right is, by that one's radius.

    In units of the embedding, which are the network's input pixels where its bound is 1. With
    ``"reference"`` it is the exact R_raw = <v, u>/|u_k| for every c, equation 8 of LipSim times the
    norm of h; with ``"candidates"`` and ``"all"``, c = 0, the e at which the embeddings, each moved
    by e, can turn until both candidates are as far: asin(e/n_0) + asin(e/n_1) = D, and 2 asin(e/n)
    more on the left for the second. Differentiable in all.

    >>> one, other = torch.eye(2).split(1)
    >>> signed_radius(3 * one, one, other), signed_radius(3 * one, other, one)
    (tensor([2.1213]), tensor([-2.1213]))
    """
    if moving == "reference":
        u = direction(left, constant) - direction(right, constant)
        v = F.pad(reference, (0, 1), value=constant) if constant else reference
        length = u[:, : reference.shape[1]].norm(dim=1).clamp_min(1e-6)
        radius: Vector = (v * u).sum(1) / length
        return radius
    gap = _angle(reference, right) - _angle(reference, left)
    norms = [left.norm(dim=1), right.norm(dim=1)]
    if moving == "all":
        norm = reference.norm(dim=1)
        norms = [norm, norm, *norms]
    return gap.sign() * _joint_reach(torch.stack(norms), gap.abs())


def raw_margin_loss(
    radius: Vector, sign: Vector, *, margin: float, temperature: float, focus: float = 0.0
) -> Vector:
    """w softplus((margin - sign R)/T), each triplet's, ``(n,)``; margin and T are l2 in pixels.

    ``focus`` is the focal exponent: w = sigmoid((margin - sign R)/T)^focus, without a gradient,
    so that triplets whose radius is large already count less (1 for all at 0).

    >>> raw_margin_loss(torch.tensor([4.0]), torch.ones(1), margin=4.0, temperature=1.0)
    tensor([0.6931])
    """
    missing = (margin - sign * radius) / temperature
    weight = torch.sigmoid(missing.detach()) ** focus
    return weight * F.softplus(missing)


def _angle(first: Embeddings, second: Embeddings) -> Vector:
    cosine = (F.normalize(first, dim=1) * F.normalize(second, dim=1)).sum(1)
    return torch.arccos(cosine.clamp(-1 + SLACK, 1 - SLACK))


def _joint_reach(norms: Tensor, gap: Vector) -> Vector:
    """e with sum_i asin(e / norms_i) = gap, at most the smallest norm; ``norms`` is ``(m, n)``.

    Found by bisection; one step of Newton's method from there carries the exact gradient.
    """
    norms = norms.clamp_min(1e-6)
    with torch.no_grad():
        low = torch.zeros_like(gap)
        high = norms.amin(0) * (1 - SLACK)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            short = _turn(norms, middle) < gap
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        slope = (1 / (norms.square() - low.square()).sqrt()).sum(0)
    return low - (_turn(norms, low) - gap) / slope


def _turn(norms: Tensor, reach: Vector) -> Vector:
    turned: Vector = torch.asin((reach / norms).clamp(max=1 - SLACK)).sum(0)
    return turned
