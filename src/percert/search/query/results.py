"""Result types of queries, ready for JSON and pandas."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from percert.extras import install_extra
from percert.search.query.rule import Rule

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

    from percert.images.insets import Inset


@dataclass(frozen=True)
class Match:
    """One stored image and a query.

    ``distance`` in [0, 2] stays within ``lower`` and ``upper`` while the query moves by the eps of
    the answer. ``radius`` is the l2 length in the query's pixels by which the query may move
    without changing what is said of this image: among the nearest it stays among the first k; of
    copies the verdict stays. ``certain`` says that ``radius`` is above eps (of copies: and that it
    is one). ``view`` is the stored view that is nearest (of copies: that is furthest within its
    own ``threshold``; ``None`` where copies are not asked for), ``paths`` are all files with the
    very bytes of the image, in order, and ``path`` is the first of them.
    """

    id: str
    path: str | None
    paths: tuple[str, ...]
    view: str
    distance: float
    lower: float
    upper: float
    certain: bool
    radius: float
    threshold: float | None = None

    @property
    def is_copy(self) -> bool:
        """Whether the query is a copy of it now, where copies are asked for."""
        return self.threshold is not None and self.distance <= self.threshold


@dataclass(frozen=True)
class PartnerMatch:
    """One stored image and a query, by the collection's partner, which proves nothing.

    ``distance`` is 1 - cosine of the partner's directions; ``copy`` says that it is within the
    image's own ``threshold``.
    """

    id: str
    path: str | None
    paths: tuple[str, ...]
    distance: float
    threshold: float
    copy: bool


@dataclass(frozen=True)
class PartnerAnswer:
    """The partner's answer to one query, nearest first; any tamper may change it.

    It is ``metric`` with ``weights``. Of queries that are copies of nothing a share ``wrong`` is
    expected to be given one here, by the ``strangers`` that its rule was made by; the rate of a
    pair that this takes was ``counted``, or else is extrapolated. ``compared`` stored images have a
    row of the partner, ``without`` have none.
    """

    metric: str
    weights: str
    wrong: float
    counted: bool
    strangers: str
    compared: int
    without: int
    results: tuple[PartnerMatch, ...]


@dataclass(frozen=True)
class PartnerLink:
    """Two stored images that the partner finds to be copies: within the wider of their thresholds.

    Nothing is proven of it.
    """

    first: str
    second: str
    first_path: str | None
    second_path: str | None
    distance: float
    threshold: float


#: Verdicts of an answer, strongest first: a copy that no tamper of eps can undo; a copy now; none
#: now that a tamper could make one; nothing here resembles it.
Finding: TypeAlias = Literal["certain", "found", "possible", "nothing"]


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
    partner: PartnerAnswer | None = None

    def to_json(self) -> dict[str, Any]:
        found = _without_none(asdict(self), ("candidates", "certain", "eps", "partner"))
        for match in (*found["results"], *found.get("candidates", ())):
            del match["threshold"]  # of copies alone
        return found

    def to_pandas(self) -> "pd.DataFrame":
        found = table([(self.query, match) for match in self.results])
        return found.drop(columns="threshold")  # of copies alone


@dataclass(frozen=True)
class InsetCopies:
    """Copies of a picture that was found inside the query, which ``inset`` says where.

    ``results`` are those of that part: what is certain stays so while the query moves by up to eps
    and this very part of it is asked. That the part would be found again is not proven.
    """

    inset: "Inset"
    results: tuple[Match, ...]


@dataclass(frozen=True)
class Copies:
    """Every stored image that is a copy of one query, or could be one after a move of ``eps``.

    A copy is within its own threshold, by ``rule``; what is furthest within comes first.
    ``certain`` are those that stay copies for every move of up to ``eps``; the others are possible
    copies: no stored image that is not listed could be one. Certain is what a tamper changes, not
    that it is the same picture: how rarely a stranger gets an answer here is ``rule.wrong``.
    ``insets`` are the pictures found inside the query, each with its own copies; ``None`` where
    they were not looked for.
    """

    query: str
    rule: Rule
    eps: float
    results: tuple[Match, ...]
    metric: str
    partner: PartnerAnswer | None = None
    insets: tuple[InsetCopies, ...] | None = None

    @property
    def verdict(self) -> Finding:
        """The verdict of the answer: the certified metric and the partner together.

        ``"nothing"`` needs both: no stored image is within its threshold for either, and none can
        come within the certified metric's by a tamper of ``eps``. A copy of a picture inside the
        query is ``"found"``.
        """
        if self.certain:
            return "certain"
        inside = [match for one in self.insets or () for match in one.results]
        found = any(match.is_copy for match in (*self.results, *inside))
        if found or (self.partner is not None and self.partner.results):
            return "found"
        return "possible" if self.results else "nothing"

    @property
    def certain(self) -> tuple[Match, ...]:
        return tuple(match for match in self.results if match.certain)

    @property
    def possible(self) -> tuple[Match, ...]:
        """Those that are not certain."""
        return tuple(match for match in self.results if not match.certain)

    def to_json(self) -> dict[str, Any]:
        return {**_without_none(asdict(self), ("partner", "insets")), "verdict": self.verdict}

    def to_pandas(self) -> "pd.DataFrame":
        return table([(self.query, match) for match in self.results])


Answer = TypeVar("Answer", Nearest, Copies)


@dataclass(frozen=True)
class Link:
    """Two stored images, ``first`` within the ``threshold`` of ``view`` of ``second``, its own.
    They stay copies while both move, each by less than ``radius`` in its pixels.

    Two files of the same bytes are one image: ``first`` and ``second`` are the same id then, the
    paths differ, and the distance is 0. Each other file of an image is linked with its first. A
    path is ``None`` for an image that no file holds.
    """

    first: str
    second: str
    first_path: str | None
    second_path: str | None
    view: str
    distance: float
    threshold: float
    radius: float


@dataclass(frozen=True)
class Cluster:
    """Images that links connect. They stay connected while each moves by less than ``radius``.

    ``files`` are (id, path), one of each file, and one (id, ``None``) of an image without any.
    """

    files: tuple[tuple[str, str | None], ...]
    radius: float

    @property
    def ids(self) -> tuple[str, ...]:
        """The images, each once."""
        return tuple(dict.fromkeys(id for id, _ in self.files))

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, twins among them."""
        return tuple(path for _, path in self.files if path is not None)

    def to_json(self) -> dict[str, Any]:
        return {"ids": self.ids, "paths": self.paths, "radius": self.radius}


@dataclass(frozen=True)
class Duplicates:
    """All pairs of a collection that are copies by ``rule``, and the clusters that they make.

    ``compared`` counts pairs of images. Links of two files of one image come besides.
    """

    rule: Rule
    links: tuple[Link, ...]
    clusters: tuple[Cluster, ...]
    compared: int
    metric: str
    partner: str | None = None
    partner_links: tuple[PartnerLink, ...] = ()

    @property
    def twins(self) -> tuple[Link, ...]:
        """The links of files with the same bytes."""
        return tuple(link for link in self.links if link.first == link.second)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "clusters": [one.to_json() for one in self.clusters]}

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
        raise ValueError(f"tables need pandas: {install_extra('search')}") from None
    return pandas


def _without_none(entries: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
    return {
        name: value for name, value in entries.items() if value is not None or name not in optional
    }
