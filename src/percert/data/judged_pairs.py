"""Pairs of images that people judged: how many saw a difference, or how far apart they are.

Both come in CSV files, a row a pair. Of pairs that were shown, ``reference,changed`` and how many
of ``observers`` said that they differ (``said_different``); rows of the same pair are added up, so
that a file with a row an answer is read as well. Of opinions, ``reference,changed,score``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from percert.data.triplets import csv_rows, find_column, image_folder


@dataclass(frozen=True)
class NoticedPair:
    """A reference and one of its candidates, and the share of people who took them for the same.

    ``same`` is in [0, 1]. ``observers`` counts the answers, where that is known; ``group`` is a
    kind of change, empty where there is none.
    """

    name: str
    reference: Path
    candidate: Path
    same: float
    observers: int | None = None
    group: str = ""

    @property
    def seen(self) -> float:
        """The share who saw a difference.

        >>> NoticedPair("a", Path("a.png"), Path("b.png"), 0.25).seen
        0.75
        """
        return 1 - self.same


@dataclass(frozen=True)
class ScoredPair:
    """A reference and one of its candidates, and how far apart people find them.

    A greater ``score`` is a greater difference, on whatever scale the study had.
    """

    name: str
    reference: Path
    candidate: Path
    score: float
    group: str = ""


#: What the columns may be called, in lower case.
COLUMNS: dict[str, tuple[str, ...]] = {
    "reference": ("reference", "original", "ref", "ref_path", "ref_img", "reference_image"),
    "candidate": ("changed", "candidate", "distorted", "dist_path", "dist_img", "image"),
    "said": ("said_different", "different", "seen"),
    "observers": ("observers", "answers", "n"),
    "worse": ("score", "dmos", "jnd", "jnd_level", "difference"),
    "better": ("mos", "mcos", "similarity"),
    "name": ("name", "id"),
    "group": ("group", "attack", "distortion", "kind", "dist_type"),
}


def is_noticed(columns: Sequence[str]) -> bool:
    """Whether a file with these columns says how many observers saw a difference."""
    return all(find_column(columns, COLUMNS[what]) for what in ("said", "observers"))


def is_scored(columns: Sequence[str]) -> bool:
    """Whether a file with these columns has a score of each pair."""
    return any(find_column(columns, COLUMNS[what]) for what in ("worse", "better"))


#: What a file of any kind has, for messages.
EXPECTED = (
    "reference,changed,observers,said_different, or reference,changed and a score "
    f"({', '.join((*COLUMNS['worse'], *COLUMNS['better']))}), or "
    "reference,left,right,votes_left,votes_right"
)


@dataclass(frozen=True)
class ShownPair:
    """Two pictures for observers, ``reference`` and ``changed`` as their file names them.

    ``folder`` is from where these paths count.
    """

    reference: str
    changed: str
    group: str
    folder: Path


def pairs_to_show(path: Path, *, images: Path | None = None) -> list[ShownPair]:
    """The pairs of the CSV file ``path``, each once: ``reference,changed``, perhaps ``group``.

    Otherwise as :func:`noticed_pairs`, which reads what observers say of them.
    """
    found: dict[str, ShownPair] = {}
    for row in _rows(path, images, ()):
        pair = ShownPair(row.values["reference"], row.values["candidate"], row.group, row.folder)
        found.setdefault(f"{pair.reference} | {pair.changed}", pair)
    return list(found.values())


def noticed_pairs(path: Path, *, images: Path | None = None) -> list[NoticedPair]:
    """The pairs of the CSV file ``path`` with their observers' answers, those of a pair added up.

    It has the columns ``reference,changed,observers,said_different``, and may have ``group`` and
    ``name`` (other names: :data:`COLUMNS`). Paths count from the folder ``images``, or from that of
    the file, or from the folder ``images`` beside it. Pairs that nobody was asked about are left
    out. Raises ``ValueError``, with the row, for a file that is something else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = Path(folder, "t.csv")
    ...     _ = table.write_text("reference,changed,observers,said_different\\na.png,b.png,4,1\\n")
    ...     [(pair.seen, pair.observers) for pair in noticed_pairs(table)]
    [(0.25, 4)]
    """
    counts: dict[str, tuple[NoticedPair, int, int]] = {}
    for row in _rows(path, images, ("said", "observers")):
        observers, said = (row.count(what) for what in ("observers", "said"))
        if said > observers:
            raise ValueError(
                f"{row.what}: expected no more who said so than were asked, found {said} of "
                f"{observers}"
            )
        pair = NoticedPair(row.name, row.reference, row.candidate, 0.0, 0, row.group)
        first, before, more = counts.get(row.name, (pair, 0, 0))
        if (first.reference, first.candidate) != (pair.reference, pair.candidate):
            raise ValueError(f"{row.what}: another pair is called {row.name!r} already")
        counts[row.name] = (first, before + observers, more + said)
    return [
        replace(pair, same=1 - said / observers, observers=observers)
        for pair, observers, said in counts.values()
        if observers
    ]


def scored_pairs(path: Path, *, images: Path | None = None) -> list[ScoredPair]:
    """The pairs of the CSV file ``path`` with their opinion scores.

    It has the columns ``reference,changed`` and a score: ``score``, ``dmos``, ``jnd`` or
    ``jnd_level`` say how different two images are, ``mos``, ``mcos`` or ``similarity`` how good or
    alike (their sign is turned round). A pair whose score is empty is left out. Otherwise as
    :func:`noticed_pairs`. Some sets call something else by these names (the "dmos" of KADID-10k is
    better where it is higher): rename the column.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = Path(folder, "t.csv")
    ...     _ = table.write_text("reference,changed,MOS\\na.png,b.png,4.5\\n")
    ...     [pair.score for pair in scored_pairs(table)]
    [-4.5]
    """
    found: dict[str, ScoredPair] = {}
    for row in _rows(path, images, ()):
        column = "worse" if "worse" in row.values else "better"
        if column not in row.values:
            scores = (*COLUMNS["worse"], *COLUMNS["better"])
            raise ValueError(
                f"{path}: expected a column of scores, one of {', '.join(scores)}; found "
                f"{', '.join(filter(None, row.names.values()))}"
            )
        if not row.values[column]:
            continue
        score = row.number(column) * (1 if column == "worse" else -1)
        if row.name in found:
            raise ValueError(f"{row.what}: the pair {row.name!r} stands there twice")
        found[row.name] = ScoredPair(row.name, row.reference, row.candidate, score, row.group)
    return list(found.values())


@dataclass(frozen=True)
class _Row:
    """One row: its ``values`` by what they are; ``what`` and ``names`` are for messages."""

    what: str
    names: Mapping[str, str | None]
    values: Mapping[str, str]
    folder: Path

    @property
    def name(self) -> str:
        return self.values.get("name") or f"{self.values['reference']} | {self.values['candidate']}"

    @property
    def group(self) -> str:
        return self.values.get("group", "")

    @property
    def reference(self) -> Path:
        return self.folder / self.values["reference"]

    @property
    def candidate(self) -> Path:
        return self.folder / self.values["candidate"]

    def number(self, column: str) -> float:
        try:
            value = float(self.values[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(
                f"{self.what}: expected a number in {self.names[column]}, found "
                f"{self.values[column]!r}"
            )
        return value

    def count(self, column: str) -> int:
        value = self.number(column)
        if value < 0 or value != int(value):
            raise ValueError(
                f"{self.what}: expected a whole number in {self.names[column]}, found "
                f"{self.values[column]!r}"
            )
        return int(value)


def _rows(path: Path, images: Path | None, needed: Sequence[str]) -> Iterator[_Row]:
    rows = csv_rows(path)
    first = next(rows)
    columns = list(first)
    names = {what: find_column(columns, usual) for what, usual in COLUMNS.items()}
    for what in ("reference", "candidate", *needed):
        if names[what] is None:
            raise ValueError(
                f"{path}: expected a column {COLUMNS[what][0]}, found {', '.join(columns)}"
            )
    folder = image_folder(path, images, first[names["reference"] or ""])
    for number, row in enumerate(chain([first], rows), 1):
        values = {what: row[name] for what, name in names.items() if name is not None}
        if not values["reference"] or not values["candidate"]:
            raise ValueError(f"{path}: row {number} does not name two images")
        yield _Row(f"{path}: row {number}", names, values, folder)
