"""Certificates by random smoothing, for any metric: what LipSim calls loose and expensive.

No property of the metric is used, only samples of it under Gaussian noise G of standard deviation
sigma. Every statement here is of the *smoothed* answer, the one that noisy copies of an image give
most often or in the middle, not of the metric's own; and it holds with a confidence, over the draws
of the noise, not for certain. docs/concepts/smoothing.md has the derivations.

Cohen, Rosenfeld and Kolter (2019) for decisions; Kumar and Goldstein (2021), center smoothing, for
embeddings, on the angle, which obeys the triangle inequality as 1 - cos does not. Shao et al.
(2023) take the safe region of an answer for a decision: for copies, the ball of the threshold.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from percert.binomial import chance_of_hits
from percert.certify.angles import angle
from percert.certify.editing.questions import one_image
from percert.check import check_budget
from percert.metrics.metric import Metric
from percert.tensors import Embeddings, Images, Labels

#: The share of draws that choose the answer before others bound it.
CHOOSING = 0.1


@dataclass(frozen=True)
class Noise:
    """The settings of random smoothing.

    ``sigma`` is the noise's standard deviation in pixel values, ``samples`` how many noisy copies
    are drawn (``batch`` at once, from ``seed``), and ``confidence`` that of every statement. Noisy
    images are clipped to [0, 1] before the metric sees them, as a part of the metric.
    """

    sigma: float = 0.25
    samples: int = 1000
    confidence: float = 0.999
    batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(f"sigma: expected more than 0, found {self.sigma:g}")
        if self.samples < 10 or self.batch < 1:
            raise ValueError(
                f"samples: expected at least 10 in batches of at least 1, found {self.samples} "
                f"and {self.batch}"
            )
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence: expected between 0 and 1, found {self.confidence:g}")

    def draws(
        self, image: Images, seen: Callable[[Images], Tensor], first: int, count: int
    ) -> Tensor:
        """What ``seen`` returns for noisy copies ``first`` to ``first + count`` of the one image.

        Copy i depends on the seed and on i alone, so that a run that was cut resumes.
        """
        found = []
        for start in range(first, first + count, self.batch):
            numbers = range(start, min(start + self.batch, first + count))
            noise = torch.stack([self._one(image, number) for number in numbers])
            with torch.no_grad():
                found.append(seen((image + noise).clamp(0, 1)).cpu())
        return torch.cat(found)

    def _one(self, image: Images, number: int) -> Tensor:
        generator = torch.Generator().manual_seed((self.seed << 32) + number)
        drawn = torch.randn(image.shape[1:], generator=generator, dtype=image.dtype)
        return self.sigma * drawn.to(image.device)


@dataclass(frozen=True)
class SmoothedDecision:
    """The smoothed ``decision``, which no l2 change of less than ``radius`` turns round.

    With probability ``confidence`` over the draws; a radius of 0 abstains. ``share`` is what the
    share of noisy copies with this decision is at least, ``samples`` how many were embedded.
    """

    decision: int
    radius: float
    share: float
    samples: int
    confidence: float


def smoothed_decision(
    image: Images, decide: Callable[[Images], Labels], noise: Noise
) -> SmoothedDecision:
    """The decision that noisy copies of ``image`` ``(1, 3, h, w)`` give most often, and its radius.

    ``decide`` maps ``(n, 3, h, w)`` in [0, 1] to class numbers ``(n,)``. With p a lower bound of
    the chance of the decision, above 1/2, it stands for l2 < sigma Phi^-1(p): Cohen et al. (2019),
    Theorem 1, the others' chance bounded by 1 - p.

    >>> grey = torch.full((1, 3, 8, 8), 0.6)
    >>> bright = lambda images: (images.mean((1, 2, 3)) > 0.5).long()
    >>> found = smoothed_decision(grey, bright, Noise(sigma=0.1, samples=200))
    >>> found.decision, 0.15 < found.radius < 0.2
    (1, True)
    """
    drawn = noise.draws(one_image(image, "image"), decide, 0, noise.samples)
    return decision_of_draws(drawn.long(), noise)


def decision_of_draws(drawn: Labels, noise: Noise) -> SmoothedDecision:
    """:func:`smoothed_decision` of the decisions ``(samples,)`` of noisy copies."""
    choosing = max(1, round(CHOOSING * len(drawn)))
    decision = int(drawn[:choosing].bincount().argmax())
    rest = drawn[choosing:]
    share = chance_of_hits(int((rest == decision).sum()), len(rest), 1 - noise.confidence)[0]
    radius = noise.sigma * NormalDist().inv_cdf(share) if share > 0.5 else 0.0
    return SmoothedDecision(decision, radius, share, len(drawn), noise.confidence)


def smoothed_twoafc(
    metric: Metric, reference: Images, left: Images, right: Images, noise: Noise
) -> SmoothedDecision:
    """Which of ``left`` (0) and ``right`` (1) is closer to noisy references, by any metric."""

    def decide(noisy: Images) -> Labels:
        pair = [metric(noisy, other.expand(len(noisy), -1, -1, -1)) for other in (left, right)]
        return (pair[1] < pair[0]).long()

    return smoothed_decision(reference, decide, noise)


def smoothed_copies(
    metric: Metric, reference: Images, candidate: Images, threshold: float, noise: Noise
) -> SmoothedDecision:
    """Whether noisy candidates lie within ``threshold`` of the reference (1) or not (0).

    The safe region of Shao et al. (2023) for this answer: no triangle inequality is needed.
    """

    def decide(noisy: Images) -> Labels:
        return (metric(reference.expand(len(noisy), -1, -1, -1), noisy) <= threshold).long()

    return smoothed_decision(candidate, decide, noise)


@dataclass(frozen=True)
class SmoothedEmbedding:
    """The smoothed direction ``centre`` ``(k,)`` of an image, which turns by at most ``turn``.

    For every l2 change of at most ``eps``, with probability ``confidence`` over the draws, in
    radians; ``None`` where it abstains. ``samples`` were embedded.
    """

    centre: Tensor
    turn: float | None
    eps: float
    samples: int
    confidence: float


def centre_smoothing(
    image: Images, embed: Callable[[Images], Embeddings], eps: float, noise: Noise
) -> SmoothedEmbedding:
    """The centre of where noisy copies of ``image`` are embedded, and how far ``eps`` turns it.

    ``embed`` maps ``(n, 3, h, w)`` to ``(n, k)``, of which only directions count. Half of the draws
    choose the centre, among them: the one whose cap over more than half of them, with D to spare,
    is smallest. The other half bound the radius R of the cap around it that holds the share
    Phi(Phi^-1(1/2 + 2 D) + eps / sigma) of all. After a move of eps it still holds 1/2 + 2 D, so
    the cap that is chosen there, around a draw in it, has a radius of at most 2 R and holds more
    than half of all: the two overlap, and the centre turns by at most 3 R. Kumar and Goldstein
    (2021), Theorems 1 and 2. The confidence is for each of the two images.
    """
    drawn = noise.draws(one_image(image, "image"), embed, 0, noise.samples)
    return centre_of_draws(drawn, eps, noise)


def centre_of_draws(drawn: Embeddings, eps: float, noise: Noise) -> SmoothedEmbedding:
    """:func:`centre_smoothing` of the embeddings ``(samples, k)`` of noisy copies."""
    eps = check_budget(eps)
    half = len(drawn) // 2
    units = drawn.double()
    units = units / units.norm(dim=1, keepdim=True).clamp_min(1e-300)
    chosen, others = units[:half], units[half : 2 * half]
    # Dvoretzky, Kiefer and Wolfowitz: how far the shares in caps may be off, around any of the
    # draws (each a centre, for which the others are independent) and around the centre, half the
    # risk for each.
    risk = (1 - noise.confidence) / 2
    spare = math.sqrt(math.log(2 * half / risk) / (2 * (half - 1)))
    normal = NormalDist()

    between = torch.stack([angle(chosen, one[None]) for one in chosen])
    middle = min(half - 1, math.ceil((0.5 + spare) * half))
    centre = chosen[int(between.sort(dim=1).values[:, middle].argmin())]
    rest = angle(others, centre[None]).sort().values
    start = 0.5 + 2 * spare
    share = normal.cdf(normal.inv_cdf(start) + eps / noise.sigma) + spare if start < 1 else 1.0
    at = math.ceil(share * half)
    turn = None if share >= 1 or at >= half else min(3 * float(rest[at]), math.pi)
    return SmoothedEmbedding(centre, turn, eps, 2 * half, noise.confidence)
