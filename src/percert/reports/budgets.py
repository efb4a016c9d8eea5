"""Budgets of tampering: parsed, and said as a PSNR, as 8-bit levels, and by what is seen of them.

A budget is an l2 length in pixels, for values in [0, 1]; lengths are rounded to the safe side.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from percert.check import Argument, ArgumentError

_DECIBEL = re.compile(r"^(.+?)\s*db$", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """How much of an image may change: an l2 length, a change of every value, or a PSNR.

    ``value`` is the l2 length or the linf change, of pixels from 0 to 1, or the decibels; a change
    within the last has at least that PSNR. ``text`` is how it was asked for.

    >>> Budget("linf", 8 / 255, "linf:8/255").length((299, 299))
    16.247...
    """

    kind: Literal["l2", "linf", "psnr"]
    value: float
    text: str

    def length(self, size: tuple[int, int]) -> float:
        """The l2 length that covers it in an image of ``size`` (height, width), rounded up.

        The ball of that length holds every such change: sqrt(3 h w) times linf, or 10^(-dB/20).
        """
        if self.kind == "l2":
            return self.value
        share = self.value if self.kind == "linf" else 10 ** (-self.value / 20)
        return share * math.sqrt(3 * size[0] * size[1]) * (1 + 1e-15)


#: What is taken where nobody says: every value one 8-bit level up or down.
ONE_LEVEL = Budget("linf", 1 / 255, "linf:1/255")


def parse_budget(text: str) -> Budget:
    """A budget: ``4`` and ``36/255`` are l2 lengths; ``l2:4``, ``linf:8/255`` and ``30dB`` do.

    Raises ``ValueError`` for anything else, and for what is negative or not finite.

    >>> parse_budget("36/255").value, parse_budget("linf:8/255").kind, parse_budget("30 dB").value
    (0.1411..., 'linf', 30.0)
    >>> parse_budget("linf:x")
    Traceback (most recent call last):
    ValueError: expected an l2 length such as 4 or 36/255, or linf:8/255, or 30dB, found 'linf:x'
    """
    norm, _, rest = text.strip().rpartition(":")
    decibel = _DECIBEL.match(rest)
    try:
        value = float(Fraction((decibel[1] if decibel else rest).strip()))
    except (ValueError, ZeroDivisionError, OverflowError):
        value = math.nan
    kinds: dict[tuple[str, bool], Literal["l2", "linf", "psnr"]] = {
        ("", False): "l2",
        ("l2", False): "l2",
        ("linf", False): "linf",
        ("", True): "psnr",
    }
    kind = kinds.get((norm.strip().lower(), decibel is not None))
    if kind is None or not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"expected an l2 length such as 4 or 36/255, or linf:8/255, or 30dB, found {text!r}"
        )
    return Budget(kind, value, text.strip())


def parse_lengths(text: str, size: tuple[int, int] | None = None) -> tuple[float, ...]:
    """The l2 lengths of a list of budgets, each once, in order, to ten digits.

    Those of linf and dB are taken in images of ``size`` (height, width), and are no shorter than
    what they are to cover. Raises ``ValueError`` for what :func:`parse_budget` refuses, and for
    linf and dB without a size.

    >>> parse_lengths("1/4, linf:1/255, 0.25", (299, 299))
    (0.25, 2.0309...)
    """
    lengths = []
    for budget in map(parse_budget, filter(None, map(str.strip, text.split(",")))):
        if budget.kind != "l2" and size is None:
            raise ArgumentError(
                "linf and dB are lengths of images of one size: name it with ", Argument("size")
            )
        exact = budget.kind == "l2"
        length = budget.value if exact else budget.length(size or (1, 1)) * (1 + 1e-9)
        lengths.append(float(f"{length:.10g}"))
    return tuple(dict.fromkeys(lengths))


def peak_db(length: float, size: tuple[int, int]) -> float:
    """The PSNR in decibels of a change of l2 ``length`` in a ``size`` (height, width) image.

    ``20 log10(sqrt(3 h w) / length)``, infinite for length 0.

    >>> round(peak_db(16.2, (299, 299)), 1)
    30.1
    """
    return math.inf if length == 0 else 20 * math.log10(math.sqrt(3 * size[0] * size[1]) / length)


def levels(length: float, size: tuple[int, int]) -> float:
    """How many 8-bit levels every value may change at once within l2 ``length``.

    ``255 length / sqrt(3 h w)``: the linf change that the l2 ball is sure to hold.

    >>> round(levels(16.25, (299, 299)), 1)
    8.0
    """
    return 255 * length / math.sqrt(3 * size[0] * size[1])


def one_level(size: tuple[int, int]) -> float:
    """The l2 length of a change of every value by one 8-bit level, ``sqrt(3 h w) / 255``.

    >>> round(one_level((299, 299)), 2)
    2.03
    """
    return math.sqrt(3 * size[0] * size[1]) / 255


def describe(length: float, size: tuple[int, int]) -> str:
    """A budget three ways, each rounded to the safe side: all that is named lies within it.

    >>> describe(16.25, (299, 299)), describe(16, (299, 299))
    ('l2 16.25 (PSNR 30.1 dB, or 8/255 on every value)',
     'l2 16 (PSNR 30.3 dB, or 7.8/255 on every value)')
    """
    return (
        f"l2 {_plain(rounded_down(length, 4))} (PSNR {rounded_up_db(length, size)} dB, "
        f"or {_plain(rounded_down(levels(length, size), 2))}/255 on every value)"
    )


def describe_radius(radius: float, size: tuple[int, int]) -> str:
    """A proven radius three ways, each rounded to the safe side.

    >>> describe_radius(16.2599, (299, 299))
    'l2 16.2 (PSNR 30.1 dB, or 8.0/255 on every value)'
    """
    return (
        f"l2 {rounded_down(radius, 3)} (PSNR {rounded_up_db(radius, size)} dB, "
        f"or {rounded_down(levels(radius, size), 2)}/255 on every value)"
    )


def rounded_down(value: float, digits: int) -> str:
    """``value`` (at least 0) to so many significant digits, never more than it is.

    >>> rounded_down(30.5735, 3), rounded_down(0.000199, 2), rounded_down(1234.5, 3)
    ('30.5', '0.00019', '1230')
    """
    if value <= 0 or math.isinf(value):
        return f"{max(value, 0):g}"
    unit = digits - 1 - math.floor(math.log10(value))
    # The product is rounded before the floor: 0.29 * 100 is 28.999999999999996.
    whole = math.floor(round(value * 10.0**unit, 9))
    return f"{whole * 10.0**-unit:.{max(unit, 0)}f}"


def rounded_up_db(radius: float, size: tuple[int, int]) -> str:
    """The PSNR from which on every change lies within ``radius``, to a tenth, never too low.

    >>> peak_db(16.0, (299, 299)), rounded_up_db(16.0, (299, 299))
    (30.202..., '30.3')
    """
    return decibels_up(peak_db(radius, size))


def decibels_up(decibels: float) -> str:
    """Decibels to a tenth, never fewer than they are: what is covered from there on.

    >>> decibels_up(30.202), decibels_up(30.2), decibels_up(math.inf)  # of no change at all
    ('30.3', '30.2', 'inf')
    """
    if math.isinf(decibels):
        return "inf"
    return f"{math.ceil(round(10 * decibels, 6)) / 10:.1f}"


def _plain(number: str) -> str:
    """Without the zeros that a fraction ends in."""
    return number.rstrip("0").rstrip(".") if "." in number else number


#: What a change of every value by up to so many of its 256 levels looks like. One level is the
#: least step that a screen makes; further ones by sight, of noise on photographs.
SEEN = (
    (1.05, "invisible"),
    (3.0, "hard to see"),
    (10.0, "seen as faint noise"),
    (30.0, "plainly visible noise"),
    (math.inf, "heavy noise"),
)


def visibility(length: float, size: tuple[int, int]) -> str:
    """How visible a change of l2 ``length`` is, spread evenly over a (height, width) image.

    >>> [visibility(length, (299, 299)) for length in (2, 16)]
    ['invisible', 'seen as faint noise']
    """
    found = levels(length, size)
    return next(words for most, words in SEEN if found <= most)


def whole_pixels(length: float, size: tuple[int, int]) -> int:
    """How many pixels an l2 ``length`` can turn from black to white, each by ``sqrt(3)``.

    >>> whole_pixels(16.25, (299, 299))
    88
    """
    return min(int(length**2 / 3), size[0] * size[1])


def tampering(length: float, size: tuple[int, int]) -> str:
    """A budget for people: spread evenly, and gathered in one place.

    >>> tampering(2.2, (299, 299))
    '1.1 of 255 levels on every value (hard to see), or 1 pixel turned from black to white'
    >>> tampering(0, (299, 299))
    'no change'
    """
    if length == 0:
        return "no change"
    level = levels(length, size)
    shown = f"{level:.2g}" if level < 0.95 else f"{level:.1f}" if level < 99.95 else f"{level:.0f}"
    spread = f"{shown} of 255 levels on every value ({visibility(length, size)})"
    gathered = whole_pixels(length, size)
    if not gathered:
        return spread
    pixels = "1 pixel" if gathered == 1 else f"{gathered:,} pixels"
    return f"{spread}, or {pixels} turned from black to white"
