"""How an audit of groups is done."""

from dataclasses import dataclass

from percert.fairness.covariance import DEFAULT
from percert.fairness.equivalence import (
    check_margin,
)
from percert.fairness.groups import SMALLEST
from percert.fairness.pairs import Pairing


@dataclass(frozen=True)
class AuditSettings:
    """How the audit is done. The first covariance is the headline, and what sets are compared by.

    ``draws`` are those of every simulation: the level of each test on these groups, and what the
    usual measures show by chance; 0 leaves both out. ``pairs`` says which models of two sets belong
    together: those of one name, those in one place of their files (``"order"``), or none.
    ``magnitude`` compares sets by the size of their slopes. ``outcome`` is accuracy, a rate of
    ``percert.fairness.outcome.RATES`` or a column of 0 and 1, ``positive`` the class that counts as
    positive. ``margin`` is the difference of shares within which groups count as fair.
    """

    smallest: int = SMALLEST
    covariances: tuple[str, ...] = DEFAULT
    confidence: float = 0.95
    draws: int = 2000
    seed: int = 0
    drop_missing: bool = False
    magnitude: bool = False
    pairs: Pairing = "name"
    outcome: str = "accuracy"
    positive: str | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        if self.smallest < 1:
            raise ValueError(f"smallest: expected at least 1 image a group, found {self.smallest}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence: expected a share in (0, 1), found {self.confidence}")
        if not self.covariances:
            raise ValueError("covariances: expected at least one")
        if self.margin is not None:
            check_margin(self.margin)
        if self.pairs not in ("name", "order", "none"):
            raise ValueError(f"pairs: expected name, order or none, found {self.pairs!r}")
