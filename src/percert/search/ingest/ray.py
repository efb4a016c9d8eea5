"""Ingest through Ray Data: decoding and embedding on every machine of a cluster.

Files are read by the workers themselves, at the same paths as here, with percert's own reader:
Ray's would decode otherwise, and stop at the first bad file. The driver alone commits.
"""

import copy
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from percert.device import resolve_device
from percert.images import ImageError, find_images
from percert.images.load import memory_limit
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.ray_session import ray_session
from percert.search.ingest.add import tidy, write_steps
from percert.search.ingest.pipeline import decode_source, read_source
from percert.search.ingest.sources import (
    AddOutcome,
    AddSettings,
    AddStep,
    Snapshot,
    StageSeconds,
    Unit,
    is_known,
    iter_units,
    unit_sources,
)
from percert.search.ingest.views import Preparation, Prepared, embed_prepared, preparation
from percert.search.tables.files import remember_roots
from percert.search.tables.location import Tables
from percert.search.tables.schema import FileRow, ImageRow, in_parts

#: Files, or row groups, that one task of Ray reads.
UNITS = 64
#: Share of a processor for each worker. There are two kinds of them: with a whole processor each,
#: the first kind could take all and wait for the second for ever.
SHARE = 0.5


def iter_ray_add(
    tables: Tables,
    metric: EmbeddingMetric,
    inputs: Iterable[str | os.PathLike[str]],
    settings: AddSettings | None = None,
    *,
    address: str | None = None,
    workers: int | None = None,
    device: str = "auto",
) -> Iterator[AddOutcome]:
    """The same as ``iter_add``, on the Ray cluster at ``address``, or on one of this machine.

    Without an ``address`` Ray is started here, unless it runs in this process already, and stopped
    at the end. ``workers`` networks run at once (by default one a GPU, or one for two processors
    where there is none), each on its ``device``. Files must have the same paths on all machines.
    Raises ``ValueError`` where Ray is missing or the cluster cannot be reached.
    """
    settings = settings or AddSettings()
    with ray_session(address):
        steps = _steps(tables, metric, inputs, settings, workers, device)
        yield from write_steps(tables, steps, None, settings, StageSeconds())
        tidy(tables)


def _steps(
    tables: Tables,
    metric: EmbeddingMetric,
    inputs: Iterable[str | os.PathLike[str]],
    settings: AddSettings,
    workers: int | None,
    device: str,
) -> Iterator[AddStep]:
    inputs = list(inputs)
    remember_roots(tables.path, inputs)
    known = Snapshot(tables)
    units: list[Unit] = []
    for unit in iter_units(find_images(inputs)):
        if isinstance(unit, ImageError):
            yield AddStep(AddOutcome(str(unit.path), "bad", reason=unit.reason))
        elif is_known(unit, known.is_unchanged):
            for key in unit.names():
                yield AddStep(AddOutcome(key, "unchanged", known.id_at(key)))
        else:
            units.append(unit)
    if not units:
        return
    done: set[str] = set()
    for row in _embedded(tables, metric, units, known, settings, workers, device):
        key, id = row["key"], row["id"]
        file = FileRow(key, id, row["bytes"], row["mtime_ns"])
        if row["reason"]:
            yield AddStep(AddOutcome(key, "bad", reason=row["reason"]))
        elif id in known.ids or id in done:
            yield known.known_step(file)
        else:
            done.add(id)
            image = ImageRow(
                id,
                row["bytes"],
                (row["height"], row["width"]),
                row["h"],
                row["bound"],
                row["pixel_error"],
            )
            yield AddStep(
                AddOutcome(key, "added", id), image=image, file=file, replaced=known.id_at(key)
            )


