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
    found through the whole pipeline, in units of the bound proven for that image size, and
    ``resize`` the largest norm of the resize in units of the norm that it claims: both at most 1.
    ``float_error`` is how far rounding can move an embedding (of an image of the network's size, in
    embedding units, as :meth:`~percert.metrics.embedding.EmbeddingMetric.float_error`), and
    ``float_used`` the largest part of such a bound that float32 was seen to use: at most 1.
    ``hash`` is SHA-256 of the weights. ``reasons`` says why it did not pass; empty where it did.
    """

    name: str
    layers: tuple[LayerAudit, ...]
    upper: float
    bound: float
    pair_slope: float
    resize: float
    attack: AttackAudit
    float_error: float
    float_used: float
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
