"""Everything that is proven about edits of one image: what ``--edits`` prints."""

import math
import time
from dataclasses import dataclass

from torch import nn

from percert.certify.editing.families import FAMILIES, EditFamily
from percert.certify.editing.few_pixels import LocalChanges, local_changes_of
from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.ranges import EditRange, edit_range
from percert.certify.editing.regions import AllCrops, AllShifts, covered
from percert.certify.editing.walk import Judge
from percert.lipschitz.fixed_layers import FlipConcat
from percert.lipschitz.mirror import MirrorFold
from percert.metrics.metric import Metric
from percert.tensors import Images

#: Shares of each side that crops keep, and pixels of shifts, that are tried one after the other.
SHARES = (0.98, 0.95, 0.9, 0.85, 0.8)
PIXELS = (1, 2, 5, 10, 15, 20, 30, 40, 50)
#: Time for all of it, unless told otherwise.
SECONDS = 60.0


@dataclass(frozen=True)
class EditSummary:
    """What is proven of one image under every family of edits, for one question.

    ``ranges`` hold the families with one parameter. ``shift`` is the largest of :data:`PIXELS` for
    which all shifts by up to so many pixels in each direction are proven, ``crops`` the smallest of
    :data:`SHARES` for which all crops that keep that share of each side are, their margins
    multiples of ``crop_step`` pixels; ``None`` where none is. ``local`` says how many pixels, how
    large a patch and how high a caption may be anything, and how long a change in l1. ``mirrored``
    and ``cast`` are exact, whatever the image: its mirror image, and any amount added to all of a
    channel while nothing is clipped, have the very same embedding. ``late`` names what was not
    looked at to its end because ``seconds`` were over.
    """

    ranges: tuple[EditRange, ...]
    shift: int | None
    crops: float | None
    crop_step: int
    local: LocalChanges
    mirrored: bool
    cast: bool
    late: tuple[str, ...]
    seconds: float


def summarise(
    metric: Metric, image: Images, question: Judge, *, seconds: float = SECONDS
) -> EditSummary:
    """Prove ``question`` for ``image`` ``(1, 3, h, w)`` under all edits, for about ``seconds``."""
    began = time.perf_counter()

    def left() -> float:
        return seconds - (time.perf_counter() - began)

    ranges: list[EditRange] = []
    late: list[str] = []
    for family in FAMILIES.values():
        if left() <= 0:
            late.append(family.name)
        else:
            ranges.append(edit_range(metric, image, question, family.name))
    size = (image.shape[2], image.shape[3])
    shift, crops = None, None
    for pixels in PIXELS:
        if pixels >= min(size):
            break
        # Half of the time is left for crops.
        region = AllShifts(pixels, known=shift or 0)
        found = covered(metric, image, question, region, seconds=max(left() / 2, 0.0))
        if not found.proven:
            if found.stopped == "budget":
                late.append(f"all shifts by up to {pixels} pixels")
            break
        shift = pixels
    # One step for all of them, so that each holds those before it.
    step = AllCrops(SHARES[-1]).step_of(size)
    for share in SHARES:
        cut = AllCrops(share, step=step, known=crops)
        found = covered(metric, image, question, cut, seconds=max(left(), 0.0))
        if not found.proven:
            if found.stopped == "budget":
                late.append(f"all crops that keep {100 * share:g} % of each side")
            break
        crops = share
    seen = NetworkInput.of(metric, size)
    return EditSummary(
        tuple(ranges),
        shift,
        crops,
        step,
        local_changes_of(metric, image, question),
        blind_to_mirroring(seen.metric.network),
        seen.blind_to_means,
        tuple(late),
        time.perf_counter() - began,
    )


def blind_to_mirroring(network: nn.Module) -> bool:
    """Whether an image and its mirror image have one embedding, by the network's own layers."""
    return any(type(layer) in (MirrorFold, FlipConcat) for layer in network.modules())


@dataclass(frozen=True)
class RangeBar:
    """One family for people: ``text`` in words, and from where to where of its limits, in [0, 1].

    ``start``, ``end`` and ``unchanged`` are places between the family's limits.
    """

    name: str
    text: str
    start: float
    end: float
    unchanged: float


