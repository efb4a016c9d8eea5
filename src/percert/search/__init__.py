"""Certified search: a store of embeddings, and queries with proofs."""

from percert.search.store import Block, Store, open_store

__all__ = ["Block", "Store", "open_store"]
