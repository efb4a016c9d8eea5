"""Copies found and certified at a rate of wrong answers a query, by what an index holds.

    python -m experiments copies.per_query --data ../shared/data --strangers imagenette/val \
        --strangers tiny-imagenet/val --out docs/results

An index of the 300 ImageNet-Compatible photographs is asked for each of them under 12 edits, by the
rule of the index as users ask it: thresholds of each image's own, its views, and so many wrong
answers a query. As if it held 100,000 it has the threshold of such an index. Strangers, pictures
that nothing was trained, fitted or calibrated on, ask the same index, and their answers are the
wrong ones, counted; with ``--crowd`` they also ask one of many pictures, those of the classes that
the metric's recipe leaves out, and ``--crowd-only`` adds that alone to what ``--out`` has already.
That index is kept below ``--work``, where a run that was stopped goes on.
Writes ``copies-per-query.json`` and ``.md``.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import torch

from experiments.conditions import Conditions, conditions, write_result
from experiments.copies.asked import TOGETHER, Asked, as_tensor, copies_of, embed_files
from experiments.copies.crowd import Crowd, ask_crowd, crowd_in, crowd_lines, store_crowd
from experiments.detectors import make_metric
from experiments.photographs import DEFAULT_DATA, compatible
from percert.certify.own_threshold import OwnThreshold
from percert.data.copy_edits import apply_edit, find_edit
from percert.images import find_images
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.table import Column, Table
from percert.search import Store, open_store
from percert.search.ingest.views import VIEW_SETS, asked_views
from percert.search.query.distances import asked_features
from percert.search.query.recommended import recommended_threshold

#: Of so many queries that are copies of nothing, one may get an answer.
WRONG = 1e-3
IMAGES = (300, 100_000)
BUDGETS = (4.0, 16.0)
SIDE = 299
#: One of each family of the usual edits and both crops to 80 %, and the mirror image.
EDITS = (
    "jpeg-50",
    "rescale-0.5",
    "crop-90-random",
    "crop-80-centre",
    "crop-80-random",
    "brightness-1.3",
    "contrast-0.7",
    "saturation-0.5",
    "blur-2",
    "noise-16",
    "caption",
    "mirror",
)
SETS = ("whole", "small", "standard", "thorough", "exhaustive")


@dataclass(frozen=True)
class PerQuery:
    """One collection: ``found`` and ``certified`` are shares of all copies, by budget the second.

    ``counted`` and ``measured`` are those of
    :class:`~percert.search.query.recommended.Recommended`. ``answered`` of the strangers get an
    answer, where the index holds as many images as it is asked as.
    """

    views: list[str]
    images: int
    threshold: float
    counted: bool
    measured: bool
    found: float
    certified: dict[str, float]
    found_by_edit: dict[str, float]
    answered: int | None


@dataclass(frozen=True)
class CopiesPerQuery:
    benchmark: str
    metric: str
    wrong: float
    photographs: int
    copies: int
    strangers: int
    edits: list[str]
    bytes: dict[str, int]
    collections: list[PerQuery]
    crowd: list[Crowd]
    conditions: Conditions


@dataclass
class EditTally:
    """Copies of one edit: how many there were, were found, and were certain beyond each budget."""

    count: int = 0
    found: int = 0
    certain: tuple[int, ...] = (0,) * len(BUDGETS)


def measure(
    store: Store, rule: OwnThreshold, asked: Asked, names: Sequence[str], scales: Sequence[float]
) -> EditTally:
    """What the store says to the queries, each a copy of the image that is called as it is."""
    tally = EditTally(len(names))
    for name, scale, verdicts in zip(names, scales, copies_of(store, rule, asked), strict=True):
        mine = [one for one in verdicts if one.item.id == name and one.copy]
        if mine:
            tally.found += 1
            tally.certain = tuple(
                certain + (mine[0].item.radius > budget * scale)
                for certain, budget in zip(tally.certain, BUDGETS, strict=True)
            )
    return tally


def read_result(path: Path) -> CopiesPerQuery:
    """What was written as JSON."""
    result = json.loads(path.read_text("utf-8"))
    result["collections"] = [PerQuery(**one) for one in result["collections"]]
    result["crowd"] = [Crowd(**one) for one in result["crowd"]]
    result["conditions"] = Conditions(**result["conditions"])
    return CopiesPerQuery(**result)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    strangers = [path for folder in options.strangers for path in find_images(folder)]
    strangers = strangers[:: max(1, options.every)]
    metric = make_metric(options.metric, [])
    store = None
    if options.crowd:
        crowd = crowd_in(options.crowd, options.metric, options.crowd_images)
        store = store_crowd(metric, crowd, options.crowd_set, options.work)
    views = VIEW_SETS[options.crowd_set if options.crowd_only else "thorough"]
    others = embed_files(metric, strangers, tuple(asked_views(views)))
    path = options.out / "copies-per-query.json"
    result = read_result(path) if options.crowd_only else ask_collections(metric, others, options)
    if store is not None:
        kept = [one for one in result.crowd if one.views != options.crowd_set]
        result = replace(result, crowd=[*kept, *ask_crowd(store, options.crowd_set, others)])
    write_result(path, result)
    path.with_suffix(".md").write_text(report(result), encoding="utf-8")


def ask_collections(
    metric: EmbeddingMetric, others: Asked, options: argparse.Namespace
) -> CopiesPerQuery:
    """What an index of the photographs says to their copies, and to the others, strangers."""
    photographs, strangers = compatible(options.data, options.limit), len(others["whole"])
    names = [f"{index:04d}" for index in range(len(photographs))]
    views = tuple(asked_views(VIEW_SETS["thorough"]))
    asking: dict[str, Asked] = {}
    scales: dict[str, list[float]] = {}
    for edit in map(find_edit, options.edits):
        queries = [
            as_tensor(apply_edit(edit, image, options.seed, index))
            for index, image in enumerate(photographs)
        ]
        asking[edit.name] = asked_features(metric, queries, views)
        # A budget is that of a picture of 299 x 299; of others, one of the same PSNR.
        scales[edit.name] = [math.sqrt(one.shape[1] * one.shape[2]) / SIDE for one in queries]
        print(edit.name, flush=True)
    found, sizes = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.sets:
            store = open_store(f"{folder}/{name}", metric, views=name)
            for start in range(0, len(photographs), TOGETHER):
                part = photographs[start : start + TOGETHER]
                store.add([as_tensor(image) for image in part], names[start : start + TOGETHER])
            sizes[name] = int(store.tables.images.search().to_arrow().nbytes / store.count)
            header = store.tables.header
            for images in IMAGES:
                one = recommended_threshold(header, images, WRONG)
                rule = OwnThreshold(one.threshold, header.weight)
                tally = {
                    edit: measure(store, rule, asked, names, scales[edit])
                    for edit, asked in asking.items()
                }
                answered = None
                if strangers and images <= 1000:
                    said = copies_of(store, rule, others)
                    answered = sum(any(one.copy for one in some) for some in said)
                copies = sum(each.count for each in tally.values())
                found.append(
                    PerQuery(
                        list(VIEW_SETS[name]),
                        images,
                        one.threshold,
                        one.counted,
                        one.measured,
                        sum(each.found for each in tally.values()) / copies,
                        {
                            f"{budget:g}": sum(each.certain[at] for each in tally.values()) / copies
                            for at, budget in enumerate(BUDGETS)
                        },
                        {edit: each.found / each.count for edit, each in tally.items()},
                        answered,
                    )
                )
                print(found[-1], flush=True)
    return CopiesPerQuery(
        "copies-per-query",
        options.metric,
        WRONG,
        len(photographs),
        len(photographs) * len(options.edits),
        strangers,
        options.edits,
        sizes,
        found,
        [],
        conditions(options.seed),
    )


def report(result: CopiesPerQuery) -> str:
    """The tables, and what was measured."""

    def certified(budget: str) -> Callable[[PerQuery], float]:
        return lambda one: one.certified[budget]

    def found(one: PerQuery) -> Callable[[str], float]:
        return lambda edit: one.found_by_edit[edit]

    columns: list[Column[PerQuery]] = [
        Column("set", lambda one: _set(one.views)),
        Column("views", lambda one: len(one.views), "d"),
        Column("images", attrgetter("images"), ",d"),
        Column("T", _threshold, side="right"),
        Column("found", attrgetter("found"), ".3f"),
        *(
            Column(f"certified at l2 = {budget}", certified(budget), ".3f")
            for budget in result.collections[0].certified
        ),
        Column(
            "strangers answered",
            attrgetter("answered"),
            lambda answered: f"{answered} of {result.strangers:,}",
            missing="",
        ),
    ]
    by_edit: list[Column[str]] = [
        Column("edit", str),
        *(
            Column(f"{_set(one.views)}, {one.images:,}", found(one), ".3f")
            for one in result.collections
        ),
    ]
    costs: list[Column[str]] = [
        Column("set", str),
        Column("bytes an image", lambda name: result.bytes[name], ",d"),
        Column("embeddings to add one", lambda name: len(VIEW_SETS[name]), "d"),
        Column("embeddings a query", lambda name: len(asked_views(VIEW_SETS[name])), "d"),
    ]
    return "\n".join(
        [
            "# Copies found at a rate of wrong answers",
            "",
            f"By `python -m experiments copies.per_query` with `{result.metric}`, "
            f"{result.conditions.machine}, {result.conditions.threads} thread(s). "
            f"{result.photographs} ImageNet-Compatible photographs, none of them trained on, under "
            f"{len(result.edits)} edits ({', '.join(result.edits)}): {result.copies:,} copies.",
            "",
            f"Of queries that are copies of nothing 1 in {1 / result.wrong:,.0f} may get an "
            "answer, `--wrong`'s default. Each stored view has a threshold of its own: T less half "
            "of its likeness to the background. The more images an index holds, the lower T is. A "
            "copy is certified where it stays one whatever somebody changes in the edited picture "
            "within the budget (an l2 length at 299 x 299; at other sizes one of the same PSNR). "
            "`standard` is what `percert index add` stores by default.",
            "",
            Table.of(result.collections, columns).markdown(),
            f"The strangers are {result.strangers:,} pictures of the validation sets of Imagenette "
            "and Tiny ImageNet, on which nothing was trained, fitted or calibrated: of an index of "
            f"{IMAGES[0]} images, {result.wrong * result.strangers:.1f} of them are to be expected "
            f"to get an answer. {result.photographs} are stored here.",
            "",
            *crowd_lines(result.crowd),
            "## What a set costs",
            "",
            Table.of(result.bytes, costs).markdown(),
            "How fast images are added is measured by `python -m experiments search.add` "
            "(`index-add-photographs*.json`).",
            "",
            "## Found, by edit",
            "",
            Table.of(result.edits, by_edit).markdown(),
        ]
    )


def _threshold(one: PerQuery) -> str:
    return f"{one.threshold:.4f}{'' if one.counted else ' (extrapolated)'}"


def _set(views: Sequence[str]) -> str:
    return next(name for name, some in VIEW_SETS.items() if list(some) == list(views))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Copies found at a rate of wrong answers.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--strangers", type=Path, action="append", default=[])
    parser.add_argument("--crowd", type=Path, help="folder of the classes the recipe leaves out")
    parser.add_argument("--crowd-set", choices=SETS, default="standard", help="its views")
    parser.add_argument("--crowd-images", type=int, default=10_000, help="of that")
    parser.add_argument("--crowd-only", action="store_true", help="keep what --out has besides")
    parser.add_argument("--work", type=Path, default=Path("out/copies-per-query"))
    parser.add_argument("--every", type=int, default=1, help="every so manieth stranger only")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--edits", nargs="*", default=list(EDITS))
    parser.add_argument("--limit", type=int, help="the first photographs only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
