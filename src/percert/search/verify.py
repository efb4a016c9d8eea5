"""Whether a store is sound."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from percert.search.store import Store


@dataclass(frozen=True)
class Verdict:
    """``problems``: what is wrong, a sentence each; none where the store is clean."""

    problems: list[str]


def verify_store(store: "Store") -> Verdict:
    return Verdict([])
