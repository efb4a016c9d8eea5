"""What is left under real attacks: copies pushed out, and strangers pulled in, on a stated subset.

Every run checks that certified <= attacked <= natural, image by image.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from percert.data.copy_edits import find_edit
from percert.evaluation.copies_attack import collide, evade, random_start
from percert.evaluation.copies_budget import SIDE, scaled
from percert.evaluation.copies_detector import Detector
from percert.evaluation.copies_edited import edited
from percert.evaluation.copies_gallery import Gallery, view_radii
from percert.evaluation.copies_pictures import as_tensor, batches_of_one_size
from percert.evaluation.copies_rates import least_psnr
from percert.images import round_to_8bit
from percert.norms import l2_norm

ATTACK_BUDGETS = (1.0, 4.0, 16.0)
#: How many images are attacked together.
TOGETHER = 16

Flags = npt.NDArray[np.bool_]
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
    """The subset, the attack, and what is left; ``natural`` is the share right without attack.

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
class Pair:
    """A query and the image of the gallery that it is a copy of, or is to be taken for.

    ``picture`` is the place of the query among the pictures, ``edit`` its edit (``None`` for the
    picture as it is), ``place`` that of the image in the gallery.
    """

    picture: int
    edit: str | None
    place: int


@dataclass(frozen=True, eq=False)
class Outcome:
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
    wanted: Sequence[Pair],
    threshold: float,
    *,
    copies: bool,
    steps: int,
    seed: int,
    budgets: Sequence[float] = ATTACK_BUDGETS,
    side: int = SIDE,
    keep: Callable[[str, Callable[[], Outcome]], Outcome] = lambda name, make: make(),
    done: Callable[[int], object] = lambda count: None,
) -> AttackedRates:
    """Attack the ``wanted`` pairs at growing ``budgets``; right is a copy that is found, or, with
    ``copies=False``, a stranger that is refused.

    What one budget turns round stays so at larger ones; the others start from what the smaller
    budget found. ``done`` is told how many pairs are done. Raises ``ValueError`` where an attack
    beats a certificate, or anything else breaks certified <= attacked <= natural.
    """
    budgets = sorted(budgets)
    parts = []
    for some, images in _batches(pictures, wanted, seed):

        def attack(some: list[Pair] = some, images: Tensor = images) -> Outcome:
            return _attack(
                detector, gallery, some, images, threshold, copies, steps, seed, budgets, side
            )

        parts.append(keep(repr(some), attack))
        done(len(some))
    return rates_of(parts, detector.name, wanted, threshold, steps, budgets, side)


def rates_of(
    parts: Sequence[Outcome],
    name: str,
    wanted: Sequence[Pair],
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
        check_order(name, eps, natural, right[row], None if radii is None else radii > eps)
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


def check_order(name: str, eps: float, natural: Flags, right: Flags, proven: Flags | None) -> None:
    """Raise ``ValueError`` unless what is proven is right under attack, and that without.

    >>> yes, no = np.array([True]), np.array([False])
    >>> check_order("thumbnail", 1.0, natural=yes, right=no, proven=yes)
    Traceback (most recent call last):
    ValueError: thumbnail: an attack broke a certificate at l2 = 1
    """
    if proven is not None and (proven & ~right).any():
        raise ValueError(f"{name}: an attack broke a certificate at l2 = {eps:g}")
    if (right & ~natural).any():
        raise ValueError(f"{name}: right under attack at l2 = {eps:g}, but wrong without")


def _batches(
    pictures: Sequence[Image.Image], wanted: Sequence[Pair], seed: int
) -> Iterator[tuple[list[Pair], Tensor]]:
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
    wanted: Sequence[Pair],
    images: Tensor,
    threshold: float,
    copies: bool,
    steps: int,
    seed: int,
    budgets: Sequence[float],
    side: int,
) -> Outcome:
    """One batch of images of one size."""
    size = (images.shape[2], images.shape[3])
    places = [pair.place for pair in wanted]
    references = gallery.vectors[places]
    described = detector.describe(images)
    natural = _within(detector, described.vectors, references, threshold) == copies
    radii = None
    if described.features is not None:
        copy, radius = view_radii(gallery, places, described.features, threshold)
        radii = torch.where(copy == copies, radius, 0.0).numpy() / scaled(1.0, size, side)
    # What is wrong anyway is not attacked: nothing is left to turn round.
    best, turned = images.clone(), ~torch.from_numpy(natural)
    right, right_8bit, lengths = [], [], []
    for eps in budgets:
        budget = scaled(eps, size, side)
        left = torch.nonzero(~turned).flatten()
        if len(left) and budget > 0:
            start = best[left] - images[left] + random_start(images[left], budget, seed)
            best[left], turned[left] = (evade if copies else collide)(
                detector, images[left], references[left], threshold, budget, steps, start
            )
        rounded = round_to_8bit(best)
        after = _within(detector, detector.describe(rounded).vectors, references, threshold)
        right.append((~turned).numpy())
        right_8bit.append(after == copies)
        lengths.append((l2_norm(rounded - images) / scaled(1.0, size, side)).double().numpy())
    return Outcome(natural, np.stack(right), np.stack(right_8bit), np.stack(lengths), radii)


def _within(detector: Detector, queries: Tensor, references: Tensor, threshold: float) -> Flags:
    """Whether any view of its own reference is within the threshold of each query, ``(n,)``."""
    nearest = [
        detector.distances(query[None], views).amin()
        for query, views in zip(queries, references, strict=True)
    ]
    return np.asarray(torch.stack(nearest) <= threshold)
