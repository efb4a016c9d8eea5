"""An index of many pictures that strangers ask: wrong answers, promised and counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from random import Random

from experiments.conditions import conditions
from experiments.copies.asked import Asked, copies_of
from percert.certify.own_threshold import OwnThreshold
from percert.images import find_images
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.table import Column, Table
from percert.search import Store, open_store
from percert.search.ingest.sources import AddSettings
from percert.training.copies import read_copies_recipe

#: The rates that it is asked at.
WRONG = (1e-2, 1e-3)
#: Pictures that are stored between two lines of progress.
PART = 200


@dataclass(frozen=True)
class Crowd:
    """An index of many ``images`` in a set of ``views``: at ``wrong`` a query so many of
    ``strangers`` got an answer. ``commit`` is that which it was measured at.
    """

    views: str
    images: int
    strangers: int
    commit: str
    wrong: float
    threshold: float
    counted: bool
    answered: int


def store_crowd(metric: EmbeddingMetric, paths: Sequence[Path], views: str, folder: Path) -> Store:
    """An index of the pictures in files, in ``folder``: one that was begun there goes on."""
    store = open_store(folder / f"crowd-{views}.store", metric, views=views)
    for start in range(0, len(paths), PART):
        store.add_files(paths[start : start + PART], AddSettings(decoders=1))
        print(f"{store.count} of {len(paths)} stored", flush=True)
    return store


def ask_crowd(store: Store, views: str, others: Asked) -> Iterator[Crowd]:
    """How many strangers get an answer from an index of many pictures."""
    strangers, commit = len(others["whole"]), conditions(0).commit
    for wrong in WRONG:
        rule = store.rule(wrong=wrong)
        said = copies_of(store, OwnThreshold(rule.threshold, rule.weight), others)
        answered = sum(any(one.copy for one in some) for some in said)
        yield Crowd(
            *(views, store.count, strangers, commit, wrong),
            *(rule.threshold, bool(rule.counted), answered),
        )


def crowd_in(folder: Path, recipe: str, count: int) -> list[Path]:
    """``count`` pictures, drawn at random, of the classes that ``recipe`` leaves out, folders below
    ``folder``.
    """
    left_out = [name for source in read_copies_recipe(recipe).data for name in source.leave_out]
    paths = [path for name in left_out for path in find_images(folder / name)]
    Random(0).shuffle(paths)
    return paths[:count]


def crowd_lines(crowds: Sequence[Crowd]) -> list[str]:
    """The table of what strangers were answered, and what was asked."""
    if not crowds:
        return []
    columns: list[Column[Crowd]] = [
        Column("set", attrgetter("views")),
        Column("images", attrgetter("images"), ",d"),
        Column("wrong answers a query", lambda one: f"{one.wrong:g}"),
        Column("T", lambda one: f"{one.threshold:.4f}{'' if one.counted else ' (extrapolated)'}"),
        Column("promised", lambda one: f"{one.wrong * one.strangers:.1f} of {one.strangers:,}"),
        Column("counted", attrgetter("answered"), "d"),
        Column("at commit", lambda one: one.commit[:12]),
    ]
    return [
        "So many of the strangers, spread evenly, asked an index of pictures of classes of Tiny "
        "ImageNet that were not trained on:",
        "",
        Table.of(crowds, columns).markdown(),
    ]
