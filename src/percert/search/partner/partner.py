"""The partner of an opened store, a second and unproven descriptor: its rows and its answers."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar, final

import torch
from torch import Tensor

from percert.metrics.descriptor import Descriptor, create_descriptor
from percert.search.partner.answers import PartnerHit, partner_answers, partner_links
from percert.search.partner.fill import (
    Filled,
    Progress,
    add_partner_tensors,
    check_same_partner,
    directions,
    fill_partner,
    set_partner,
)
from percert.search.partner.rule import PartnerRule
from percert.search.partner.table import (
    PartnerId,
    PartnerRows,
    forget_gone,
    open_partner,
    read_partner_id,
    read_rows,
)
from percert.search.query.results import Copies, Duplicates, Nearest
from percert.search.tables.location import Tables
from percert.search.tables.paths import Paths
from percert.tensors import Vector

A = TypeVar("A", Nearest, Copies)
#: Stored images that are compared with others at once.
AT_ONCE = 1024


@final
class Partner:
    """The partner of an opened store. ``descriptor`` is loaded when a query first needs it."""

    def __init__(
        self,
        tables: Tables,
        descriptor: Descriptor | Literal[False] | None = None,
        device: str = "cpu",
        paths: Paths | None = None,
    ) -> None:
        self.tables = tables
        self.device = device
        self._paths = Paths(tables) if paths is None else paths
        self._descriptor = descriptor
        self._table: Any = None
        self._kept: tuple[Any, PartnerRows] | None = None

    def set(
        self,
        descriptor: Descriptor,
        strangers: Sequence[str | os.PathLike[str]] | None = None,
        progress: Progress = lambda done, total: None,
    ) -> tuple[PartnerId, PartnerRule | None]:
        """Give the store a partner, or its partner a rule by other ``strangers``.

        Returns its identity, and its rule before (:func:`percert.search.partner.fill.set_partner`).
        """
        self._descriptor = descriptor
        return set_partner(self.tables, descriptor, strangers, progress)

    def fill(
        self, *, max_memory: int | None = None, progress: Progress = lambda done, total: None
    ) -> Filled:
        """Make a row, from its file, for each image without one, where there is a partner."""
        if self.id is None:
            return Filled()
        return fill_partner(
            self.tables, self.descriptor(), max_memory=max_memory, progress=progress
        )

    def add(self, images: Mapping[str, Tensor], ids: Sequence[str]) -> None:
        """Add the rows of ``images`` that are called ``ids``, where there is a partner."""
        if self.id is not None and ids:
            add_partner_tensors(self.tables, self.descriptor(), [images[id] for id in ids], ids)

    def forget_gone(self) -> int:
        """Remove the rows of images that the store does not have any more; how many."""
        return forget_gone(self.tables)

    @property
    def id(self) -> PartnerId | None:
        """The partner's identity; ``None`` where the store has none, or was opened without."""
        if self._descriptor is False:
            return None
        if self._table is None:
            self._table = open_partner(self.tables.path)
        if self._table is None:
            return None
        self._table.checkout_latest()
        return read_partner_id(self._table)

    @property
    def known(self) -> PartnerId:
        """The partner's identity. Raises ``ValueError`` where the store has none."""
        found = self.id
        if found is None:
            raise ValueError(f"{self.tables.path}: has no partner")
        return found

    def descriptor(self) -> Descriptor:
        """The network. Raises ``ValueError`` where it is missing or of other weights."""
        held, path = self.known, self.tables.path
        if not self._descriptor:
            try:
                self._descriptor = create_descriptor(held.name, self.device)
            except ValueError as error:
                raise ValueError(f"{path}: has the partner {held.name}: {error}") from None
        check_same_partner(held, self._descriptor, path)
        return self._descriptor

    def rows(self) -> PartnerRows:
        """The rows of the images that the store has now."""
        self.known  # noqa: B018  # the latest version
        key = (self._table.version, self.tables.images.version)
        if self._kept is None or self._kept[0] != key:
            rows = read_rows(self._table)
            found = self.tables.images.search().select(["id"]).to_arrow()["id"].to_pylist()
            there = set(found)
            places = [at for at, id in enumerate(rows.ids) if id in there]
            index = torch.tensor(places, dtype=torch.long)
            kept = PartnerRows([rows.ids[at] for at in places], rows.g[index], rows.likeness[index])
            self._kept = key, kept
        return self._kept[1]

    def thresholds(self, wrong: float) -> Vector:
        """The largest distance of a copy from each row, at ``wrong`` false positives a query."""
        rows = self.rows()
        least = self.known.rule.thresholds(rows.likeness, wrong / max(1, len(rows.ids)))
        # In half precision a direction is at most this far from its own cosine of 1.
        return (1 - least).double().clamp_min(1e-3)

    def distances(self, images: Sequence[Tensor]) -> Tensor:
        """1 - cosine of each image ``(3, h, w)`` and each row, ``(q, n)``, float64."""
        rows = self.rows()
        if not images or not len(rows.ids):
            return torch.zeros(len(images), len(rows.ids), dtype=torch.float64)
        asked = directions(self.descriptor(), images)
        return (1 - asked @ rows.g.T).double().clamp_min(0)

    def copies(self, images: Sequence[Tensor], wrong: float) -> list[list[PartnerHit]]:
        """The stored copies of each image, nearest first, by the partner's thresholds."""
        rows, limits, found = self.rows(), self.thresholds(wrong), []
        for distance in self.distances(images):
            places = torch.nonzero(distance <= limits).flatten()
            found.append(_hits(rows, distance, limits, places[distance[places].argsort()]))
        return found

    def nearest(self, images: Sequence[Tensor], k: int, wrong: float) -> list[list[PartnerHit]]:
        """The ``k`` stored images nearest to each, copies or not."""
        rows, limits = self.rows(), self.thresholds(wrong)
        return [
            _hits(rows, distance, limits, distance.topk(min(k, len(rows.ids)), largest=False)[1])
            for distance in self.distances(images)
        ]

    def beside(
        self, answers: Iterable[A], images: Sequence[Tensor], wrong: float, k: int | None = None
    ) -> list[A]:
        """``answers`` with the partner's to ``images``: its ``k`` nearest, or else its copies."""
        if self.id is None:
            return list(answers)
        asked = self.copies(images, wrong) if k is None else self.nearest(images, k, wrong)
        paths = self._paths.of(hit.id for some in asked for hit in some)
        count, rows = int(self.tables.images.count_rows()), len(self.rows().ids)
        own = partner_answers(paths, self.known, rows, count, asked, wrong)
        return [replace(one, partner=mine) for one, mine in zip(answers, own, strict=True)]

    def beside_links(self, found: Duplicates, wrong: float) -> Duplicates:
        """``found`` with the partner's pairs added."""
        if self.id is None:
            return found
        pairs = list(self.pairs(wrong))
        links = partner_links(self._paths.of(id for pair in pairs for id in pair[:2]), pairs)
        return replace(found, partner=self.known.name, partner_links=links)

    def pairs(self, wrong: float) -> Iterator[tuple[str, str, float, float]]:
        """Pairs within the wider of their two thresholds: ids, distance, that threshold."""
        rows, limits = self.rows(), self.thresholds(wrong)
        for start in range(0, len(rows.ids), AT_ONCE):
            mine = rows.g[start : start + AT_ONCE]
            for other in range(start, len(rows.ids), AT_ONCE):
                block = rows.g[other : other + AT_ONCE]
                distance = (1 - mine @ block.T).double().clamp_min(0)
                wider = torch.maximum(
                    limits[start : start + AT_ONCE, None], limits[other : other + AT_ONCE]
                )
                near = distance <= wider
                if other == start:
                    near = near.triu(1)
                for a, b in near.nonzero().tolist():
                    yield (
                        rows.ids[start + a],
                        rows.ids[other + b],
                        float(distance[a, b]),
                        float(wider[a, b]),
                    )


def _hits(rows: PartnerRows, distance: Tensor, limits: Vector, order: Tensor) -> list[PartnerHit]:
    return [
        PartnerHit(rows.ids[at], float(distance[at]), float(limits[at])) for at in order.tolist()
    ]
