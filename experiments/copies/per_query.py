"""Copies found and certified where one query in 1,000 gets a wrong answer, by what an index holds.

    python -m experiments copies.per_query --data ../shared/data --out docs/results

The more images an index holds, the lower its threshold has to be for the same rate of wrong
answers, and the fewer edited copies lie within it. The thresholds are those that an index
recommends: one query in 1,000 is 1e-3 over the number of images as a rate per pair. What they find
is measured on the 300 ImageNet-Compatible photographs under 12 edits, with the whole image and with
several views of it. Writes ``copies-per-query.json`` and ``.md``.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.conditions import Conditions, conditions, write_result
from experiments.detectors import make_metric
from experiments.photographs import DEFAULT_DATA, compatible
from experiments.tables import markdown
from percert.data.copy_edits import find_edit
from percert.evaluation.copies.detector import MetricDetector
from percert.evaluation.copies.evaluate import CopiesPlan, QueryRow, evaluate_copies
from percert.evaluation.copies.gallery import ThresholdChoice
from percert.evaluation.copies.measure import Checkpoint
from percert.search import open_store
from percert.search.ingest.views import VIEW_SETS
from percert.search.query.recommended import Recommended

#: Of so many queries that are copies of nothing, one may get an answer.
WRONG = 1e-3
IMAGES = (300, 100_000)
BUDGETS = (4.0, 16.0)
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
EIGHT = (
    "whole",
    "centre-90",
    "centre-80",
    "top-left-80",
    "top-right-80",
    "bottom-left-80",
    "bottom-right-80",
    "mirror-whole",
)
VIEWS = (VIEW_SETS["whole"], VIEW_SETS["standard"], EIGHT)


@dataclass(frozen=True)
class PerQuery:
    """One collection: ``found`` and ``certified`` are shares of all copies, by budget the second.

    ``rate`` is per pair; ``counted`` and ``measured`` are :class:`Recommended`'s. ``answered`` is
    the share of the queries that lie within the threshold of another photograph than their own, of
    ``others``: wrong answers, counted where so few images can show them. They are edits of
    ``answered_photographs`` photographs.
    """

    views: list[str]
    images: int
    rate: float
    threshold: float
    counted: bool
    measured: bool
    found: float
    certified: dict[str, float]
    found_by_edit: dict[str, float]
    others: int
    answered: float
    answered_photographs: int


@dataclass(frozen=True)
class CopiesPerQuery:
    benchmark: str
    metric: str
    wrong: float
    photographs: int
    copies: int
    edits: list[str]
    collections: list[PerQuery]
    conditions: Conditions


def thresholds(name: str, views: Sequence[str], images: Sequence[int]) -> list[Recommended]:
    """What an index with ``views`` recommends where it holds so many ``images``."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/store", make_metric(name, []), views=tuple(views))
        return [store.recommended_threshold(WRONG / count) for count in images]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    photographs = compatible(options.data, options.limit)
    detector = MetricDetector(make_metric(options.metric, []), options.metric)
    checkpoint = Checkpoint(options.work / f"{options.metric}-{len(photographs)}-{options.seed}")
    found, copies = [], 0
    for views in VIEWS:
        recommended = thresholds(options.metric, views, IMAGES)
        for images, threshold in zip(IMAGES, recommended, strict=True):
            rows: list[QueryRow] = []
            (result,) = evaluate_copies(
                [detector],
                photographs,
                range(len(photographs)),
                (),
                CopiesPlan(
                    edits=tuple(map(find_edit, options.edits)),
                    views=tuple(views),
                    budgets=BUDGETS,
                    threshold=ThresholdChoice("given", threshold.threshold),
                    seed=options.seed,
                ),
                parts=checkpoint,
                rows=rows.extend,
            )
            copies = result.copies
            wrong = [row.query for row in rows if row.nearest_other <= threshold.threshold]
            found.append(
                PerQuery(
                    list(views),
                    images,
                    threshold.rate,
                    threshold.threshold,
                    threshold.counted,
                    threshold.measured,
                    result.natural,
                    {f"{entry.eps:g}": entry.rate for entry in result.certified},
                    {edit.name: edit.natural for edit in result.edits},
                    len(photographs) - 1,
                    len(wrong) / len(rows),
                    len(set(wrong)),
                )
            )
            print(found[-1], flush=True)
    result_of_all = CopiesPerQuery(
        "copies-per-query",
        options.metric,
        WRONG,
        len(photographs),
        copies,
        options.edits,
        found,
        conditions(options.seed),
    )
    write_result(options.out / "copies-per-query.json", result_of_all)
    (options.out / "copies-per-query.md").write_text(report(result_of_all), encoding="utf-8")


def report(result: CopiesPerQuery) -> str:
    """The tables, and what was measured."""
    rows = [
        [
            _views(one.views),
            f"{one.images:,}",
            f"{one.rate:.2g}, {_source(one)}",
            f"{one.threshold:.4f}",
            f"{one.found:.3f}",
            *(f"{share:.3f}" for share in one.certified.values()),
        ]
        for one in result.collections
    ]
    header = ["views", "images", "rate of a pair", "threshold", "found"]
    header += [f"certified at l2 = {budget}" for budget in result.collections[0].certified]
    wrong = [
        f"{round(one.answered * result.copies)} (of {one.answered_photographs} photographs) with "
        f"{_views(one.views)}"
        for one in result.collections
        if one.images == result.photographs
    ]
    names = [f"{_views(one.views)}, {one.images:,} images" for one in result.collections]
    return "\n".join(
        [
            "# Copies found at a rate of wrong answers",
            "",
            f"By `python -m experiments copies.per_query` with `{result.metric}`, "
            f"{result.conditions.machine}, {result.conditions.threads} thread(s). "
            f"{result.photographs} ImageNet-Compatible photographs, none of them trained on, under "
            f"{len(result.edits)} edits ({', '.join(result.edits)}): {result.copies:,} copies.",
            "",
            "The threshold is the one that an index recommends where one of "
            f"{1 / result.wrong:,.0f} queries that are copies of nothing may get an answer. The "
            "more images it holds, the lower that is: the rate of a pair is that of a query over "
            "the number of images. A copy is found where any view of its original lies within the "
            "threshold, and certified where that stays so whatever somebody changes in the edited "
            "picture within the budget (an l2 length at 299 x 299; at other sizes one of the same "
            "PSNR). 6 views are what `percert index add` stores by default.",
            "",
            markdown(header, rows),
            "A rate was *counted* on pairs of unrelated photographs, or is *extrapolated* from "
            "what was counted; where no pairs were counted with these views, they *share* the rate "
            "of whole images among them, which is too strict where one adds nothing: the network "
            "of lipsim-tiny sees a picture and its mirror image alike.",
            "",
            f"Wrong answers that were seen: of the {result.copies:,} edits so many lie within the "
            f"threshold of another of the {result.photographs} photographs, too: "
            f"{', '.join(wrong)}.",
            "",
            "## Found, by edit",
            "",
            markdown(
                ["edit", *names],
                [
                    [edit, *(f"{one.found_by_edit[edit]:.3f}" for one in result.collections)]
                    for edit in result.edits
                ],
            ),
        ]
    )


def _source(one: PerQuery) -> str:
    return "shared" if not one.measured else "counted" if one.counted else "extrapolated"


def _views(names: Sequence[str]) -> str:
    return f"{len(names)} views" if len(names) > 1 else "the whole image"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Copies found at a rate of wrong answers.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--work", type=Path, default=Path("out/copies-per-query"), help="kept")
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--edits", nargs="*", default=list(EDITS))
    parser.add_argument("--limit", type=int, help="the first photographs only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
