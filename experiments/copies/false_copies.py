"""Copies that are none: pictures with little in them, and strangers that ask an index.

    python -m experiments copies.false_copies --data ../shared/data --strangers imagenette/val \
        --out docs/results

Pictures of each kind of :mod:`percert.data.plain_pictures`, of a seed that nothing was fitted to:
the share of the pairs of a kind that is within the threshold, and that is certified to be a copy.
And an index of the 300 photographs, asked with photographs that it does not hold, at the thresholds
that it recommended and recommends. By all weights of ``lipsim-tiny`` that there were: without a
centre, with one, and trained on more. Writes ``false-copies.json`` and ``.md``.
"""

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from experiments.conditions import Conditions, conditions, write_result
from experiments.photographs import DEFAULT_DATA
from percert.certify.features import embed
from percert.certify.pairs import copies_of_features
from percert.data.plain_pictures import KINDS, plain_pictures
from percert.images import find_images, load_image
from percert.metrics.catalog import create_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.table import Column, Table
from percert.search import open_store

#: Metric, its threshold for a pair of files at 1e-3, and what an index of it once recommended.
METRICS = (
    ("lipsim-tiny-uncentred", 0.49, 0.41),
    ("lipsim-tiny-1", 0.31, None),
    ("lipsim-tiny", 0.68, None),
)


@dataclass(frozen=True)
class Kind:
    """Shares of the pairs of ``pictures`` of one kind."""

    metric: str
    kind: str
    pictures: int
    threshold: float
    within: float
    certified: float


@dataclass(frozen=True)
class StrangerQueries:
    """How many of ``queries`` strangers got an answer from an index of ``images``."""

    metric: str
    images: int
    queries: int
    threshold: float
    how: str
    answered: int
    links: int


@dataclass(frozen=True)
class FalseCopies:
    benchmark: str
    kinds: list[Kind]
    asked: list[StrangerQueries]
    conditions: Conditions


def kinds_of(metric: EmbeddingMetric, name: str, count: int, threshold: float) -> list[Kind]:
    """Each kind's pairs."""
    found = []
    for kind in KINDS:
        features = [
            embed(metric, torch.from_numpy(np.array(one)).permute(2, 0, 1)[None].double() / 255)
            for one in plain_pictures(kind, count)
        ]
        verdicts = [
            copies_of_features(first, second, threshold)
            for first, second in itertools.combinations(features, 2)
        ]
        within = [bool(one.decision) for one in verdicts]
        certified = [bool(one.decision) and float(one.radius) > 0 for one in verdicts]
        shares = (float(np.mean(part)) for part in (within, certified))
        found.append(Kind(name, kind, count, threshold, *shares))
    return found


def ask(
    metric: EmbeddingMetric, name: str, stored: list[Path], queries: list[Path], once: float | None
) -> list[StrangerQueries]:
    """An index of the ``stored`` photographs in the standard views, and what it says to others."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/store", metric, views="standard")
        for start in range(0, len(stored), 50):
            some = stored[start : start + 50]
            store.add([load_image(path) for path in some], [path.name for path in some])
        thresholds = [
            (f"one wrong answer in {1 / rate:,.0f} queries", store.rule(wrong=rate).threshold)
            for rate in (1e-3, 1e-6)
        ]
        if once is not None:
            thresholds.insert(0, ("as it was, 1e-3 a pair", once))
        found = []
        images = [load_image(path) for path in queries]
        for how, threshold in thresholds:
            answers = store.copies(images, threshold)
            links = len(store.duplicates(threshold).links)
            answered = sum(bool(one.certain) for one in answers)
            found.append(
                StrangerQueries(name, len(stored), len(queries), threshold, how, answered, links)
            )
        return found


ASKED: tuple[Column[StrangerQueries], ...] = (
    Column("metric", lambda one: one.metric),
    Column("threshold of", lambda one: one.how),
    Column("distance", lambda one: one.threshold, ".4f"),
    Column("answered", lambda one: one.answered, "d"),
    Column("links", lambda one: one.links, "d"),
)


def _shares(one: Kind) -> str:
    return f"{one.within:.3f} ({one.certified:.3f})"


def write_page(result: FalseCopies, path: Path) -> None:
    """The tables of ``result`` as Markdown."""
    found = {(one.kind, one.metric): one for one in result.kinds}

    def by(metric: str) -> Column[str]:
        return Column(metric, lambda kind: found[kind, metric], _shares)

    kinds: list[Column[str]] = [Column("kind", str), *(by(name) for name, *_ in METRICS)]
    lines = [
        "# Copies that are none",
        "",
        "By `python -m experiments copies.false_copies`; `experiments/README.md` says how.",
        "",
        "## Pictures with little in them",
        "",
        f"{result.kinds[0].pictures} pictures of each kind, drawn by code "
        "(`percert.data.plain_pictures`): of all pairs of a kind, all strangers, the share within "
        "the threshold of 1e-3 of unrelated photographs, and in brackets the share that is a "
        "certified copy. Undecided are those whose share is outside of the brackets.",
        "",
        Table.of(KINDS, kinds).markdown(),
        "## Strangers that ask an index",
        "",
        f"An index of {result.asked[0].images} photographs in the standard views, asked with "
        f"{result.asked[0].queries} photographs of Imagenette's validation set, of which it holds "
        "none: how many got a copy that is certain under no tamper at all, and how many pairs of "
        "the photographs themselves are linked as duplicates.",
        "",
        Table.of(result.asked, ASKED).markdown(),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Copies that are none.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--strangers", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--count", type=int, default=40, help="pictures of each kind")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    stored = find_images(options.data / "imagenet-compatible" / "images")
    every = find_images(options.strangers)
    queries = every[:: max(1, len(every) // options.queries)][: options.queries]
    kinds: list[Kind] = []
    asked: list[StrangerQueries] = []
    for name, threshold, once in METRICS:
        metric = create_metric(name, device="cpu")
        assert isinstance(metric, EmbeddingMetric)
        kinds += kinds_of(metric, name, options.count, threshold)
        asked += ask(metric, name, stored, queries, once)
        print(*kinds[-len(KINDS) :], *asked[-4:], sep="\n", flush=True)
    result = FalseCopies("false-copies", kinds, asked, conditions(0))
    write_result(options.out / "false-copies.json", result)
    write_page(result, options.out / "false-copies.md")


if __name__ == "__main__":
    main()
