"""What the auditor found."""

from dataclasses import asdict, dataclass
from typing import Any

from percert.lipschitz.layer_audit import LayerAudit
from percert.reports.finite import finite


@dataclass(frozen=True)
class AttackAudit:
    """Attacks inside 0.999 of certified radii: how many, and how many changed the decision."""

    tried: int
    flipped: int
    largest_radius: float


@dataclass(frozen=True)
class AuditReport:
    """The verdict on a network, and everything that it rests on.

    ``layers`` in the order of computation. ``upper`` is the product of their upper bounds and
    ``bound`` what the network claims. ``pair_slope`` is the steepest |h(x) - h(x')| / |x - x'|
    found through the whole pipeline, in units of the bound proven for that image size: at most 1.
    ``float_error`` is how far the embedding lies from float64's, in units of |h|, and
    ``feature_error`` what certificates subtract for it. ``hash`` is SHA-256 of the weights.
    ``reasons`` says why it did not pass; empty where it did.
    """

    name: str
    layers: tuple[LayerAudit, ...]
    upper: float
    bound: float
    pair_slope: float
    attack: AttackAudit
    float_error: float
    feature_error: float
    hash: str
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite or undefined number becomes ``None``."""
        fields = asdict(self) | {"passed": self.passed}
        plain: dict[str, Any] = finite(fields)
        return plain
