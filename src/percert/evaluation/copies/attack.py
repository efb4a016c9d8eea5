"""Attacks on copy detection: copies pushed beyond the threshold, unrelated images pulled below.

The attack is PGD in an l2 ball (:class:`percert.attacks.PGD`). It gives an upper bound of what
remains right; a certificate gives a lower one.

Every run checks that certified <= attacked <= natural, pair by pair, on a stated subset.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from percert.attacks import PGD
from percert.attacks.goal import LossName, Model
from percert.data.copy_edits import find_edit
from percert.evaluation.copies.detector import (
    Asked,
    Described,
    Detector,
    attacked,
    describe_asked,
    features_of,
)
from percert.evaluation.copies.gallery import Gallery, pair_distances, view_radii
from percert.evaluation.copies.pictures import as_tensor, batches_of_one_size, edited
from percert.evaluation.copies.rates import SIDE, least_psnr, scaled
from percert.images import round_to_8bit
from percert.runs.certified import Flags, check_flags
from percert.tensors import Images, Vector, l2_norm, per_sample


@dataclass(frozen=True, eq=False)
class CrossThreshold:
    """The goal of a copy to be missed (``evade``), or of a stranger to be taken for a copy.

    ``references`` ``(n, v, ...)`` are the vectors of v views each, of which the nearest counts, and
    ``asked`` the views of an image that are compared with them (by default the whole with all). The
    scores are the detector's objective and the distance; that distance, before rounding, decides.
    """

    references: Tensor
    threshold: float
    evade: bool
    asked: Asked | None = None

    def __len__(self) -> int:
        return len(self.references)

    def select(self, index: Tensor) -> "CrossThreshold":
        return replace(self, references=self.references[index])

    def scores(self, model: Any, images: Images) -> Tensor:
        objective, distance = attacked(model, images, self.references, self.asked)
        return torch.stack([objective.double(), distance], 1)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Vector:
        objective, distance = scores.unbind(1)
        # Worth the distance itself; the way up is that of the objective, which is smooth.
        value = objective + (distance - objective).detach()
        return value if self.evade else -value

    def margin(self, scores: Tensor) -> Vector:
        # At the threshold itself a pair is a copy: only what is beyond it is missed.
        if self.evade:
            return scores[:, 1] - self.threshold
        return math.nextafter(self.threshold, math.inf) - scores[:, 1]


def cross(
    detector: Detector, goal: CrossThreshold, images: Images, eps: float, steps: int, start: Images
) -> tuple[Images, Tensor]:
    """Images within l2 ``eps`` of ``images`` that reach the ``goal``, or come as near as was found.

    ``images`` is ``(n, 3, h, w)`` in [0, 1]; ``start`` are those to begin with, taken into the
    ball. Returns the images and whether each reaches the goal before rounding.
    """
    # A hair inside, so that the length of a float32 sum is not above eps.
    pgd = PGD(norm="l2", eps=eps * (1 - 1e-6), step=2.5 * eps / steps, steps=steps)
    moved = pgd.climb(cast(Model, detector), images, goal, start=start)
    with torch.no_grad():
        return moved, goal.margin(goal.scores(detector, moved)) > 0


def random_start(images: Images, eps: float, seed: int) -> Tensor:
    """Gaussian noise of l2 length ``eps`` / 10: at equal images the gradient of a distance is 0."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator)
    return noise * per_sample(0.1 * eps / l2_norm(noise), noise)


ATTACK_BUDGETS = (1.0, 4.0, 16.0)
#: How many images are attacked together.
TOGETHER = 16

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AttackedRate:
    """One budget. ``rate`` is the share still right before rounding, ``rate_8bit`` after rounding
    to 8 bits, which moves the image by a length of its own: ``l2_8bit`` is the mean length of the
    whole change then, in the units of ``eps``. ``certified`` is the proven share of the same pairs.
    """

    eps: float
    psnr: float | None
    rate: float
    rate_8bit: float
    l2_8bit: float
    certified: float | None


@dataclass(frozen=True)
class AttackedRates:
    """Rates under attack at each budget; ``natural`` is the share right without attack.

    ``photographs`` counts different pictures, ``pairs`` what was attacked.
    """

    photographs: int
    pairs: int
    edits: list[str]
    steps: int
    threshold: float
    natural: float
    budgets: list[AttackedRate]


@dataclass(frozen=True)
class AttackedPair:
    """A query and the image of the gallery that it is a copy of, or is to be taken for.

    ``picture`` is the place of the query among the pictures, ``edit`` its edit (``None`` for the
    picture as it is), ``place`` that of the image in the gallery.
    """

    picture: int
    edit: str | None
    place: int


@dataclass(frozen=True, eq=False)
class AttackedPairs:
    """Some pairs: ``right`` and ``right_8bit`` ``(budgets, n)``, ``lengths`` likewise; the rest by
    pair. ``radii`` is in the units of the budgets, ``None`` without certificates.
    """

    natural: Flags
    right: Flags
    right_8bit: Flags
    lengths: Numbers
    radii: Numbers | None


