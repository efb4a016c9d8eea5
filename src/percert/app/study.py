"""A study: observers say of pairs of pictures whether they differ, and only counts are kept.

Each observer sees all pairs once, in an order and with sides of their own, and among them catch
pairs: a picture beside itself. Who they are, when they answered and which answers are of the same
person is written nowhere. The counts are a CSV file that ``percert eval people`` reads.
"""

import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from percert.data.judged_pairs import ShownPair, pairs_to_show
from percert.data.triplets import csv_rows
from percert.files import write_whole
from percert.images import load_image, save_image
from percert.reports.table import Column, csv_text

#: How long a pair is shown, in seconds; ``app.css`` hides it after these.
SHOWN_SECONDS = 5.0
#: How long after that a slow connection may still ask for its pictures.
SLACK_SECONDS = 5.0
#: Observers at once; the oldest are forgotten for more.
MOST_OBSERVERS = 1000
#: The group of catch pairs.
UNCHANGED = "none"
#: What a pair is counted under.
Key = tuple[str, str]


@dataclass(frozen=True)
class Counted:
    """How many observers of a pair were asked, and how many said that the two differ."""

    pair: ShownPair
    asked: int
    said: int


#: The file of answers: what ``percert eval people`` reads.
COLUMNS: list[Column[Counted]] = [
    Column("reference", attrgetter("pair.reference")),
    Column("changed", attrgetter("pair.changed")),
    Column("group", attrgetter("pair.group")),
    Column("observers", attrgetter("asked")),
    Column("said_different", attrgetter("said")),
]


@dataclass(frozen=True)
class StudyFiles:
    """The pairs, and where answers are counted (``None``: beside the pairs)."""

    pairs: Path
    answers: Path | None = None

    @property
    def counted(self) -> Path:
        """The file of answers."""
        return self.answers or self.pairs.with_name(f"{self.pairs.stem}-answers.csv")


@dataclass
class Observer:
    """One observer's way through the pairs: their ``order``, the sides, and the ``place`` so far.

    ``shown`` is when the pair of this place was shown, ``None`` before that.
    """

    order: list[int]
    swapped: list[bool]
    place: int = 0
    shown: float | None = None


@dataclass
class Study:
    """The pairs with catch pairs among them, the pictures as PNG files, and the counts so far."""

    pairs: Sequence[ShownPair]
    pictures: dict[str, Path]
    answers: Path
    counts: dict[Key, tuple[int, int]] = field(default_factory=dict)
    observers: dict[str, Observer] = field(default_factory=dict)

    def begin(self) -> str:
        """A new observer's id, which nobody can guess."""
        order = list(range(len(self.pairs)))
        chance = random.SystemRandom()
        chance.shuffle(order)
        while len(self.observers) >= MOST_OBSERVERS:
            self.observers.pop(next(iter(self.observers)))
        name = secrets.token_urlsafe(16)
        self.observers[name] = Observer(order, [chance.random() < 0.5 for _ in order])
        return name

    def show(self, observer: Observer, now: float | None = None) -> bool:
        """Note that the observer's pair is shown now; ``False`` where it was already."""
        if observer.shown is not None:
            return False
        observer.shown = time.monotonic() if now is None else now
        return True

    def picture(self, observer: Observer, side: int, now: float | None = None) -> Path | None:
        """The left (0) or right (1) picture of the pair that is shown, as long as that may be."""
        now = time.monotonic() if now is None else now
        there = observer.shown is not None and observer.place < len(observer.order)
        if not there or now - (observer.shown or 0.0) > SHOWN_SECONDS + SLACK_SECONDS:
            return None
        number = observer.order[observer.place]
        pair = self.pairs[number]
        names = (pair.reference, pair.changed)
        return self.pictures[names[side ^ observer.swapped[observer.place]]]

    def answer(self, observer: Observer, place: int, different: bool) -> None:
        """Count the answer to the pair of this place; one alone, and none to what is over."""
        if place != observer.place or observer.shown is None:
            return
        pair = self.pairs[observer.order[place]]
        key = (pair.reference, pair.changed)
        asked, said = self.counts.get(key, (0, 0))
        self.counts[key] = (asked + 1, said + different)
        observer.place, observer.shown = place + 1, None
        self.write()

    def write(self) -> None:
        """Write the counts, whole or not at all."""
        rows = [
            Counted(pair, *self.counts[pair.reference, pair.changed])
            for pair in self.pairs
            if (pair.reference, pair.changed) in self.counts
        ]
        write_whole(self.answers, csv_text(rows, COLUMNS))


def open_study(files: StudyFiles, folder: Path) -> Study:
    """The study of ``files``, its pictures decoded into ``folder``; it goes on with its counts.

    Raises ``ValueError`` for pairs that are none, pictures that cannot be read, and for counts of
    other pairs.
    """
    given = pairs_to_show(files.pairs)
    pairs = with_catch_pairs(given)
    pictures: dict[str, Path] = {}
    for pair in given:
        for name in (pair.reference, pair.changed):
            if name not in pictures:
                pictures[name] = folder / f"study-{len(pictures)}.png"
                save_image(load_image(pair.folder / name), pictures[name])
    study = Study(pairs, pictures, files.counted)
    known = {(pair.reference, pair.changed) for pair in pairs}
    if files.counted.exists():
        for row in csv_rows(files.counted):
            key = (row.get("reference", ""), row.get("changed", ""))
            asked, said = (row.get(name, "") for name in ("observers", "said_different"))
            if key not in known or not (asked.isdecimal() and said.isdecimal()):
                raise ValueError(
                    f"{files.counted}: expected the answers to this study, found a row of "
                    f"{' and '.join(key)}; give another file for the answers"
                )
            study.counts[key] = (int(asked), int(said))
    return study


def with_catch_pairs(pairs: Sequence[ShownPair]) -> list[ShownPair]:
    """The pairs, and every reference beside itself, in the group ``none``.

    >>> [(one.reference, one.changed, one.group)
    ...  for one in with_catch_pairs([ShownPair("a.png", "b.png", "", Path())])]
    [('a.png', 'b.png', ''), ('a.png', 'a.png', 'none')]
    """
    there = {(pair.reference, pair.changed) for pair in pairs}
    catch = [
        ShownPair(pair.reference, pair.reference, UNCHANGED, pair.folder)
        for pair in pairs
        if (pair.reference, pair.reference) not in there
    ]
    return [*pairs, *dict.fromkeys(catch)]
