"""Certified search: a store of embeddings, and queries with proofs.

What is named is loaded when it is first used: to say what a store holds takes no torch.
"""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.search.indexing import Indexed, IndexSettings, index_images
    from percert.search.ingest.sources import AddOutcome, AddSettings
    from percert.search.open import open_store
    from percert.search.query.results import (
        Answers,
        Cluster,
        Copies,
        Duplicates,
        InsetCopies,
        Link,
        Match,
        Nearest,
    )
    from percert.search.query.rule import Rule
    from percert.search.query.threshold import AutoThreshold
    from percert.search.refit import Refitted
    from percert.search.store import Store
    from percert.search.tables.commit import Pruned
    from percert.search.tables.scan import Block
    from percert.search.upgrade import Upgraded, upgrade_store
    from percert.search.verify import StoreCheck

__all__ = [
    "AddOutcome",
    "AddSettings",
    "Answers",
    "AutoThreshold",
    "Block",
    "Cluster",
    "Copies",
    "Duplicates",
    "IndexSettings",
    "Indexed",
    "InsetCopies",
    "Link",
    "Match",
    "Nearest",
    "Pruned",
    "Refitted",
    "Rule",
    "Store",
    "StoreCheck",
    "Upgraded",
    "index_images",
    "open_store",
    "upgrade_store",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.search.indexing": "IndexSettings Indexed index_images",
        "percert.search.ingest.sources": "AddOutcome AddSettings",
        "percert.search.open": "open_store",
        "percert.search.query.results": (
            "Answers Cluster Copies Duplicates InsetCopies Link Match Nearest"
        ),
        "percert.search.query.rule": "Rule",
        "percert.search.query.threshold": "AutoThreshold",
        "percert.search.refit": "Refitted",
        "percert.search.store": "Store",
        "percert.search.tables.commit": "Pruned",
        "percert.search.tables.scan": "Block",
        "percert.search.upgrade": "Upgraded upgrade_store",
        "percert.search.verify": "StoreCheck",
    },
)