def attacked_rates(
    detector: Detector,
    gallery: Gallery,
    pictures: Sequence[Image.Image],
    wanted: Sequence[AttackedPair],
    threshold: float,
    *,
    copies: bool,
    steps: int,
    seed: int,
    budgets: Sequence[float] = ATTACK_BUDGETS,
    side: int = SIDE,
    keep: Callable[[str, Callable[[], AttackedPairs]], AttackedPairs] = lambda name, make: make(),
    done: Callable[[int], object] = lambda count: None,
) -> AttackedRates:
    """Attack the ``wanted`` pairs at growing ``budgets``; right is a copy that is found, or, with
    ``copies=False``, a stranger that is refused.

    What one budget turns round stays so at larger ones; the others start from what the smaller
    budget found. ``done`` is told how many pairs are done. Raises
    :class:`~percert.runs.certified.BrokenCertificate` where an attack beats a certificate, or
    anything else breaks certified <= attacked <= natural.
    """
    budgets = sorted(budgets)
    parts = []
    for some, images in _batches(pictures, wanted, seed):

        def attack(some: list[AttackedPair] = some, images: Tensor = images) -> AttackedPairs:
            return _attack(
                detector, gallery, some, images, threshold, copies, steps, seed, budgets, side
            )

        parts.append(keep(repr(some), attack))
        done(len(some))
    return rates_of(parts, detector.name, wanted, threshold, steps, budgets, side)


def rates_of(
    parts: Sequence[AttackedPairs],
    name: str,
    wanted: Sequence[AttackedPair],
    threshold: float,
    steps: int,
    budgets: Sequence[float],
    side: int,
) -> AttackedRates:
    """The shares of all pairs together, checked."""
    right = np.concatenate([part.right for part in parts], axis=1)
    right_8bit = np.concatenate([part.right_8bit for part in parts], axis=1)
    lengths = np.concatenate([part.lengths for part in parts], axis=1)
    natural = np.concatenate([part.natural for part in parts])
    known = [part.radii for part in parts if part.radii is not None]
    radii = np.concatenate(known) if known else None
    rates = []
    for row, eps in enumerate(budgets):
        check_flags(name, eps, natural, right[row], None if radii is None else radii > eps)
        rates.append(
            AttackedRate(
                eps,
                least_psnr(eps, side),
                float(right[row].mean()),
                float(right_8bit[row].mean()),
                float(lengths[row].mean()),
                None if radii is None else float((radii > eps).mean()),
            )
        )
    return AttackedRates(
        len({pair.picture for pair in wanted}),
        len(wanted),
        list(dict.fromkeys(pair.edit for pair in wanted if pair.edit)),
        steps,
        threshold,
        float(natural.mean()),
        rates,
    )


def _batches(
    pictures: Sequence[Image.Image], wanted: Sequence[AttackedPair], seed: int
) -> Iterator[tuple[list[AttackedPair], Tensor]]:
    queries = (
        (
            number,
            pictures[pair.picture]
            if pair.edit is None
            else edited(pictures, find_edit(pair.edit), seed, [pair.picture])[0],
        )
        for number, pair in enumerate(wanted)
    )
    for numbers, some in batches_of_one_size(queries, TOGETHER):
        yield [wanted[number] for number in numbers], as_tensor(some)


def _attack(
    detector: Detector,
    gallery: Gallery,
    wanted: Sequence[AttackedPair],
    images: Tensor,
    threshold: float,
    copies: bool,
    steps: int,
    seed: int,
    budgets: Sequence[float],
    side: int,
) -> AttackedPairs:
    """One batch of images of one size."""
    size = (images.shape[2], images.shape[3])
    places = [pair.place for pair in wanted]
    references = gallery.vectors[places]
    described = describe_asked(detector, images, gallery.asked)
    natural = _within(detector, described, gallery, places, threshold) == copies
    features, radii = features_of(described), None
    if features is not None:
        copy, radius = view_radii(gallery, places, features, threshold)
        radii = torch.where(copy == copies, radius, 0.0).numpy() / scaled(1.0, size, side)
    # What is wrong anyway is not attacked: nothing is left to turn round.
    best, turned = images.clone(), ~torch.from_numpy(natural)
    right, right_8bit, lengths = [], [], []
    for eps in budgets:
        budget = scaled(eps, size, side)
        left = torch.nonzero(~turned).flatten()
        if len(left) and budget > 0:
            start = best[left] + random_start(images[left], budget, seed)
            goal = CrossThreshold(references[left], threshold, copies, gallery.asked)
            best[left], turned[left] = cross(detector, goal, images[left], budget, steps, start)
        rounded = round_to_8bit(best)
        seen = describe_asked(detector, rounded, gallery.asked)
        after = _within(detector, seen, gallery, places, threshold)
        right.append((~turned).numpy())
        right_8bit.append(after == copies)
        lengths.append((l2_norm(rounded - images) / scaled(1.0, size, side)).double().numpy())
    return AttackedPairs(natural, np.stack(right), np.stack(right_8bit), np.stack(lengths), radii)


def _within(
    detector: Detector,
    described: Mapping[str, Described],
    gallery: Gallery,
    places: Sequence[int],
    threshold: float,
) -> Flags:
    """Whether each query is within the threshold of any view of the image at its place."""
    vectors = {name: one.vectors for name, one in described.items()}
    return np.asarray(pair_distances(detector, vectors, gallery, places) <= threshold)
