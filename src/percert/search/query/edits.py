"""Certified edits of a query image: how far it may be edited while the answer on a match stands."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from percert.certify.editing.questions import CopyQuestion
from percert.certify.editing.summary import SECONDS, EditSummary, summarise
from percert.search.ingest.views import find_view
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
    *,
    seconds: float = SECONDS,
) -> list[EditSummary | None]:
    """What is proven of edits of the query ``image`` ``(1, 3, h, w)``, for each of ``matches``.

    For a copy: that the edited query stays within the stored image's own threshold (of the view
    that decides); for any other match, that it stays outside. ``None`` for a match that was decided
    by a band of the query, of which no edits are proven. Stored images do not move. ``seconds`` is
    the time limit for each match.
    """
    spec = embedding_spec(store.tables.header, store.embedder())
    stored = store.rows(["id", "h"], [match.id for match in matches])
    of_id = dict(zip(stored["id"].to_pylist(), stored["h"].to_pylist(), strict=True))
    found: list[EditSummary | None] = []
    for match in matches:
        if match.threshold is None or find_view(match.view).asked != "whole":
            found.append(None)
            continue
        views = torch.tensor(of_id[match.id], dtype=torch.float32).view(spec.views, -1)
        row = views[[store.views.index(match.view)]]
        kept = stored_features(row, spec.constant, spec.feature_error, spec.content)
        question = CopyQuestion(kept, match.threshold)
        found.append(summarise(store.embedder(), image, question, seconds=seconds))
    return found
