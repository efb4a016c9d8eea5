"""What queries answer: typed, and ready for JSON and pandas."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types


@dataclass(frozen=True)
class Match:
    """One stored image and a query.

    ``distance`` in [0, 2] stays within ``lower`` and ``upper`` while the query moves by the eps of
    the answer. ``radius`` is the l2 length in the query's pixels by which the query may move
    without changing what is said of this image: among the nearest it stays among the first k; of
    copies the verdict stays. ``certain`` says that ``radius`` is above eps (of copies: and that it
    is one). ``view`` is the stored view that is nearest, ``path`` a file that holds the image.
    """

    id: str
    path: str | None
    view: str
    distance: float
    lower: float
    upper: float
    certain: bool
    radius: float


@dataclass(frozen=True)
class Nearest:
    """The ``k`` nearest of the collection to one query, nearest first.

    The first stays the first while the query moves by less than ``radius_first``, and among the
    first k while by less than ``radius_top_k`` (infinite where nothing could overtake it, as in an
    empty collection). ``candidates`` are all images that could be the first after a move of
    ``eps``, and ``certain`` says that it is one alone; both are ``None`` without an eps.
    """

    query: str
    k: int
    eps: float | None
    results: tuple[Match, ...]
    radius_first: float
    radius_top_k: float
    candidates: tuple[Match, ...] | None
    certain: bool | None
    metric: str

    def to_json(self) -> dict[str, Any]:
        return _without_none(asdict(self), ("candidates", "certain", "eps"))

    def to_pandas(self) -> "pd.DataFrame":
        return table([(self.query, match) for match in self.results])


@dataclass(frozen=True)
class Copies:
    """Every stored image that is a copy of one query, or could be one after a move of ``eps``.

    A copy is within ``threshold``. Nearest first. ``certain`` are those that stay copies for every
    move of up to ``eps``; the others are possible copies: no stored image that is not listed could
    be one.
    """

    query: str
    threshold: float
    eps: float
    results: tuple[Match, ...]
    metric: str

    @property
    def certain(self) -> tuple[Match, ...]:
        return tuple(match for match in self.results if match.certain)

    @property
    def possible(self) -> tuple[Match, ...]:
        """Those that are not certain."""
        return tuple(match for match in self.results if not match.certain)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_pandas(self) -> "pd.DataFrame":
        return table([(self.query, match) for match in self.results])


Answer = TypeVar("Answer", Nearest, Copies)


@dataclass(frozen=True)
class Link:
    """Two stored images within the threshold. ``first`` is compared whole with ``view`` of
    ``second``. They stay within it while both move, each by less than ``radius`` in its pixels.
    """

    first: str
    second: str
    view: str
    distance: float
    radius: float


@dataclass(frozen=True)
class Cluster:
    """Images that links connect. They stay connected while each moves by less than ``radius``."""

    ids: tuple[str, ...]
    radius: float


@dataclass(frozen=True)
class Duplicates:
    """All pairs of a collection within ``threshold``, and the clusters that they make."""

    threshold: float
    links: tuple[Link, ...]
    clusters: tuple[Cluster, ...]
    compared: int
    metric: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_pandas(self) -> "pd.DataFrame":
        frame = _pandas()
        names = [field.name for field in fields(Link)]
        return frame.DataFrame([asdict(link) for link in self.links], columns=names)


class Answers(tuple[Answer, ...]):
    """The answers of several queries, in their order; one table of them all."""

    def to_pandas(self) -> "pd.DataFrame":
        return table([(answer.query, match) for answer in self for match in answer.results])


def table(rows: Sequence[tuple[str, Match]]) -> "pd.DataFrame":
    """One row a match, with the query in front."""
    names = ["query", *(field.name for field in fields(Match))]
    entries = [{"query": query, **asdict(match)} for query, match in rows]
    return _pandas().DataFrame(entries, columns=names)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ValueError("tables need pandas: pip install 'percert[search]'") from None
    return pandas


def _without_none(entries: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
    return {
        name: value for name, value in entries.items() if value is not None or name not in optional
    }
