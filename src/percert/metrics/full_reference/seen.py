"""A distance in shares of observers: how many people would notice a change."""

import torch
from torch import Tensor

from percert.metrics.full_reference.gradient_deviation import mdsi
from percert.metrics.full_reference.visibility import visibility, visibility_map
from percert.metrics.metric import Metric
from percert.metrics.seen_study import Coefficients, coefficients
from percert.tensors import Features, Images, Vector


class Seen(Metric):
    """The share of observers who would notice a change, beyond those who see one anywhere.

    Takes two batches ``(n, 3, h, w)`` in [0, 1] of one shape, sides of at least 16 pixels, and
    gives ``(n,)`` in [0, 1]: (share - false alarms) / (1 - false alarms), 0 at identity. That is
    x / (1 + x) with x = ((visibility + w MDSI^4) / half)^slope, contrast masking
    (:mod:`~percert.metrics.full_reference.visibility`) with a part of MDSI, both ways on average,
    and both quadratic in a small change. Three numbers were fitted, to what 35 observers on the web
    said of 40 photographs of 299 px and adversarial versions of them, shown for at most 5 s: for
    other changes, sizes and ways of looking it is a guess.
    :func:`~percert.metrics.seen_study.observers_words` says it with false alarms. Raises
    ``ValueError`` where the shapes differ or a side is too short.

    >>> Seen()(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([0.])
    """

    def forward(self, reference: Tensor, candidate: Tensor) -> Tensor:
        return seen(reference, candidate)


def seen(reference: Images, candidate: Images, fitted: Coefficients | None = None) -> Vector:
    """The share of observers who would notice, ``(n,)``: see :class:`Seen`."""
    fitted = fitted or coefficients()
    evidence = visibility(reference, candidate) + fitted.mdsi_weight * deviation(
        reference, candidate
    )
    there = evidence > 0  # a power below 2 of nothing has no usable gradient
    odds = (torch.where(there, evidence, 1) / fitted.half) ** fitted.slope
    return torch.where(there, odds / (1 + odds), 0)


def deviation(reference: Images, candidate: Images) -> Vector:
    """MDSI^4, the deviation of similarity that MDSI is the fourth root of, both ways on average."""
    return (mdsi(reference, candidate).pow(4) + mdsi(candidate, reference).pow(4)) / 2


@torch.no_grad()
def noticed_map(reference: Images, candidate: Images) -> Features:
    """Where a change would be noticed, ``(n, 1, h, w)`` in [0, 1], black to white.

    White is a change that one in two would notice, were it all over the picture as it is there; it
    takes more where it is in one place alone. Raises as :class:`Seen` does.

    >>> grey = torch.full((1, 3, 64, 64), 0.5)
    >>> dot = grey.clone()
    >>> dot[:, :, 4:8, 50:54] = 0.7
    >>> found = noticed_map(grey, dot)[0, 0]
    >>> found[6, 52].item(), found[60, 4].item() < 0.01
    (1.0, True)
    """
    return (visibility_map(reference, candidate) / coefficients().half).clamp(0, 1)
