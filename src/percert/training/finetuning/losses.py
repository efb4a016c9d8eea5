"""2AFC losses: the paper's hinge on distances, and ours on radii in pixels.

``sign`` is +1 where the left image is the closer one and -1 where the right one is.
"""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.metrics.embedding import cosine_distance, direction
from percert.tensors import Embeddings, Vector

Moving: TypeAlias = Literal["reference", "candidates", "all"]
#: arccos and arcsin have infinite slopes at 1; they are kept this far from it.
SLACK = 1e-5
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

    In units of the embedding, which are the network's input pixels where its bound is 1; nothing is
    normalised, so that a longer embedding has a larger radius. With ``"reference"`` it is the exact
    R_raw = <v, u>/|u_k| for every c; with ``"candidates"`` and ``"all"``, c = 0, the e at which the
    embeddings, each moved by e, can turn until both candidates are as far: asin(e/n_0) +
    asin(e/n_1) = D, and 2 asin(e/n) more on the left for the second. Differentiable in all.

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
