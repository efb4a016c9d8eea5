"""The published tables, made from the JSON files of a run.

    python -m experiments tables --measure --data data --out docs/results

Prints them, and writes them to ``tables.md`` beside the files, which ``--measure`` makes first.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from experiments.detectors import NAMES
from experiments.photographs import DEFAULT_DATA
from percert.reports.table import Column, Table

Result = dict[str, Any]


def found_table(results: Sequence[Result]) -> str:
    """True-positive rates and micro average precision, usual and hard edits."""
    columns: list[Column[Result]] = [
        METRIC,
        *(Column(f"usual, TPR at {rate}", _tpr(0, float(rate)), ".3f") for rate in RATES),
        Column("uAP", lambda one: one["groups"][0]["micro_average_precision"], ".3f"),
        Column("80 % crops at 1e-3", _crops, ".3f"),
        Column("hard, TPR at 1e-3", _tpr(1, USUAL_RATE), ".3f"),
        Column("hard, uAP", lambda one: one["groups"][1]["micro_average_precision"], ".3f"),
    ]
    return Table.of(results, columns).markdown()


def certified_table(results: Sequence[Result], group: int) -> str:
    """Certified rates at every budget, of the usual (0) or the hard (1) edits."""
    certified = [result for result in results if result["groups"][group]["certified"]]
    if not certified:
        return ""

    def rate(eps: float) -> Callable[[Result], float]:
        return lambda one: _at(eps, one["groups"][group]["certified"])["rate"]

    columns: list[Column[Result]] = [METRIC, Column("found", _tpr(group, USUAL_RATE), ".3f")]
    for entry in certified[0]["groups"][group]["certified"]:
        columns.append(Column(_budget(entry), rate(entry["eps"]), ".3f"))
    return Table.of(certified, columns).markdown()


def attacked_table(results: Sequence[Result]) -> str:
    """What is found after an attack, and in brackets what is certified of the same copies."""
    attacked = [result for result in results if result["attacked"]]
    if not attacked:
        return ""

    def entry_at(eps: float) -> Callable[[Result], Result]:
        return lambda one: _at(eps, one["attacked"]["budgets"])

    columns: list[Column[Result]] = [
        METRIC,
        Column("no attack", lambda one: one["attacked"]["natural"], ".3f"),
    ]
    for eps in (entry["eps"] for entry in attacked[0]["attacked"]["budgets"]):
        columns += [
            Column(f"l2 {eps:g}", entry_at(eps), _with_proof),
            Column(f"l2 {eps:g}, 8 bit", entry_at(eps), lambda one: f"{one['rate_8bit']:.3f}"),
        ]
    return Table.of(attacked, columns).markdown()


def edits_table(results: Sequence[Result]) -> str:
    """The true-positive rate of every edit at 1e-3, one column a metric."""
    edits = [
        (group, place)
        for group in range(2)
        for place in range(len(results[0]["groups"][group]["edits"]))
    ]

    def name(edit: tuple[int, int]) -> str:
        group, place = edit
        one = results[0]["groups"][group]["edits"][place]
        return f"{one['name']}{' (hard)' if one['hard'] else ''}"

    def rate(result: Result) -> Callable[[tuple[int, int]], float]:
        return lambda edit: _edit_tpr(result["groups"][edit[0]], edit[1])

    columns: list[Column[tuple[int, int]]] = [Column("edit", name)]
    columns += [Column(result["metric"], rate(result), ".3f") for result in results]
    return Table.of(edits, columns).markdown()


def triplets_table(results: Sequence[Result], key: str) -> str:
    """2AFC scores of one set: natural, then certified with ours and in brackets the paper's."""
    scores = []
    for result in results:
        entry = result[key][0] if isinstance(result[key], list) else result[key]
        if entry is not None:
            scores.append({**entry, "metric": result["metric"]})
    if not scores:
        return ""

    def certified(eps: float) -> Callable[[Result], Result | None]:
        return lambda one: _at(eps, one["certified"]) if one["certified"] else None

    columns: list[Column[Result]] = [METRIC, Column("natural", itemgetter("natural"), ".3f")]
    longest: list[Result] = max((one["certified"] for one in scores), key=len)
    for entry in longest:
        value = certified(entry["eps"])
        columns.append(Column(_budget(entry), value, _with_paper, missing="none"))
    return Table.of(scores, columns).markdown()


def speed_table(result: Result) -> str:
    """Median images a second with quartiles, and what a certificate takes beside the distance."""
    found = {(one["name"], one["task"], one["batch"]): one for one in result["timings"]}
    costs = {(one["name"], one["batch"]): one["median"] for one in result.get("costs", ())}

    def speed(batch: int) -> Callable[[str], str]:
        def of(name: str) -> str:
            one = found[name, "embed", batch]
            slow, fast = (batch / one[f"{which}_quartile"] for which in ("upper", "lower"))
            return f"{one['images_per_second']:.0f} ({slow:.0f} to {fast:.0f})"

        return of

    def cost(batch: int) -> Callable[[str], float | None]:
        return lambda name: costs.get((name, batch))

    columns: list[Column[str]] = [Column("metric", str)]
    for batch in sorted({one["batch"] for one in result["timings"]}):
        columns += [
            Column(f"images/s, batch {batch}", speed(batch), side="right"),
            Column(
                f"certificate, batch {batch}",
                cost(batch),
                lambda cost: f"{cost:.2f} times its distance",
                missing="none",
            ),
        ]
    return Table.of(dict.fromkeys(one["name"] for one in result["timings"]), columns).markdown()


