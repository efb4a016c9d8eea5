"""Turns raw query results into public answers: adds the names of views and the paths of files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from percert.search.query.nearest import NearestImages, Neighbour
from percert.search.query.range_search import CopyVerdict
from percert.search.query.results import Copies, Match, Nearest
from percert.search.query.rule import Rule


@dataclass(frozen=True)
class Answering:
    """Makes the answers of one store, given the names of its ``views`` and of its ``metric``.

    ``paths_of`` maps ids of images to the paths of the files that hold them.
    """

    views: Sequence[str]
    metric: str
    paths_of: Callable[[Iterable[str]], Mapping[str, Sequence[str]]]

    def nearest(
        self, names: Sequence[str], found: Sequence[NearestImages], k: int, eps: float | None
    ) -> list[Nearest]:
        """One :class:`Nearest` a query, from what the k-nearest search ``found`` for it."""
        items = [item for one in found for item in (*one.items, *(one.candidates or ()))]
        match = matcher(self.views, self.paths_of(item.id for item in items))
        return [
            _nearest(name, k, eps, one, match, self.metric)
            for name, one in zip(names, found, strict=True)
        ]

    def copies(
        self, names: Sequence[str], found: Sequence[Sequence[CopyVerdict]], rule: Rule, eps: float
    ) -> list[Copies]:
        """One :class:`Copies` a query, from the verdicts that the range search ``found`` for it."""
        match = matcher(self.views, self.paths_of(copy.item.id for one in found for copy in one))
        return [
            Copies(
                query=name,
                rule=rule,
                eps=eps,
                results=tuple(match(copy.item, copy.certain, copy.threshold) for copy in one),
                metric=self.metric,
            )
            for name, one in zip(names, found, strict=True)
        ]


def query_names(names: Sequence[str] | None, count: int) -> list[str]:
    """The names of ``count`` queries in answers: ``names``, or by default "0", "1", and so on."""
    if names is None:
        return [str(at) for at in range(count)]
    if len(names) != count:
        raise ValueError(f"names: expected {count}, one an image, found {len(names)}")
    return list(names)


class Matcher(Protocol):
    """Converts a neighbour to a :class:`Match`; of copies with the image's own ``threshold``."""

    def __call__(self, item: Neighbour, certain: bool, threshold: float | None = None) -> Match: ...


def matcher(views: Sequence[str], paths: Mapping[str, Sequence[str]]) -> Matcher:
    """The :class:`Matcher` of a store with these ``views``; ``paths`` are its files by image id."""

    def match(item: Neighbour, certain: bool, threshold: float | None = None) -> Match:
        files = tuple(paths.get(item.id, ()))
        return Match(
            id=item.id,
            path=files[0] if files else None,
            paths=files,
            view=views[item.view],
            distance=item.distance,
            lower=item.lower,
            upper=item.upper,
            certain=certain,
            radius=item.radius,
            threshold=threshold,
        )

    return match


def _nearest(
    query: str,
    k: int,
    eps: float | None,
    found: NearestImages,
    match: Matcher,
    metric: str,
) -> Nearest:
    """The answer to one query, from what was ``found`` for it."""
    candidates = found.candidates
    certain = None if candidates is None else len(candidates) <= 1
    return Nearest(
        query=query,
        k=k,
        eps=eps,
        results=tuple(match(item, item.radius > (eps or 0.0)) for item in found.items),
        radius_first=found.radius_first,
        radius_top_k=found.radius_top_k,
        candidates=None
        if candidates is None
        else tuple(match(item, len(candidates) == 1) for item in candidates),
        certain=certain,
        metric=metric,
    )
