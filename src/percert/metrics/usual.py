"""What a metric usually says, so that a number of its own means something to people."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Written by benchmarks/usual_distances.py, on the 300 ImageNet-Compatible photographs (299 px).
FILE = Path(__file__).with_name("usual_distances.json")


@dataclass(frozen=True)
class Usual:
    """A metric's distance between photographs that have nothing to do with one another.

    9 of 10 such pairs lie between ``unrelated_low`` and ``unrelated_high``, half of them below
    ``unrelated``. ``jpeg`` is the median of a photograph and its JPEG file of quality 75.
    """

    jpeg: float
    unrelated_low: float
    unrelated: float
    unrelated_high: float


@cache
def _read() -> dict[str, Usual]:
    entries = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: Usual(**entry) for name, entry in entries.items()}


def usual(name: str) -> Usual | None:
    """What the metric called ``name`` usually says; ``None`` where that was not measured.

    >>> found = usual("ssim")
    >>> 0 < found.jpeg < found.unrelated_low < found.unrelated < found.unrelated_high <= 2
    True
    >>> usual("no such metric") is None
    True
    """
    return _read().get(name)
