"""Integrity check of a store: everything that queries rely on, verified row by row."""

import string
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from percert.images import ImageError
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search.ingest.pipeline import Encoded, read_source
from percert.search.ingest.sources import Source
from percert.search.ingest.views import embed_prepared, preparation, prepare_image, view_bounds
from percert.search.query.overtaking import STORED_ROUNDING
from percert.search.tables.files import find_missing, key_path
from percert.search.tables.location import Tables
from percert.search.tables.scan import Block, scan_blocks, scan_rows
from percert.search.tables.schema import files_schema, images_schema

#: Relative difference of norms and bounds that float rounding explains.
ROUNDING = 1e-9
#: Embeddings that are read at once.
READ = 8192
#: Problems of one kind that are named; the rest is counted.
NAMED = 5


@dataclass(frozen=True)
class StoreCheck:
    """The result of the check: ``problems``, a sentence each; none where the store is sound.

    ``images`` and ``files`` were checked, and ``embedded`` images embedded again from their files.
    ``without_file`` images have no file: those that were added as tensors (``tensors`` of them),
    and any whose writer was killed before it reported them stored; the next addition completes or
    removes these. ``missing`` files no longer exist, and ``unreachable`` ones lie below a root of
    which nothing exists now (:class:`percert.search.tables.files.Missing`): such a store is out of
    date, not unsound.
    """

    problems: list[str]
    images: int
    files: int
    tensors: int
    without_file: int
    embedded: int = 0
    missing: int = 0
    unreachable: int = 0

    @property
    def sound(self) -> bool:
        return not self.problems


def verify_store(
    tables: Tables, metric: EmbeddingMetric | None = None, again: int = 0
) -> StoreCheck:
    """Read all of a store as it is on the disk now, and check what queries rely on.

    Ids are unique; the image of every file is there; embeddings are finite, with the norms that are
    stored for them; and every bound is the one proven for the image's size. ``again`` images are
    embedded once more from their files and compared (files that changed since are skipped); that
    needs a store that was opened with its metric. Nothing is changed.
    """
    tables.refresh()
    problems: list[str] = []
    for name, table, schema in (
        ("images", tables.images, images_schema(tables.header)),
        ("files", tables.files, files_schema()),
    ):
        if table.schema.names != schema.names or table.schema.types != schema.types:
            problems.append(f"the table {name} has columns of other names or types")
    if problems:
        return StoreCheck(problems, 0, 0, 0, 0)
    images = tables.images.search().select(["id", "bytes", "height", "width"]).to_arrow()
    files = tables.files.search().select(["path", "id"]).to_arrow()
    ids = images["id"].to_pylist()
    holding = files["id"].to_pylist()
    tensors = images["bytes"].null_count
    problems += _named("image {} is stored more than once", _doubled(ids))
    problems += _named("file {} is stored more than once", _doubled(files["path"].to_pylist()))
    there = set(ids)
    problems += _named(
        "file {} is stored, but not its image",
        (
            path
            for path, id in zip(files["path"].to_pylist(), holding, strict=True)
            if id not in there
        ),
    )
    problems += _named(
        "image {} is named by no SHA-256",
        (
            id
            for id, size in zip(ids, images["bytes"].to_pylist(), strict=True)
            if size is not None and not (len(id) == 64 and set(id) <= set(string.hexdigits))
        ),
    )
    problems += _embeddings(tables, metric, images)
    embedded = 0
    if again:
        if metric is None:
            raise ValueError(f"{tables.path}: opened without a metric, which this needs")
        embedded, moved = _again(tables, metric, again)
        problems += moved
    without = len(there - set(holding))
    away = find_missing(tables)
    unreachable = sum(away.unreachable.values())
    return StoreCheck(
        problems, len(ids), len(holding), tensors, without, embedded, len(away.gone), unreachable
    )


def _embeddings(tables: Tables, metric: EmbeddingMetric | None, images: Any) -> list[str]:
    sizes = {
        id: (height, width)
        for id, height, width in zip(
            *(images[name].to_pylist() for name in ("id", "height", "width")), strict=True
        )
    }
    broken: list[str] = []
    misnormed: list[str] = []
    unproven: list[str] = []
    count = 0
    for block in scan_blocks(tables, READ):
        count += len(block.ids)
        h = block.embeddings.double()
        norms = h.norm(dim=1)
        broken += _ids(block, ~h.isfinite().all(dim=1))
        misnormed += _ids(block, ~torch.isclose(norms, block.norms, rtol=ROUNDING, atol=0))
        bad_bound = ~(block.bounds > 0) | ~(block.pixel_errors >= 0)
        if metric is not None:
            how = preparation(tables.header, metric)
            proven = [bound for id in block.ids for bound in view_bounds(how, sizes[id])]
            bad_bound |= ~torch.isclose(
                block.bounds, torch.tensor(proven, dtype=torch.float64), rtol=ROUNDING, atol=0
            )
        unproven += _ids(block, bad_bound)
    found = [
        *_named("image {} has an embedding that is not finite", broken),
        *_named("image {} has a norm that is not its embedding's", misnormed),
        *_named("image {} has a bound that is not the one proven for its size", unproven),
    ]
    if count != len(images):
        found.append(f"{len(images)} images have names, but {count} have embeddings")
    return found


def _again(tables: Tables, metric: EmbeddingMetric, count: int) -> tuple[int, list[str]]:
    """Embed up to ``count`` images once more, spread over the store."""
    how = preparation(tables.header, metric)
    files = tables.files.search().select(["path", "id", "mtime_ns"]).to_arrow()
    step = max(1, len(files) // count)
    embedded, moved = 0, []
    for row in files.to_pylist()[::step][:count]:
        path, parquet_row = key_path(row["path"])
        if parquet_row is not None:
            continue
        read = read_source(Source(row["path"], -1, row["mtime_ns"], path))
        if isinstance(read, ImageError) or read.id != row["id"]:
            continue
        (fresh,) = embed_prepared(metric, [prepare_image(_decoded(read), read.id, 0, how)])
        kept = scan_rows(tables, ["h", "pixel_error"], [read.id])
        stored, error = (
            kept[name].combine_chunks().flatten().to_numpy().astype(np.float64)
            for name in ("h", "pixel_error")
        )
        stored = stored.reshape(fresh.h.shape)
        gap = np.linalg.norm(fresh.h.astype(np.float64) - stored, axis=1)
        embedded += 1
        # Either may be off by the metric's float error, and by what storing it took.
        share = metric.feature_error + STORED_ROUNDING
        room = 2 * (share * np.linalg.norm(stored, axis=1) + error * fresh.bound)
        if (gap > room).any():
            moved.append(row["path"])
    return embedded, list(_named("{} has another embedding than the one stored", moved))


def _decoded(read: Encoded) -> torch.Tensor:
    from percert.images.load import decode_image

    return decode_image(read.data, read.source.key)


def _ids(block: Block, wrong: torch.Tensor) -> list[str]:
    return [block.ids[row // block.views] for row in wrong.nonzero().flatten().tolist()]


def _doubled(names: list[str]) -> Iterator[str]:
    return (name for name, times in Counter(names).items() if times > 1)


def _named(sentence: str, names: Iterator[str] | list[str]) -> list[str]:
    """One problem a name, for the first few."""
    every = list(dict.fromkeys(names))
    rest = len(every) - NAMED
    more = [f"and {rest} more: {sentence.format('...')}"] if rest > 0 else []
    return [sentence.format(name) for name in every[:NAMED]] + more
