"""Exports for other tools: a store, a row a file, with its embeddings; and its duplicates."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from percert.files import replacing
from percert.metrics.certified.embedding import SHORTEST
from percert.reports import write_records, write_run
from percert.search.own_ids import own_ids_of
from percert.search.query.results import Duplicates, Link
from percert.tensors import Embeddings

if TYPE_CHECKING:
    from percert.search.store import Store


def export_store(
    store: "Store", path: str | os.PathLike[str], found: Duplicates | None = None
) -> int:
    """Write ``store`` to the parquet file ``path``, whole or not at all; returns how many rows.

    A row is a file, or an image without one, with the columns ``filepath`` (absolute, as fiftyone
    expects), ``id`` (the SHA-256 of its bytes), ``own_id`` (the user's, or null), ``height``,
    ``width``, and ``embedding``: that of the whole image, float32 of length 1; the metric's
    distance of two is 1 - their dot product. With ``found``, the result of
    :meth:`Store.duplicates`, ``links`` lists the files that it is a copy of or that are copies of
    it, each with ``id``, ``filepath``, ``distance``, ``threshold`` and ``radius``.
    """
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

    schema = _schema(store, with_links=found is not None)
    links = {} if found is None else _links(found)
    count = 0
    with replacing(path) as waiting, pq.ParquetWriter(waiting, schema) as writer:
        for table in _tables(store, schema, links):
            writer.write_table(table)
            count += len(table)
    return count


def write_duplicates(
    out: Path,
    found: Duplicates,
    *,
    store: str,
    device: str = "cpu",
    seconds: float = 0.0,
    command: Sequence[str] = (),
) -> None:
    """Write what :meth:`Store.duplicates` found into the folder ``out``.

    ``records.parquet`` (links), ``clusters.parquet`` (a file a row) and ``run.json``.
    """
    links = [asdict(link) for link in found.links]
    numbers = dict.fromkeys(("distance", "threshold", "radius"), float)
    columns = {field.name: str for field in fields(Link)} | numbers
    write_records(out / "records.parquet", links, columns)
    members = [
        {"cluster": place, "id": id, "path": path, "radius": cluster.radius}
        for place, cluster in enumerate(found.clusters)
        for id, path in cluster.files
    ]
    write_records(
        out / "clusters.parquet", members, {"cluster": int, "id": str, "path": str, "radius": float}
    )
    write_run(
        out,
        command=list(command),
        seed=None,
        device=device,
        seconds=seconds,
        settings={"store": store, "rule": asdict(found.rule), "metric": found.metric},
    )


def _tables(store: "Store", schema: Any, links: dict[str, list[dict[str, Any]]]) -> Iterator[Any]:
    """The rows of each block of the store as an Arrow table."""
    import pyarrow as pa

    constant = store.metric_id.constant
    for block in store.blocks():
        whole = block.of_view(0)
        ids = list(whole.ids)
        facts = store.rows(["id", "height", "width", "paths"], ids)
        directions = _directions(whole.embeddings, constant).numpy()
        paths = facts["paths"].to_pylist()
        names = own_ids_of(store.path, (path for held in paths for path in held)) or {}
        place = {id: row for row, id in enumerate(ids)}
        columns: dict[str, list[Any]] = {name: [] for name in schema.names}
        for row, held in zip(
            facts.select(["id", "height", "width"]).to_pylist(), paths, strict=True
        ):
            for path in held or [None]:
                columns["filepath"].append(path)
                columns["own_id"].append(names.get(path))
                columns["embedding"].append(directions[place[row["id"]]])
                for name, value in row.items():
                    columns[name].append(value)
                if "links" in columns:
                    columns["links"].append(links.get(path if path is not None else row["id"], []))
        yield pa.table(columns, schema=schema)


def _directions(h: Embeddings, constant: float) -> Embeddings:
    """unit([h; c]) in float32; without the last value where c is 0. No direction is all zeros."""
    h = h.double()
    if constant:
        h = torch.nn.functional.pad(h, (0, 1), value=constant)
    norm = h.norm(dim=1, keepdim=True)
    return torch.where(norm >= SHORTEST, h / norm, 0.0).float()


def _links(found: Duplicates) -> dict[str, list[dict[str, Any]]]:
    """What each file, or each image without one, is linked with."""
    links: dict[str, list[dict[str, Any]]] = {}
    for link in found.links:
        ends = ((link.first, link.first_path), (link.second, link.second_path))
        numbers = {"distance": link.distance, "threshold": link.threshold, "radius": link.radius}
        for (id, path), (other, other_path) in (ends, ends[::-1]):
            entry = {"id": other, "filepath": other_path, **numbers}
            links.setdefault(path if path is not None else id, []).append(entry)
    return links


def _schema(store: "Store", *, with_links: bool) -> Any:
    import pyarrow as pa

    constant = store.metric_id.constant
    width = store.metric_id.width + bool(constant)
    fields = [
        pa.field("filepath", pa.string()),
        pa.field("id", pa.string()),
        pa.field("own_id", pa.string()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("embedding", pa.list_(pa.float32(), width)),
    ]
    if with_links:
        text, number = pa.string(), pa.float64()
        names = {"id": text, "filepath": text}
        numbers = dict.fromkeys(("distance", "threshold", "radius"), number)
        fields.append(pa.field("links", pa.list_(pa.struct({**names, **numbers}))))
    own = store.metric_id
    told = {b"percert.metric": own.name.encode(), b"percert.weights": own.weights.encode()}
    return pa.schema(fields, metadata=told)
