"""Human judgements of three kinds: noticed or not, a score, or which of two is closer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

from percert.check import check_choice
from percert.data.judged_pairs import COLUMNS as OF_PAIRS
from percert.data.judged_pairs import (
    EXPECTED,
    NoticedPair,
    ScoredPair,
    is_noticed,
    is_scored,
    noticed_pairs,
    scored_pairs,
)
from percert.data.judgements import bapps_folders, find_triplets, night_jnd
from percert.data.triplets import COLUMNS as OF_TRIPLETS
from percert.data.triplets import Triplet, csv_rows, find_column

AnswerKind: TypeAlias = Literal["noticed", "scored", "triplets"]
#: What :func:`find_answers` reads; ``night-jnd`` are NIGHT's just-noticeable-difference votes.
KINDS = ("auto", "noticed", "scored", "night", "night-jnd", "bapps", "triplets")

#: What was judged: two images or three.
One: TypeAlias = NoticedPair | ScoredPair | Triplet


@dataclass(frozen=True)
class ObserverAnswers:
    """Pairs or triplets that people judged, all of one ``kind``."""

    kind: AnswerKind
    judged: Sequence[One]

    @property
    def pairs(self) -> list[tuple[Path, Path]]:
        """Every (reference, candidate) that a metric has to compare, once."""
        return list(dict.fromkeys(pair for one in self.judged for pair in compared(one)))


def compared(one: One) -> tuple[tuple[Path, Path], ...]:
    """The pairs of images whose distances answer for ``one``: of a triplet left, then right."""
    if isinstance(one, Triplet):
        return (one.reference, one.left), (one.reference, one.right)
    return ((one.reference, one.candidate),)


def find_answers(
    source: Path,
    kind: str = "auto",
    *,
    images: Path | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> ObserverAnswers:
    """The answers at ``source``, at most ``limit`` of them. ``kind`` is one of :data:`KINDS`.

    With ``auto`` the columns of a CSV file say what it has: ``observers`` and ``said_different``,
    a score, or triplets; a folder is NIGHT or BAPPS. Pairs and triplets of which nobody said
    anything are left out. Raises ``ValueError`` for what is something else, and where nobody said
    anything.
    """
    check_choice(kind, KINDS, "kind")
    if kind == "auto" and source.suffix.lower() == ".csv":
        kind = _kind_of(source, list(next(csv_rows(source))))
    if kind == "auto" and not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    readers: dict[str, Callable[[], ObserverAnswers]] = {
        "noticed": lambda: ObserverAnswers("noticed", noticed_pairs(source, images=images)[:limit]),
        "scored": lambda: ObserverAnswers("scored", scored_pairs(source, images=images)[:limit]),
        "night-jnd": lambda: ObserverAnswers(
            "noticed",
            list(islice(night_jnd(source, split or "all"), limit)),  # type: ignore[arg-type]  # it checks
        ),
    }
    if kind in readers:
        found = readers[kind]()
    else:
        plain = "csv" if kind == "triplets" else kind
        if kind == "auto" and not (source / "data.csv").is_file():
            if not bapps_folders(source, "all"):  # photographs alone have no answers
                raise ValueError(
                    f"{source}: expected a CSV file, or the folder of NIGHT (data.csv) or of BAPPS "
                    "(2afc/{train,val}/DISTORTION/{ref,p0,p1,judge}), found none of them"
                )
            plain = "bapps"
        triplets = find_triplets(source, plain, split=split, images=images)
        found = ObserverAnswers(
            "triplets", list(islice((t for t in triplets if t.share is not None), limit))
        )
    if not found.judged:
        raise ValueError(f"{source}: expected people's answers, found none")
    return found


def _kind_of(source: Path, columns: Sequence[str]) -> str:
    """What a file with these columns holds, perhaps without one of them; its reader says which."""

    def has(*names: Sequence[str]) -> bool:
        return any(find_column(columns, one) for one in names)

    if has(OF_TRIPLETS["left"], OF_TRIPLETS["right"]):
        return "triplets"
    if is_noticed(columns):
        return "noticed"
    if is_scored(columns):
        return "scored"
    if has(OF_PAIRS["said"], OF_PAIRS["observers"]):
        return "noticed"
    raise ValueError(f"{source}: expected columns {EXPECTED}; found {', '.join(columns)}")
