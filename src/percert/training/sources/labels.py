"""Labelled images in parquet files: for each, another of its class, and one of another class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from percert.training.sources.images import Entry, ImageSource, ParquetSource


class LabelledParquet:
    """A :class:`ParquetSource` with labels, which alone are kept in memory, a row group at a time.

    Partners come from the same row group: rows should be in no order of classes. Raises
    ``ValueError`` for another kind of source.
    """

    def __init__(self, source: ImageSource, what: str) -> None:
        if not isinstance(source, ParquetSource):
            raise ValueError(f"{what}: expected parquet files with labels")
        self._source = source
        self._labels: dict[tuple[str, int], npt.NDArray[np.int64]] = {}
        self.read = source.read
        self.shards = source.shards

    def entries(self, shard: str, /) -> Sequence[Entry]:
        """The entries that have a partner: whose class is there twice, and is not the only one."""
        entries = self._source.entries(shard)
        if not entries:
            return []
        labels = self._of(entries[0])
        _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(counts) < 2:
            return []
        return [e for e, known in zip(entries, counts[which] > 1, strict=True) if known]

    def same_and_other(self, entry: Entry, generator: np.random.Generator) -> tuple[Entry, Entry]:
        """Another image of ``entry``'s class, and one of another class, of the same row group."""
        labels = self._of(entry)
        alike = labels == labels[entry.second]
        same = np.flatnonzero(alike)
        partner = int(generator.choice(same[same != entry.second]))
        other = int(generator.choice(np.flatnonzero(~alike)))
        return entry._replace(second=partner), entry._replace(second=other)

    def _of(self, entry: Entry) -> npt.NDArray[np.int64]:
        key = (entry.path, entry.first)
        if key not in self._labels:
            from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]  # no types

            opened: Any = ParquetFile(entry.path)
            if "label" not in opened.schema_arrow.names:
                raise ValueError(
                    f"{entry.path}: expected a column label, found {opened.schema_arrow.names}"
                )
            column = opened.read_row_group(entry.first, columns=["label"]).column("label")
            self._labels[key] = np.asarray(column.to_pylist(), dtype=np.int64)
        return self._labels[key]
