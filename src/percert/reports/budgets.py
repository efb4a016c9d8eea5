"""A budget of tampering, in the measure that it was asked for in."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

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
