"""The study behind the metric ``seen``, its fitted numbers, and what a distance says in words.

No torch is taken: reports say it too. The file is written by ``python -m experiments people.seen``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

#: The metric that these are of.
OBSERVERS = "seen"
FILE = Path(__file__).with_name("seen_study.json")


#: What stands below a map of where a change would be noticed.
NOTICED_WORDS = "White: one in two would notice, were the change all over as it is there."
#: What stands beside numbers of observers.
OBSERVERS_LIMITS = (
    "Predicted by the metric seen, from 35 people who looked at two pictures for at most 5 s."
)


@dataclass(frozen=True)
class Coefficients:
    """Of the share who notice: ``false_alarms + (1 - false_alarms) x / (1 + x)``.

    x is ``((visibility + mdsi_weight MDSI^4) / half) ** slope``: at ``half`` one in two notices,
    false alarms apart.
    """

    false_alarms: float
    half: float
    slope: float
    mdsi_weight: float

    def share(self, distance: float) -> float:
        """The share of observers who would say that two pictures differ, at a ``distance``."""
        return self.false_alarms + (1 - self.false_alarms) * distance


@cache
def coefficients() -> Coefficients:
    """The fitted numbers.

    >>> 0.05 < coefficients().false_alarms < 0.12
    True
    """
    found: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))["coefficients"]
    return Coefficients(**{name: one["value"] for name, one in found.items()})


def observers_words(distance: float) -> str:
    """What a distance by ``seen`` says of people.

    >>> observers_words(0.0)
    'about 8 of 100 people would notice, 8 would say so of an unchanged picture'
    """
    known = coefficients()
    return (
        f"about {100 * known.share(distance):.0f} of 100 people would notice, "
        f"{100 * known.false_alarms:.0f} would say so of an unchanged picture"
    )


def observers_sentence(distance: float) -> str:
    """The same as a sentence.

    >>> observers_sentence(1.0)
    'About 100 of 100 people would notice, 8 would say so of an unchanged picture.'
    """
    said = observers_words(distance)
    return f"{said[0].upper()}{said[1:]}."