def _embedded(
    tables: Tables,
    metric: EmbeddingMetric,
    units: list[Unit],
    known: Snapshot,
    settings: AddSettings,
    workers: int | None,
    device: str,
) -> Iterator[dict[str, Any]]:
    """A row for each image of ``units``: streamed, so that a slow writer holds the workers back."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    import ray
    import ray.data

    how = preparation(tables.header, metric)
    resources: dict[str, float] = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
    networks = workers or gpus or max(1, int(resources.get("CPU", 1)) // 2)
    # Each column is one array of Arrow: a million files are no million objects of Python.
    parts = [
        pa.Table.from_pylist(
            [
                {**asdict(unit), "path": os.fsencode(unit.path), "group": _number(unit)}
                for unit in part
            ]
        )
        for part in in_parts(units, UNITS)
    ]
    ray.data.DataContext.get_current().enable_progress_bars = False
    decode: Any = _decode
    rows = ray.data.from_arrow(parts).map_batches(
        decode,
        fn_kwargs={
            "known": ray.put(known.ids),
            "how": how,
            "max_memory": settings.max_memory or memory_limit(),
            "at_once": max(1, settings.batch // len(how.views)),
        },
        batch_size=None,
        num_cpus=SHARE,
    )
    rows = rows.map_batches(
        _Embedder,
        fn_constructor_kwargs={
            "metric": ray.put(copy.deepcopy(metric).cpu()),
            "device": "cuda" if gpus else "cpu",
            "shape": (len(how.views), tables.header.metric.width),
        },
        batch_size=settings.batch,
        concurrency=networks,
        **({"num_gpus": 1} if gpus else {"num_cpus": SHARE}),
    )
    for batch in rows.iter_batches(batch_size=settings.batch, batch_format="numpy"):
        for at in range(len(batch["key"])):
            yield {
                name: value.item() if isinstance(value, np.generic) else value
                for name, value in ((name, column[at]) for name, column in batch.items())
            }


def _number(unit: Unit) -> int:
    return -1 if unit.group is None else unit.group


def _decode(
    batch: dict[str, Any], known: Any, how: Preparation, max_memory: int | None, at_once: int
) -> Iterator[dict[str, Any]]:
    """First stage of a worker: read, hash and decode, ``at_once`` images a batch."""
    import ray

    torch.set_num_threads(1)
    ids: set[str] = ray.get(known) if not isinstance(known, set) else known
    for part in in_parts(_rows_of(batch, ids, how, max_memory), at_once):
        yield {name: _column([row[name] for row in part]) for name in part[0]}


def _rows_of(
    batch: dict[str, Any], known: set[str], how: Preparation, max_memory: int | None
) -> Iterator[dict[str, Any]]:
    empty = Prepared(
        "",
        0,
        (0, 0),
        np.zeros((len(how.views), 3, *how.resize.size), how.precision),
        np.ones(len(how.views)),
        np.zeros(len(how.views)),
    )
    for path, size, mtime_ns, group, first, rows in zip(
        *(batch[name] for name in ("path", "size", "mtime_ns", "group", "first", "rows")),
        strict=True,
    ):
        unit = Unit(
            Path(os.fsdecode(path)),
            int(size),
            int(mtime_ns),
            None if group < 0 else int(group),
            int(first),
            int(rows),
        )
        for source in unit_sources(unit):
            read = source if isinstance(source, ImageError) else read_source(source)
            if isinstance(read, ImageError):
                yield _row(str(read.path), "", 0, 0, empty, read.reason)
                continue
            key, length = read.source.key, len(read.data)
            if read.id in known:
                yield _row(key, read.id, length, unit.mtime_ns, empty, "")
                continue
            found = decode_source(read.data, key, read.id, how, max_memory)
            if isinstance(found, ImageError):
                yield _row(key, "", 0, 0, empty, found.reason)
            else:
                yield _row(key, read.id, length, unit.mtime_ns, found.prepared, "")


def _row(
    key: str, id: str, size: int, mtime_ns: int, prepared: Prepared, reason: str
) -> dict[str, Any]:
    return {
        "key": key,
        "id": id,
        "bytes": size,
        "mtime_ns": mtime_ns,
        "height": prepared.size[0],
        "width": prepared.size[1],
        "inputs": prepared.inputs,
        "bound": prepared.bound,
        "pixel_error": prepared.pixel_error,
        "reason": reason,
    }


def _column(values: list[Any]) -> Any:
    return np.stack(values) if isinstance(values[0], np.ndarray) else np.array(values)


class _Embedder:
    """Second stage of a worker: one network, kept from batch to batch, that embeds."""

    def __init__(self, metric: Any, device: str, shape: tuple[int, int]) -> None:
        import ray

        found = ray.get(metric) if isinstance(metric, ray.ObjectRef) else metric
        self.metric = found.to(resolve_device(device))
        self.shape = shape

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        inputs = batch.pop("inputs")
        decoded = batch["height"].nonzero()[0]
        rows = embed_prepared(
            self.metric,
            [
                Prepared("", 0, (0, 0), inputs[at], batch["bound"][at], batch["pixel_error"][at])
                for at in decoded
            ],
        )
        # What was not decoded has no embedding, and the driver asks for none.
        batch["h"] = np.zeros((len(inputs), *self.shape), np.float32)
        for at, row in zip(decoded, rows, strict=True):
            batch["h"][at] = row.h
        return batch
