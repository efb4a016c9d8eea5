"""Certified search: a store of embeddings, and queries with proofs.

What is named is loaded when it is first used: to say what a store holds takes no torch.
"""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.search.store import Block, Store, open_store

__all__ = ["Block", "Store", "open_store"]

__getattr__, __dir__ = lazy_names(__name__, {"percert.search.store": "Block Store open_store"})
