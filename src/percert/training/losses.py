"""Losses in raw radii: they push the very numbers that a certificate states.

All angles are between raw embeddings h, all radii in units of the network's own input pixels, so a
margin of 1 is an l2 length of 1 at the network's resolution. Norms are never penalised and nothing
is normalised before the margin: a larger norm is a larger radius.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.tensors import Embeddings, Labels, Vector

#: arccos has an infinite slope at 1; angles are kept this far from it.
SLACK = 1e-5


def copy_radii(
    candidate: Embeddings, reference: Embeddings, threshold_angle: float
) -> tuple[Vector, Tensor]:
    """Radii of "candidate i is a copy of reference i", and of "it is no copy of reference j".

    ``n sin(tau - theta)`` and ``n sin(theta - tau)``, negative where the decision is wrong: shapes
    ``(n,)`` and ``(n, n)``. The candidate moves (CERTIFICATES, "copies").

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
    photograph: Labels,
    *,
    threshold_angle: float,
    margin: float,
    temperature: float,
    hardest: float,
) -> Tensor:
    """Softplus of the missing radius: all copies, and the ``hardest`` share of the other pairs.

    Pairs of the same ``photograph`` that are not the very pair are neither copies nor strangers.
    """
    stays, differs = copy_radii(candidate, reference, threshold_angle)
    strangers = differs[photograph[:, None] != photograph[None]]
    missing_copies = _softplus(margin - stays, temperature)
    missing_strangers = _softplus(margin - strangers, temperature)
    worst = missing_strangers.topk(max(1, int(hardest * len(missing_strangers)))).values
    return missing_copies.mean() + worst.mean()


def twoafc_radii(reference: Embeddings, closer: Embeddings, further: Embeddings) -> Vector:
    """The radius of "``closer`` is closer" when the reference moves, negative where it is wrong.

    ``<h, g_0 - g_1> / |g_0 - g_1|`` with unit g: equation 8 of LipSim times the norm of h.

    >>> left, right = torch.eye(2).split(1)
    >>> twoafc_radii(3 * left, left, right)
    tensor([2.1213])
    """
    difference = F.normalize(closer, dim=1) - F.normalize(further, dim=1)
    radii: Tensor = (reference * difference).sum(1) / difference.norm(dim=1).clamp_min(1e-6)
    return radii


def twoafc_loss(
    reference: Embeddings,
    closer: Embeddings,
    further: Embeddings,
    *,
    margin: float,
    temperature: float,
) -> Tensor:
    """Softplus of the missing 2AFC radius."""
    return _softplus(margin - twoafc_radii(reference, closer, further), temperature).mean()


def distillation_loss(standard: Embeddings, jittered: Embeddings, target: Embeddings) -> Tensor:
    """LipSim's two pipelines (section 4.2): RMSE of each to the teacher, and of one to the other.

    ``target`` is ``(n, d)``; the first d coordinates of the student's embeddings imitate it.
    """
    d = target.shape[1]
    return (
        rmse(standard[:, :d], target)
        + rmse(jittered[:, :d], target)
        + rmse(standard[:, :d], jittered[:, :d])
    )


def _softplus(values: Tensor, temperature: float) -> Tensor:
    return F.softplus(values / temperature) * temperature


def rmse(first: Embeddings, second: Embeddings) -> Tensor:
    """The mean over images of the l2 distance of two embeddings, a number.

    A sum over coordinates and not their mean: it differs from the root of the mean square by the
    constant sqrt(d), and is in the units of radii.

    >>> import torch
    >>> rmse(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
    tensor(5.)
    """
    # A root has no slope at 0.
    return (first - second).square().sum(1).clamp_min(1e-12).sqrt().mean()
