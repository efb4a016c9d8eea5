"""What is to be evaluated of copy detectors, and what comes of it."""

from dataclasses import dataclass, field

from percert.data.copy_edits import Edit
from percert.evaluation.copies_attacked import AttackedRates
from percert.evaluation.copies_budget import SIDE
from percert.evaluation.copies_point import OperatingPoint
from percert.evaluation.copies_rates import CertifiedRate
from percert.evaluation.copies_threshold import ThresholdChoice
from percert.reports.records import Columns
from percert.search.threshold import AutoThreshold


@dataclass(frozen=True, kw_only=True)
class CopiesPlan:
    """What is to be evaluated.

    ``budgets`` are l2 lengths at ``side`` x ``side`` pixels (see :func:`copies_budget.scaled`).
    ``attacked`` copies and as many strangers are attacked, in ``steps`` steps a budget.
    """

    edits: tuple[Edit, ...]
    views: tuple[str, ...] = ("whole",)
    budgets: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    side: int = SIDE
    threshold: ThresholdChoice = field(default_factory=ThresholdChoice)
    attacked: int = 0
    steps: int = 20
    seed: int = 0


@dataclass(frozen=True)
class EditResult:
    """One edit at the threshold: the share of its copies that is found, and proven."""

    name: str
    family: str
    hard: bool
    natural: float
    certified: list[CertifiedRate]


@dataclass(frozen=True)
class DetectorResult:
    """One detector; rates are shares in [0, 1].

    ``points`` are the true-positive rates at the three false-positive rates. Everything else holds
    at ``threshold``, at which the negatives have the rate ``fpr_found``: ``natural`` and
    ``certified`` the share of all copies, ``evasion`` what attacks leave of some copies, and
    ``collision`` of some strangers that are refused. ``roc`` is of (false, true) positive rates.
    """

    name: str
    certifiable: bool
    threshold: float
    auto: AutoThreshold | None
    fpr_found: float
    natural: float
    certified: list[CertifiedRate]
    points: list[OperatingPoint]
    micro_average_precision: float
    edits: list[EditResult]
    evasion: AttackedRates | None
    collision: AttackedRates | None
    roc: list[tuple[float, float]]
    copies: int
    negatives: int
    seconds: float


@dataclass(frozen=True)
class QueryRow:
    """One edited picture by one detector; ``radius`` is ``None`` without certificates."""

    query: int
    edit: str
    detector: str
    distance: float
    nearest_other: float
    found: bool
    radius: float | None


#: The columns of the rows as records.
COLUMNS: Columns = {
    "query": str,
    "edit": str,
    "detector": str,
    "distance": float,
    "nearest_other": float,
    "found": bool,
    "radius": float,
}
