"""How far a query may be edited and stay a copy of what it was found to be one of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from percert.certify.editing.questions import CopyQuestion
from percert.certify.editing.summary import SECONDS, EditSummary, summarise
from percert.search.query.distances import embedding_spec
from percert.search.query.overtaking import stored_features
from percert.search.query.results import Match
from percert.tensors import Images

if TYPE_CHECKING:
    from percert.search.store import Store


def copy_edits(
    store: "Store",
    image: Images,
    matches: Sequence[Match],
    threshold: float,
    *,
    seconds: float = SECONDS,
) -> list[EditSummary]:
    """For each of ``matches`` what is proven of edits of the query ``image`` ``(1, 3, h, w)``.

    That it stays within ``threshold`` of the stored view that is nearest, or outside of it where it
    is outside. The stored images do not move; ``seconds`` are for each match.
    """
    spec = embedding_spec(store.tables.header, store.embedder())
    stored = store.rows(["id", "h"], [match.id for match in matches])
    of_id = dict(zip(stored["id"].to_pylist(), stored["h"].to_pylist(), strict=True))
    found = []
    for match in matches:
        views = torch.tensor(of_id[match.id], dtype=torch.float32).view(spec.views, -1)
        row = views[[store.views.index(match.view)]]
        kept = stored_features(row, spec.constant, spec.feature_error, spec.content)
        question = CopyQuestion(kept, threshold)
        found.append(summarise(store.embedder(), image, question, seconds=seconds))
    return found
