"""What a collection's embeddings are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stored:
    """What the collection's embeddings are: the metric's constant and float error, and the number
    of views that each image has.
    """

    constant: float = 0.0
    feature_error: float = 1e-5
    views: int = 1


#: One view, no constant.
PLAIN = Stored()
