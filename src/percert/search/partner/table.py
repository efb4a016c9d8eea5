"""The table of a partner in a store: one direction an image, and the background beside them.

``partner`` has a row an image: its ``id``, the direction ``g`` of the whole image in half
precision, and its ``likeness`` to the background. The background's own rows stand in the same
table, so that a commit changes all of it or nothing. The header, in the table's metadata, names the
partner, its weights and its rule. A store has one partner, or none.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from percert.search.partner.rule import PartnerRule, likeness_to, read_rule
from percert.search.tables.location import (
    Tables,
    is_remote,
    named_table,
    persist,
    write_table,
    writing,
)
from percert.search.tables.schema import is_one_of
from percert.tensors import Embeddings, Vector

NAME = "partner"
_MARK = b"percert"
_KEY = {b"lance-schema:unenforced-primary-key": b"true"}
#: The ids of the background's rows begin so.
BACKGROUND = "percert background "


@dataclass(frozen=True)
class PartnerId:
    """Which descriptor the rows are of, and by which rule they are compared."""

    name: str
    weights: str
    width: int
    rule: PartnerRule

    def to_metadata(self) -> dict[bytes, bytes]:
        text = {"name": self.name, "weights": self.weights, "width": self.width}
        return {_MARK: json.dumps({**text, "rule": self.rule.to_json()}).encode()}


@dataclass(frozen=True, eq=False)
class PartnerRows:
    """Directions ``g`` ``(n, k)`` float32 of the stored images ``ids``, and their ``likeness``."""

    ids: Sequence[str]
    g: Embeddings
    likeness: Vector


def read_partner_id(table: Any) -> PartnerId:
    """The header of a partner's table."""
    held = json.loads(table.schema.metadata[_MARK])
    return PartnerId(held["name"], held["weights"], held["width"], read_rule(held["rule"]))


def open_partner(store: str) -> Any:
    """The table of the partner of the ``store``, or ``None`` where it has none."""
    if not is_remote(store) and not os.path.isdir(os.path.join(store, f"{NAME}.lance")):
        return None  # every query asks
    return named_table(store, NAME)


def make_partner(store: str, partner: PartnerId, background: Embeddings) -> Any:
    """Make the table of a partner without rows of images yet. There must be none."""
    with writing(store):
        return write_table(store, NAME, _arrow(*_background_rows(background), partner))


def add_rows(store: str, table: Any, ids: Sequence[str], g: Embeddings) -> None:
    """Store directions under ``ids`` without one yet, measured against the table's background."""
    partner = read_partner_id(table)
    new = _arrow(list(ids), g, likeness_to(g, read_background(table)), partner)
    with writing(store):
        persist(lambda: table.merge_insert("id").when_not_matched_insert_all().execute(new))


def refit(store: str, table: Any, partner: PartnerId, background: Embeddings) -> Any:
    """Give the partner another rule and background: all rows are measured anew, in one commit."""
    with writing(store):
        table.checkout_latest()
        rows = read_rows(table)
        names, directions, none = _background_rows(background)
        ids = [*rows.ids, *names]
        g = torch.cat([rows.g, directions])
        likeness = torch.cat([likeness_to(rows.g, background), none])
        return write_table(store, NAME, _arrow(ids, g, likeness, partner))


def forget_gone(tables: Tables) -> int:
    """Remove the rows of images that the store does not have any more; how many."""
    table = open_partner(tables.path)
    if table is None:
        return 0
    with writing(tables.path):
        tables.refresh()
        stored = tables.images.search().select(["id"]).to_arrow()["id"].to_pylist()
        gone = sorted(set(read_ids(table)) - set(stored))
        for condition in is_one_of("id", gone):
            persist(partial(table.delete, condition))
    return len(gone)


def read_rows(table: Any) -> PartnerRows:
    """The rows of images, without those of the background."""
    found = table.search().where("NOT background").to_arrow()
    return PartnerRows(found["id"].to_pylist(), _directions(found), _numbers(found["likeness"]))


def read_ids(table: Any) -> list[str]:
    """The images that have a row."""
    found = table.search().where("NOT background").select(["id"]).to_arrow()
    ids: list[str] = found["id"].to_pylist()
    return ids


def read_background(table: Any) -> Embeddings:
    """The directions of the background, ``(m, k)``, perhaps none."""
    return _directions(table.search().where("background").to_arrow())


def _background_rows(background: Embeddings) -> tuple[list[str], Embeddings, Vector]:
    names = [f"{BACKGROUND}{row}" for row in range(len(background))]
    return names, background, torch.zeros(len(background))


def _directions(found: Any) -> Tensor:
    column = found["g"].combine_chunks()
    width = found.schema.field("g").type.list_size
    return torch.from_numpy(column.flatten().to_numpy().astype(np.float32)).view(-1, width)


def _numbers(column: Any) -> Tensor:
    return torch.from_numpy(column.to_numpy().astype(np.float32))


def _arrow(ids: list[str], g: Tensor, likeness: Tensor, partner: PartnerId) -> Any:
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    row = pa.list_(pa.float16(), partner.width)
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False, metadata=_KEY),
            pa.field("g", row, nullable=False),
            pa.field("likeness", pa.float32(), nullable=False),
            pa.field("background", pa.bool_(), nullable=False),
        ],
        metadata=partner.to_metadata(),
    )
    flat = pa.array(g.half().cpu().numpy().reshape(-1))
    columns = [
        pa.array(ids, pa.string()),
        pa.FixedSizeListArray.from_arrays(flat, type=row),
        pa.array(likeness.float().cpu().numpy()),
        pa.array([one.startswith(BACKGROUND) for one in ids]),
    ]
    return pa.Table.from_arrays(columns, schema=schema)
