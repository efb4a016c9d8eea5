"""What a collection's embeddings are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from percert.lipschitz.centre import Content

if TYPE_CHECKING:
    from percert.search.store import Store


@dataclass(frozen=True)
class Stored:
    """What the collection's embeddings are: the metric's constant and float error, the number of
    views that each image has, and the metric's rule of what an image must hold.
    """

    constant: float = 0.0
    feature_error: float = 1e-5
    views: int = 1
    content: Content | None = None


#: One view, no constant.
PLAIN = Stored()


def stored_as(store: "Store") -> Stored:
    """What the store's embeddings are."""
    identity = store.metric_id
    content = None if store.metric is None else store.metric.content
    return Stored(identity.constant, identity.feature_error, len(store.views), content)
