"""Certified regions of several parameters: all shifts, all crops, rotation with brightness."""

from dataclasses import dataclass
from functools import partial

from percert.certify.editing.cover import BranchAndBound, Covered, cover
from percert.certify.editing.crops import Crops
from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.questions import CopyQuestion, choice_between, one_image
from percert.certify.editing.rotation_brightness import TurnedBrightness
from percert.certify.editing.shifts import Shifts
from percert.certify.editing.walk import Judge
from percert.certify.features import embed
from percert.check import check_budget
from percert.metrics.metric import Metric
from percert.tensors import Images

#: Margins of crops of larger images are multiples of so many pixels that no more than these differ.
MOST_MARGINS = 32
BUDGET = 20_000
SECONDS = 60.0


@dataclass(frozen=True)
class AllShifts:
    """Every shift by up to ``pixels`` in each direction, fractions of a pixel included.

    Shifts by up to ``known`` are proven already, and skipped.
    """

    pixels: int
    known: int = 0


@dataclass(frozen=True)
class AllCrops:
    """Every crop that keeps at least ``share`` of each side, wherever it lies.

    Margins are multiples of ``step`` pixels: by default the smallest step with at most
    :data:`MOST_MARGINS` margins along a side. Crops that keep at least ``known`` are proven
    already, and skipped.
    """

    share: float
    step: int | None = None
    known: float | None = None

    def step_of(self, size: tuple[int, int]) -> int:
        """The ``step`` for an image of ``size`` (height, width)."""
        if self.step is not None:
            return self.step
        spare = (1 - self.share) * max(size)
        return max(1, -int(-spare // MOST_MARGINS))


@dataclass(frozen=True)
class AllTurns:
    """Every rotation by ``degrees`` (from, to), combined with every ``brightness`` (from, to)."""

    degrees: tuple[float, float] = (-5.0, 5.0)
    brightness: tuple[float, float] = (0.7, 1.4)


EditRegion = AllShifts | AllCrops | AllTurns


def edits_everywhere(
    metric: Metric,
    reference: Images,
    candidate: Images,
    region: EditRegion,
    *,
    threshold: float,
    eps: float = 0.0,
    rounded: bool = True,
    budget: int = BUDGET,
    seconds: float = SECONDS,
) -> Covered:
    """Whether the candidate is proven to stay a copy, or none, under every edit of ``region``.

    ``budget`` bounds the number of balls around edits, ``seconds`` the time: what they leave over
    is not known. All else as :func:`~percert.certify.editing.ranges.edits`.

    >>> import torch
    >>> from percert.metrics.catalog import create_metric
    >>> metric = create_metric("thumbnail", device="cpu")
    >>> photo = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    >>> edits_everywhere(metric, photo, photo, AllShifts(1), threshold=0.3).proven
    True
    """
    question = CopyQuestion(embed(metric, one_image(reference, "reference")), threshold)
    return covered(
        metric,
        candidate,
        question,
        region,
        eps=eps,
        rounded=rounded,
        budget=budget,
        seconds=seconds,
    )


def edits_everywhere_twoafc(
    metric: Metric,
    reference: Images,
    left: Images,
    right: Images,
    region: EditRegion,
    *,
    eps: float = 0.0,
    rounded: bool = True,
    budget: int = BUDGET,
    seconds: float = SECONDS,
) -> Covered:
    """Whether the same candidate is proven to stay the closer one under every edit of ``region``.

    It is the reference that is edited. All else as :func:`edits_everywhere`.

    >>> import torch
    >>> from percert.metrics.catalog import create_metric
    >>> metric = create_metric("thumbnail", device="cpu")
    >>> photo = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    >>> edits_everywhere_twoafc(metric, photo, photo, 1 - photo, AllShifts(1)).proven
    True
    """
    return covered(
        metric,
        reference,
        choice_between(metric, left, right),
        region,
        eps=eps,
        rounded=rounded,
        budget=budget,
        seconds=seconds,
    )


def covered(
    metric: Metric,
    image: Images,
    question: Judge,
    region: EditRegion,
    *,
    eps: float = 0.0,
    rounded: bool = True,
    budget: int = BUDGET,
    seconds: float = SECONDS,
) -> Covered:
    """Whether the answer to ``question`` is proven to stand under every edit of ``region``."""
    eps = check_budget(eps)
    image = one_image(image, "image")
    size = (image.shape[2], image.shape[3])
    seen = NetworkInput.of(metric, size)
    decision = question(embed(metric, image)).decision
    run = partial(
        cover, seen=seen, judge=question, decision=decision, budget=budget, seconds=seconds
    )
    picture = image[0].double().cpu()
    margin = seen.margin(eps, rounded=rounded)
    if isinstance(region, AllShifts):
        if not 1 <= region.pixels < min(size):
            raise ValueError(
                f"pixels: expected 1 to {min(size) - 1} for an image of {size[0]} x {size[1]}, "
                f"found {region.pixels}"
            )
        shifts = Shifts(picture, seen, region.pixels, region.known)
        return run(BranchAndBound(shifts), margin=margin)
    if isinstance(region, AllCrops):
        if not 0 < region.share <= 1:
            raise ValueError(f"share: expected a number in (0, 1], found {region.share:g}")
        # A crop is pixels as they are: nothing is rounded; a tamper counts in the crop's own.
        step = region.step_of(size)
        crops = Crops(picture, seen, region.share, step, region.known, eps)
        return run(crops, margin=seen.margin(rounded=False))
    box = (*region.degrees, *region.brightness)
    return run(BranchAndBound(TurnedBrightness(picture, seen, box)), margin=margin)