def bars(summary: EditSummary) -> list[RangeBar]:
    """A bar a family with one parameter of which something is proven."""
    found = []
    for one in summary.ranges:
        family = FAMILIES[one.edit]
        if one.low is None or one.high is None:
            continue
        low, high = family.limits
        places = [
            min(max((value - low) / (high - low), 0.0), 1.0)
            for value in (one.low, one.high, family.unchanged)
        ]
        found.append(RangeBar(one.edit, range_words(one), *places))
    return found


def range_words(found: EditRange) -> str:
    """The range in words, its ends rounded inwards.

    >>> from percert.certify.editing.ranges import EditRange
    >>> range_words(EditRange("rotation", 1, -10.87, 9.2, "answer", "answer", 0, True, 9, 1.0))
    'any rotation from -10.8 to 9.2 degrees'
    """
    if found.low is None or found.high is None:
        return f"nothing is proven under {found.edit}"
    family = FAMILIES[found.edit]
    low, high = _inwards(found.low, found.high, family)
    return _PHRASES[found.edit].format(low=low, high=high, share=f"{100 * float(low):g}")


#: ``low`` and ``high`` are the ends, ``share`` the lower one in percent.
_PHRASES = {
    "brightness": "any brightness from {low} to {high} times",
    "contrast": "any contrast from {low} to {high} times",
    "gamma": "any gamma from {low} to {high}",
    "saturation": "any saturation from {low} to {high} times",
    "warmth": "any colour cast from {low} (blue) to {high} (red)",
    "blur": "any blur up to a sigma of {high} pixels",
    "rotation": "any rotation from {low} to {high} degrees",
    "zoom": "any zoom from {low} to {high} times",
    "crop": "any centre crop that keeps {share} % of each side",
    "downscale": "any reduction to {share} % of each side or more",
    "jpeg": "JPEG of any quality from {low} on",
    "webp": "WebP of any quality from {low} on",
}


def _inwards(low: float, high: float, family: EditFamily) -> tuple[str, str]:
    """The ends to two decimals (angles, one; qualities, none), never wider than they are."""
    digits = {"rotation": 1, "blur": 1, "jpeg": 0, "webp": 0}.get(family.name, 2)
    scale = 10**digits
    # What is a multiple already stays so: 0.7 * 100 is a little more than 70.
    inner_low = -int(-(low * scale - 1e-9) // 1)
    inner_high = int((high * scale + 1e-9) // 1)
    return f"{inner_low / scale:g}", f"{inner_high / scale:g}"


def copy_stays(copy: bool | None) -> str:
    """What an edited image stays in words, for :func:`summary_words`."""
    return "stays a copy" if copy else "stays no copy"


def summary_words(summary: EditSummary, whose: str, answer: str) -> list[str]:
    """What is proven in sentences; ``answer`` is such as "stays a copy"."""
    known = [range_words(one) for one in summary.ranges if one.low is not None]
    if summary.shift is not None:
        pixels = "a pixel" if summary.shift == 1 else f"{summary.shift} pixels"
        known.append(f"any shift by up to {pixels} in each direction")
    if summary.crops is not None:
        step = summary.crop_step
        where = "" if step == 1 else f" (margins that are multiples of {step} pixels)"
        known.append(
            f"any crop that keeps {100 * summary.crops:g} % of each side, wherever it lies{where}"
        )
    if summary.local.pixels:
        count, side = summary.local.pixels, summary.local.patch
        known.append(f"any change of up to {'a pixel' if count == 1 else f'{count:,} pixels'}")
        known.append(f"anything in any one square of {side} x {side} pixels")
    if summary.local.caption:
        high = summary.local.caption
        known.append(f"any caption up to {'a pixel' if high == 1 else f'{high} pixels'} high")
    if not known:
        return [f"Of edits of {whose} nothing is proven: too close a call, or too plain."]
    edits = f"any one of these edits: {', '.join(known)}"
    said = [f"Proven: {whose} {answer} under {edits}; rounding to 8 bits included."]
    if 0 < summary.local.l1 < math.inf:
        said.append(
            f"Proven as well: under every change of less than {summary.local.l1:.4g} in l1."
        )
    exact = ["its mirror image"] if summary.mirrored else []
    exact += ["any amount added to all of a channel (nothing clipped)"] if summary.cast else []
    if exact:
        said.append(f"Exactly the same embedding, and so no change at all: {' and '.join(exact)}.")
    if summary.late:
        said.append(f"Not known, for the time was over: {', '.join(summary.late)}.")
    return said
