"""Turns the partner's results into answers, which stand beside the proven ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from percert.search.partner.table import PartnerId
from percert.search.query.results import PartnerAnswer, PartnerLink, PartnerMatch


@dataclass(frozen=True)
class PartnerHit:
    """A stored image at ``distance`` (1 - cosine); a copy up to its own ``threshold``."""

    id: str
    distance: float
    threshold: float

    @property
    def copy(self) -> bool:
        return self.distance <= self.threshold


def partner_answers(
    paths: Mapping[str, Sequence[str]],
    held: PartnerId,
    rows: int,
    count: int,
    hits: Sequence[Sequence[PartnerHit]],
    wrong: float,
) -> list[PartnerAnswer]:
    """The partner's answer to each query, from its ``hits`` and the ``paths`` of their files.

    ``rows`` of the store's ``count`` images have a row of the partner; ``held`` is its rule,
    ``wrong`` the rate that it was applied at.
    """
    return [
        PartnerAnswer(
            metric=held.name,
            weights=held.weights,
            wrong=wrong,
            counted=wrong / max(1, rows) >= held.rule.counted,
            strangers=held.rule.source,
            compared=rows,
            without=count - rows,
            results=tuple(_match(hit, paths) for hit in some),
        )
        for some in hits
    ]


def partner_links(
    paths: Mapping[str, Sequence[str]], pairs: Iterable[tuple[str, str, float, float]]
) -> tuple[PartnerLink, ...]:
    """Pairs of stored images with their ``paths``, nearest first."""
    found = sorted(pairs, key=lambda pair: (pair[2], *pair[:2]))

    def first(id: str) -> str | None:
        return next(iter(paths.get(id, ())), None)

    return tuple(
        PartnerLink(one, other, first(one), first(other), distance, threshold)
        for one, other, distance, threshold in found
    )


def _match(hit: PartnerHit, paths: Mapping[str, Sequence[str]]) -> PartnerMatch:
    files = tuple(paths.get(hit.id, ()))
    path = files[0] if files else None
    return PartnerMatch(hit.id, path, files, hit.distance, hit.threshold, hit.copy)
