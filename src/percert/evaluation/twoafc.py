"""Every triplet of a 2AFC data set: the metric's choice, what is proven of it, what attacks do.

LipSim (Ghazanfari et al., ICLR 2024), section 5. One row for each triplet as it is (attack
``none``) and one for each attack on it; :mod:`percert.evaluation.twoafc_scores` sums them up.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.data.triplet import Triplet
from percert.evaluation.twoafc_batch import CLEAN, COLUMNS, Loaded, TripletBatch, TwoAFCRun
from percert.images import ImageError, round_to_8bit

__all__ = ["CLEAN", "COLUMNS", "Evaluated", "TwoAFCRun", "evaluate_twoafc", "resized"]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What came of a step: rows, or the name of what could not be read (``bad``) and why."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    bad: str | None = None
    reason: str = ""


def evaluate_twoafc(
    run: TwoAFCRun, triplets: Iterable[Triplet], done: frozenset[tuple[str, str]] = frozenset()
) -> Iterator[Evaluated]:
    """Evaluate ``triplets`` as they come; yields rows of :data:`COLUMNS`, batch by batch.

    What is ``done`` already, (image, attack), is left out. A right choice alone is attacked: what
    is wrong cannot get worse. Raises :class:`~percert.evaluation.twoafc_check.BrokenCertificate`
    as soon as an attack succeeds inside of a certified radius.
    """
    wanted = (CLEAN, *run.attacks)
    for some in _of_one_size(run, triplets, wanted, done):
        if isinstance(some, Evaluated):
            yield some
            continue
        batch = TripletBatch(run, some)
        if any((triplet.name, CLEAN) not in done for triplet, _ in some):
            yield Evaluated([batch.clean_row(i) for i in range(len(some))])
        for name, planned in run.attacks.items():
            left = [i for i, (triplet, _) in enumerate(some) if (triplet.name, name) not in done]
            if left:
                yield Evaluated(batch.attack_rows(planned, left))


def _of_one_size(
    run: TwoAFCRun, triplets: Iterable[Triplet], wanted: Sequence[str], done: frozenset[Any]
) -> Iterator[list[Loaded] | Evaluated]:
    """Batches of triplets whose images have the same sizes, full ones where possible."""
    waiting: dict[tuple[torch.Size, ...], list[Loaded]] = {}
    for triplet in triplets:
        if all((triplet.name, attack) in done for attack in wanted):
            continue
        try:
            images = run.load(triplet)
        except ImageError as error:
            yield Evaluated(bad=triplet.name, reason=str(error))
            continue
        reference, left, right = (resized(image, run.size) for image in images)
        sizes = (reference.shape, left.shape, right.shape)
        waiting.setdefault(sizes, []).append((triplet, (reference, left, right)))
        if len(waiting[sizes]) >= run.batch_size:
            yield waiting.pop(sizes)
        elif sum(map(len, waiting.values())) >= 8 * run.batch_size:
            yield waiting.pop(max(waiting, key=lambda found: len(waiting[found])))
    yield from waiting.values()


def resized(image: Tensor, size: tuple[int, int] | None) -> Tensor:
    """An image ``(3, h, w)`` at ``size``, bicubic with antialiasing and rounded to 8 bits."""
    if size is None or tuple(image.shape[1:]) == tuple(size):
        return image
    smaller = F.interpolate(image[None], size, mode="bicubic", antialias=True)
    return round_to_8bit(smaller.clamp(0, 1))[0]
