"""For which values of an edit's parameter an answer is proven to stand."""

import time
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from percert.certify.editing.enumerated import walk_values
from percert.certify.editing.families import EditFamily, find_family
from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.questions import CopyQuestion, choice_between, one_image
from percert.certify.editing.walk import Judge, Reached, Walk
from percert.certify.features import embed
from percert.check import check_budget, check_images
from percert.metrics.certified.lipsim import Thumbnail
from percert.metrics.metric import Metric
from percert.tensors import Images

Stopped = Literal["limit", "answer", "budget"]
#: Embeddings that one direction of a range may take.
BUDGET = 400


@dataclass(frozen=True)
class EditRange:
    """The values of an edit's parameter for which an answer is proven.

    All from ``low`` to ``high``, the neutral value among them; ``None`` where nothing is proven
    even of the unedited image. ``stopped_low`` and ``stopped_high`` say why the range ends there:
    "limit" (no further was looked), "answer" (next to it the answer changes, or nothing is proven),
    or "budget" (not known). ``decision`` is the answer. The proof allows for further tampering by
    ``eps`` (l2, in pixels of the edited image), and, with ``rounded``, for rounding the edited
    image to 8 bits. ``evaluations`` counts embeddings.
    """

    edit: str
    decision: int
    low: float | None
    high: float | None
    stopped_low: Stopped
    stopped_high: Stopped
    eps: float
    rounded: bool
    evaluations: int
    seconds: float

    def holds(self, low: float, high: float) -> bool:
        """Whether all values from ``low`` to ``high`` are proven."""
        return (
            self.low is not None and self.high is not None and self.low <= low and high <= self.high
        )


def edits(
    metric: Metric,
    reference: Images,
    candidate: Images,
    edit: str,
    *,
    threshold: float,
    within: tuple[float, float] | None = None,
    eps: float = 0.0,
    rounded: bool = True,
    budget: int = BUDGET,
) -> EditRange:
    """The values of ``edit`` for which the edited candidate is proven to stay a copy, or none.

    ``reference`` and ``candidate`` are one image each, ``(1, 3, h, w)``; ``edit`` is the name of a
    family (:data:`~percert.certify.editing.families.FAMILIES`), and ``within`` (low, high) how far
    to look. All values in the range are proven, not sampled: clipping, rounding to 8 bits (unless
    ``rounded`` is False) and floating point included, and any further tamper of l2 length ``eps``
    on top. ``budget`` bounds the embeddings in each direction. Raises ``ValueError`` for a metric
    without a proven bound and for invalid input. Derived in docs/concepts/certified-edits.md.

    >>> import torch
    >>> from percert.metrics.catalog import create_metric
    >>> metric, photo = create_metric("thumbnail", device="cpu"), torch.eye(32).expand(1, 3, 32, 32)
    >>> found = edits(metric, photo, photo, "brightness", threshold=0.2, within=(0.5, 2.0))
    >>> found.decision, found.low, found.high, found.stopped_low
    (1, 0.5, 2.0, 'limit')
    """
    question = CopyQuestion(embed(metric, one_image(reference, "reference")), threshold)
    return edit_range(
        metric, candidate, question, edit, within=within, eps=eps, rounded=rounded, budget=budget
    )


def edits_twoafc(
    metric: Metric,
    reference: Images,
    left: Images,
    right: Images,
    edit: str,
    *,
    within: tuple[float, float] | None = None,
    eps: float = 0.0,
    rounded: bool = True,
    budget: int = BUDGET,
) -> EditRange:
    """The values of ``edit`` of the reference for which the same candidate stays the closer one.

    The decision is 0 for ``left`` and 1 for ``right``. One image each, ``(1, 3, h, w)``; all else
    as :func:`edits`.

    >>> import torch
    >>> from percert.metrics.catalog import create_metric
    >>> metric, photo = create_metric("thumbnail", device="cpu"), torch.eye(32).expand(1, 3, 32, 32)
    >>> found = edits_twoafc(metric, photo, photo, 1 - photo, "gamma", within=(0.5, 2.0))
    >>> found.decision, found.holds(0.5, 2.0)
    (0, True)
    """
    question = choice_between(metric, left, right)
    return edit_range(
        metric, reference, question, edit, within=within, eps=eps, rounded=rounded, budget=budget
    )


def edited(image: Tensor, edit: str, value: float) -> Tensor:
    """``image`` ``(3, h, w)`` after ``edit`` with the parameter ``value``, float64, not rounded.

    These are the images that :func:`edits` proves something about. Raises ``ValueError`` for an
    edit or a value that does not exist.

    >>> import torch
    >>> edited(torch.full((3, 2, 2), 0.5), "brightness", 3.0).max().item()
    1.0
    """
    family = find_family(edit)
    _check_value(family, value)
    given = check_images(image[None])[0].double()
    if value == family.unchanged:
        return given
    if family.finite is not None:
        return family.finite(given).image(value)
    assert family.path is not None
    # What a network sees of it matters to proofs alone.
    seen = NetworkInput.of(Thumbnail(), (given.shape[1], given.shape[2]))
    return family.path(given, seen).image(value)


def edit_range(
    metric: Metric,
    image: Images,
    question: Judge,
    edit: str,
    *,
    within: tuple[float, float] | None = None,
    eps: float = 0.0,
    rounded: bool = True,
    budget: int = BUDGET,
) -> EditRange:
    """The values of ``edit`` of ``image`` for which the answer to ``question`` is proven."""
    began = time.perf_counter()
    family = find_family(edit)
    low, high = family.limits if within is None else within
    if not low <= family.unchanged <= high:
        raise ValueError(
            f"within: expected a range around {family.unchanged:g}, which is {edit} unchanged, "
            f"found {low:g} to {high:g}"
        )
    for value in (low, high):
        _check_value(family, value)
    eps = check_budget(eps)
    image = one_image(image, "image")
    seen = NetworkInput.of(metric, (image.shape[2], image.shape[3]))
    decision = question(embed(metric, image)).decision
    picture = image[0].double().cpu()
    found: list[Reached] = []
    if family.finite is not None:
        finite = family.finite(picture)
        found = [
            walk_values(
                finite,
                low,
                seen.metric,
                question,
                decision,
                eps=eps,
                rounded=rounded,
                budget=budget,
            )
        ]
        ends = found[0].end, (None if found[0].end is None else family.unchanged)
        stops: tuple[Stopped, Stopped] = (found[0].stopped, "limit")
    else:
        assert family.path is not None
        walk = Walk(
            family.path(picture, seen), seen, question, decision, seen.margin(eps, rounded=rounded)
        )
        for end in (low, high):
            found.append(
                walk.to(family.unchanged, end, step=family.step, least=family.least, budget=budget)
            )
        ends = found[0].end, found[1].end
        stops = (found[0].stopped, found[1].stopped)
    return EditRange(
        edit,
        int(decision.item()),
        *ends,
        *stops,
        eps,
        rounded,
        sum(reached.evaluations for reached in found),
        time.perf_counter() - began,
    )


def _check_value(family: EditFamily, value: float) -> None:
    low, high = family.bounds
    if not low <= value <= high:
        raise ValueError(
            f"{family.name}: expected a value from {low:g} to {high:g}, found {value:g}"
        )
