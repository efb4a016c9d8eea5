"""What is proven of a Lipschitz constant, and what is only estimated: two types, never mixed.

A certificate needs an upper bound. Power iteration and sampled slopes give lower bounds: a
certificate computed from one is wrong. They are therefore different classes without a common
parent, and everything in ``percert.certify`` takes a :class:`LipschitzBound` alone.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LipschitzBound:
    """A proven upper bound of the l2 Lipschitz constant of a map of images.

    ``value`` is the constant, in embedding units per pixel-l2 unit; ``proof`` says in a sentence
    what proves it; ``resolution`` is the (height, width) for which it holds, ``None`` for any.

    >>> LipschitzBound(1.0, "orthogonal").compose(LipschitzBound(0.25, "resize"))
    LipschitzBound(value=0.25, proof='orthogonal; resize', resolution=None)
    """

    value: float
    proof: str
    resolution: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value > 0):
            raise ValueError(
                f"Lipschitz bound: expected a finite number above 0, found {self.value}"
            )

    def compose(self, inner: "LipschitzBound") -> "LipschitzBound":
        """The bound of this map after ``inner``: the product, at ``inner``'s resolution."""
        return LipschitzBound(
            self.value * inner.value, f"{self.proof}; {inner.proof}", inner.resolution
        )


@dataclass(frozen=True)
class LipschitzEstimate:
    """A lower bound or a guess of a Lipschitz constant. Never accepted by a certificate."""

    value: float
    method: str
