"""Copies in a collection, with and without views: certified, and under attack beside rivals.

    python -m experiments copies.collection --data ../shared/data --out docs/results

The 300 ImageNet-Compatible photographs are edited and looked for among themselves and the 900 other
photographs (on which the default metric was trained). Keeps what it has computed in --work, so that
a run that was stopped goes on; writes search-copies.json, .png and .md.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from time import perf_counter, process_time

import torch

from experiments.conditions import Conditions, conditions, earlier_weights, write_result
from experiments.detectors import make_detector, make_metric
from experiments.photographs import DEFAULT_DATA, compatible, samples
from percert.data.copy_edits import USUAL_EDITS, find_edit
from percert.evaluation.copies.attack import AttackedRate, AttackedRates
from percert.evaluation.copies.evaluate import CopiesPlan, DetectorResult, evaluate_copies
from percert.evaluation.copies.measure import ResultsFolder
from percert.evaluation.copies.report import attack_figure, with_proof
from percert.lipschitz.network import weights_hash
from percert.reports.table import Column, Table
from percert.search.ingest.views import parse_views

#: What an index with views is meant for: everything usual, and the mirror image.
EDITS = (*USUAL_EDITS, find_edit("mirror"))
BUDGETS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
RIVALS = ("thumbnail-16", "phash", "dhash", "whash", "pdq", "squeezenet")
VIEWS = ",".join(
    (
        "whole",
        *(
            f"{place}-{keep}"
            for keep in (90, 80)
            for place in ("centre", "top-left", "top-right", "bottom-left", "bottom-right")
        ),
        "mirror-whole",
    )
)


@dataclass(frozen=True)
class SearchCopiesResult:
    """All that was measured; ``seconds`` and ``cpu_seconds`` are those of the last, perhaps partly
    resumed, run.
    """

    benchmark: str
    command: list[str]
    photographs: int
    distractors: int
    edits: list[str]
    views: list[str]
    attacked: int
    steps: int
    detectors: list[DetectorResult]
    seconds: float
    cpu_seconds: float
    conditions: Conditions


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    began, used = perf_counter(), process_time()
    photographs = compatible(options.data, options.limit)
    others = samples(options.data, options.distractors) if options.distractors != 0 else []
    pictures = [*photographs, *others]
    queries = range(len(photographs))
    strangers = range(len(photographs), len(pictures)) if others else queries
    views = parse_views(options.views)
    plan = CopiesPlan(
        edits=tuple(map(find_edit, options.edits)),
        budgets=tuple(options.eps),
        attacked=options.attacked,
        steps=options.steps,
        seed=options.seed,
    )
    # What is kept belongs to these weights: a metric that was trained again keeps its name.
    hashes = "".join(weights_hash(make_metric(name, options.checkpoint)) for name in options.metric)
    these = hashlib.sha256(hashes.encode()).hexdigest()[:16]
    parts = ResultsFolder(options.work / f"{len(photographs)}-{len(others)}-{options.seed}-{these}")

    def evaluate(names: Sequence[str], of: tuple[str, ...]) -> list[DetectorResult]:
        detectors = [make_detector(name, options.data, options.checkpoint) for name in names]
        plan_of = replace(plan, views=of)
        return evaluate_copies(
            detectors, pictures, queries, strangers, plan_of, parts=parts, progress=_say
        )

    results = evaluate([*options.metric, *options.rival], ("whole",))
    if len(views) > 1:
        more = evaluate(options.metric, views)
        named = [replace(one, name=f"{one.name}, {len(views)} views") for one in more]
        results = [*named, *results]
    result = SearchCopiesResult(
        "search-copies",
        sys.argv[1:] if arguments is None else list(arguments),
        len(photographs),
        len(others),
        options.edits,
        list(views),
        options.attacked,
        options.steps,
        results,
        round(perf_counter() - began, 1),
        round(process_time() - used, 1),
        conditions(options.seed),
    )
    write_result(options.out / "search-copies.json", asdict(result))
    (options.out / "search-copies.png").write_bytes(attack_figure(results))
    (options.out / "search-copies.md").write_text(report(result), encoding="utf-8")


def report(result: SearchCopiesResult) -> str:
    """The tables, and what was measured."""
    proven = [one for one in result.detectors if one.certified]
    earlier = earlier_weights(one.name for one in result.detectors)

    def certified(eps: float) -> Callable[[DetectorResult], float]:
        return lambda one: next(entry.rate for entry in one.certified if entry.eps == eps)

    def found(one: DetectorResult) -> Callable[[str], float]:
        return lambda family: _family(one, family)

    columns: list[Column[DetectorResult]] = [
        Column("detector", attrgetter("name")),
        Column("found", attrgetter("natural"), ".3f"),
        *(
            Column(f"l2 {entry.eps:g} ({entry.psnr:.0f} dB)", certified(entry.eps), ".3f")
            for entry in proven[0].certified
        ),
    ]
    families = dict.fromkeys(edit.family for edit in result.detectors[0].edits)
    by_family: list[Column[str]] = [
        Column("edit", str),
        *(Column(one.name, found(one), ".3f") for one in result.detectors),
    ]
    return "\n".join(
        [
            "# Copies in a collection, with and without views",
            "",
            f"`python -m experiments copies.collection {' '.join(result.command)}`, "
            f"{result.conditions.machine}, {result.conditions.threads} thread(s), "
            f"{result.cpu_seconds:.0f} s of CPU.",
            "",
            f"{result.photographs} ImageNet-Compatible photographs under {len(result.edits)} edits "
            f"({', '.join(result.edits)}), looked for among themselves and "
            f"{result.distractors} other ImageNet photographs. **The default metric was trained on "
            f"those {result.distractors}**; nothing was trained on the photographs that are "
            "edited. Each detector's threshold lets 1e-3 of its own negatives pass. Budgets are l2 "
            "lengths at 299 x 299, at other sizes those of the same PSNR; 16 is at most 30.2 dB. "
            f"Views: {', '.join(result.views)}.",
            "",
            *([earlier, ""] if earlier else []),
            "## Certified",
            "",
            "The share of all copies that is found, and proven to be found whatever somebody "
            "changes within the budget.",
            "",
            Table.of(proven, columns).markdown(),
            "## Copies found under attack",
            "",
            _attack_text(result, "copies", "evasion"),
            "",
            _attacked(result.detectors, "evasion"),
            "## Strangers refused under attack",
            "",
            _attack_text(result, "strangers", "collision"),
            "",
            _attacked(result.detectors, "collision"),
            "![Certified and attacked shares against eps](search-copies.png)",
            "",
            "## Found, by edit",
            "",
            Table.of(families, by_family).markdown(),
        ]
    )


def _attack_text(result: SearchCopiesResult, what: str, side: str) -> str:
    found: AttackedRates | None = getattr(result.detectors[0], side)
    if found is None:
        return "Not measured."
    return (
        f"{found.pairs} {what} of {found.photographs} photographs, projected gradient steps "
        f"({found.steps} a budget, each from what the smaller one found), before rounding; in "
        "brackets what is proven of the same pairs. The run checks certified <= attacked <= "
        "natural pair by pair."
    )


def _attacked(results: Sequence[DetectorResult], side: str) -> str:
    attacked = [one for one in results if getattr(one, side) is not None]
    if not attacked:
        return ""

    def entry(eps: float) -> Callable[[DetectorResult], AttackedRate]:
        return lambda one: next(e for e in getattr(one, side).budgets if e.eps == eps)

    columns: list[Column[DetectorResult]] = [
        Column("detector", attrgetter("name")),
        Column("no attack", attrgetter(f"{side}.natural"), ".3f"),
        *(
            Column(f"l2 {one.eps:g}", entry(one.eps), with_proof)
            for one in getattr(attacked[0], side).budgets
        ),
    ]
    return Table.of(attacked, columns).markdown()


def _family(one: DetectorResult, family: str) -> float:
    rates = [edit.natural for edit in one.edits if edit.family == family]
    return sum(rates) / len(rates)


def _say(step: str, done: int, total: int) -> None:
    print(f"{step}: {done} of {total}", flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Copies in a collection, with and without views.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--work", type=Path, default=Path("out/search-copies"), help="kept")
    parser.add_argument(
        "--metric", nargs="*", default=["lipsim-tiny"], help="with and without views"
    )
    parser.add_argument("--rival", nargs="*", default=list(RIVALS))
    parser.add_argument("--checkpoint", action="append", default=[], help="NAME=FILE; repeatable")
    parser.add_argument("--views", default=VIEWS, help="a set of views, or names with commas")
    parser.add_argument("--edits", nargs="*", default=[edit.name for edit in EDITS])
    parser.add_argument("--eps", nargs="*", type=float, default=list(BUDGETS))
    parser.add_argument("--limit", type=int, help="the first photographs only")
    parser.add_argument("--distractors", type=int, help="the first others only, 0 for none")
    parser.add_argument("--attacked", type=int, default=40, help="copies, and strangers")
    parser.add_argument("--steps", type=int, default=20, help="of the attack, at each budget")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
