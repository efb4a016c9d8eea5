"""Migration of an earlier percert's store to the present layout; a killed run resumes."""

import os
from collections.abc import Iterator
from pathlib import Path

from percert.search.ingest.sources import AddOutcome, AddSettings
from percert.search.store import Store
from percert.search.tables.files import key_path
from percert.search.tables.location import Tables


def files_of(tables: Tables) -> list[Path]:
    """The image and parquet files that a store knows, each once, in order."""
    keys = tables.files.search().select(["path"]).to_arrow()["path"].to_pylist()
    return sorted({key_path(key)[0] for key in keys})


def without_file(old: Tables) -> int:
    """How many images a store holds that no file of it is there for any more."""
    held = old.files.search().select(["path", "id"]).to_arrow().to_pylist()
    there = {row["id"] for row in held if os.path.exists(key_path(row["path"])[0])}
    return int(old.images.count_rows()) - len(there)


def upgrade_store(
    old: Tables, new: Store, settings: AddSettings | None = None
) -> Iterator[AddOutcome]:
    """Add every file of ``old`` that still exists to ``new``; yields an outcome each.

    Files that ``new`` has are skipped, so a run that was stopped resumes. ``old`` is only read:
    images without a file stay in it alone, since their other views cannot be made.
    """
    files = [path for path in files_of(old) if path.exists()]
    if files:
        yield from new.iter_add(files, settings)