METRIC: Column[Result] = Column("metric", itemgetter("metric"))
RATES, USUAL_RATE = ("1e-2", "1e-3", "1e-4"), 1e-3


def _tpr(group: int, fpr: float) -> Callable[[Result], float]:
    """The true-positive rate of a group of edits at a rate of false positives."""

    def of(result: Result) -> float:
        points = result["groups"][group]["points"]
        return float(next(point["tpr"] for point in points if point["fpr"] == fpr))

    return of


def _edit_tpr(group: Result, place: int) -> float:
    at = [point["fpr"] for point in group["points"]].index(USUAL_RATE)
    return float(group["edits"][place]["tpr"][at])


def _crops(result: Result) -> float:
    usual = result["groups"][0]
    rates = [
        _edit_tpr(usual, place)
        for place, edit in enumerate(usual["edits"])
        if edit["family"] == "crop-80"
    ]
    return sum(rates) / len(rates)


def _at(eps: float, entries: Sequence[Result]) -> Result:
    return next(entry for entry in entries if entry["eps"] == eps)


def _with_proof(entry: Result) -> str:
    proven = "" if entry["certified"] is None else f" ({entry['certified']:.3f})"
    return f"{entry['rate']:.3f}{proven}"


def _with_paper(entry: Result) -> str:
    return f"{entry['ours']:.3f} ({entry['paper']:.3f})"


#: The results that are put into tables here; others in the folder have pages of their own.
PARTS = ("copies", "triplets", "speed")
INTRODUCTION = """# Measured

Made by `python -m experiments tables --measure`; `experiments/README.md` defines every column. In
parentheses: after an attack the share that is proven at that budget; of triplets the share that the
paper's radius (Eq. 8) certifies.
"""


def report(folder: Path) -> str:
    """All tables of the results in ``folder``; ``ValueError`` where there are none."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    results = [one for one in found if one.get("benchmark") in PARTS]
    copies = _of(results, "copies")
    triplets = _of(results, "triplets")
    parts: list[str] = []
    if copies:
        parts += ["## Copies found\n", found_table(copies)]
        parts += ["## Usual copies found and certified at 1e-3\n", certified_table(copies, 0)]
        parts += ["## Hard copies found and certified at 1e-3\n", certified_table(copies, 1)]
        first = next((one["attacked"] for one in copies if one["attacked"]), None)
        if first:
            title = (
                f"## Copies found after an attack ({first['photographs']} photographs under "
                f"{', '.join(first['edits'])}; {first['steps']} steps a budget)\n"
            )
            parts += [title, attacked_table(copies)]
        parts += ["## Every edit, at 1e-3\n", edits_table(copies)]
    for key, title in (("distortions", "Distortion triplets"), ("semantic", "Semantic triplets")):
        if triplets:
            parts += [f"## {title}\n", triplets_table(triplets, key)]
    parts += [
        text
        for one in results
        if one["benchmark"] == "speed"
        for text in ("## Speed\n", speed_table(one))
    ]
    if not parts:
        raise ValueError(f"{folder}: expected results of experiments, found none")
    seen = dict.fromkeys(_conditions(one) for one in results)
    return (
        "\n".join([INTRODUCTION, *(part for part in parts if part), "Measured on:\n", *seen]) + "\n"
    )


def _of(results: Sequence[Result], benchmark: str) -> list[Result]:
    mine = [result for result in results if result.get("benchmark") == benchmark]
    return sorted(mine, key=lambda one: _place(one["metric"]))


def _place(metric: str) -> int:
    """Where a metric stands in the tables; SSIM's name goes on with its side."""
    places = (place for place, name in enumerate(NAMES) if metric.startswith(name))
    return next(places, len(NAMES))


def _budget(entry: Result) -> str:
    eps = entry["eps"]
    return f"l2 {eps:g}" if eps >= 1 else f"l2 {round(255 * eps)}/255"


def _conditions(result: Result) -> str:
    where = result["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    return (
        f"- commit {where['commit']}, {where['machine']}, {where['threads']} threads, "
        f"seed {where['seed']}; {versions}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder of results")
    parser.add_argument("--measure", action="store_true", help="copies, triplets and speed first")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--limit", type=int, help="the first photographs only")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    if options.measure:
        from experiments.copies import edits
        from experiments.speed import networks
        from experiments.triplets import distortions

        shared = ["--data", str(options.data), "--out", str(options.out)]
        shared += ["--threads", str(options.threads)]
        limit = [] if options.limit is None else ["--limit", str(options.limit)]
        networks.main(shared)
        edits.main(shared + limit)
        distortions.main(shared + limit)
    text = report(options.out)
    (options.out / "tables.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
