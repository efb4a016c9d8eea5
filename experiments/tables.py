"""The published tables, made from the JSON files of a run.

    python -m experiments tables --measure --data data --out docs/results

Prints them, and writes them to ``tables.md`` beside the files, which ``--measure`` makes first.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from experiments.detectors import NAMES
from experiments.photographs import DEFAULT_DATA
from percert.reports.table import Column, Table

Result = dict[str, Any]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: names to the left, numbers to the right."""
    columns: list[Column[Sequence[str]]] = [
        Column(name, itemgetter(place), side="right" if place else "left")
        for place, name in enumerate(header)
    ]
    return Table.of(rows, columns).markdown()


def found_table(results: Sequence[Result]) -> str:
    """True-positive rates and micro average precision, usual and hard edits."""
    header = ["metric", *(f"usual, TPR at {fpr}" for fpr in ("1e-2", "1e-3", "1e-4"))]
    header += ["uAP", "80 % crops at 1e-3", "hard, TPR at 1e-3", "hard, uAP"]
    rows = []
    for result in results:
        usual, hard = result["groups"]
        crops = [edit["tpr"][1] for edit in usual["edits"] if edit["family"] == "crop-80"]
        rates = [point["tpr"] for point in usual["points"]]
        rates += [usual["micro_average_precision"], sum(crops) / len(crops)]
        rates += [hard["points"][1]["tpr"], hard["micro_average_precision"]]
        rows.append([result["metric"], *map(_share, rates)])
    return markdown(header, rows)


def certified_table(results: Sequence[Result], group: int) -> str:
    """Certified rates at every budget, of the usual (0) or the hard (1) edits."""
    certified = [result for result in results if result["groups"][group]["certified"]]
    if not certified:
        return ""
    budgets = certified[0]["groups"][group]["certified"]
    header = ["metric", "found", *map(_budget, budgets)]
    rows = [
        [
            result["metric"],
            _share(result["groups"][group]["points"][1]["tpr"]),
            *(_share(entry["rate"]) for entry in result["groups"][group]["certified"]),
        ]
        for result in certified
    ]
    return markdown(header, rows)


def attacked_table(results: Sequence[Result]) -> str:
    """What is found after an attack, and in brackets what is certified of the same copies."""
    attacked = [result for result in results if result["attacked"]]
    if not attacked:
        return ""
    header = ["metric", "no attack"]
    for entry in attacked[0]["attacked"]["budgets"]:
        header += [f"l2 {entry['eps']:g}", f"l2 {entry['eps']:g}, 8 bit"]
    rows = []
    for result in attacked:
        row = [result["metric"], _share(result["attacked"]["natural"])]
        for entry in result["attacked"]["budgets"]:
            proven = f" ({_share(entry['certified'])})" if entry["certified"] is not None else ""
            row += [_share(entry["rate"]) + proven, _share(entry["rate_8bit"])]
        rows.append(row)
    return markdown(header, rows)


def edits_table(results: Sequence[Result]) -> str:
    """The true-positive rate of every edit at 1e-3, one column a metric."""
    rows = []
    for group in range(2):
        for place, edit in enumerate(results[0]["groups"][group]["edits"]):
            name = edit["name"] + (" (hard)" if edit["hard"] else "")
            rates = (result["groups"][group]["edits"][place]["tpr"][1] for result in results)
            rows.append([name, *map(_share, rates)])
    return markdown(["edit", *(result["metric"] for result in results)], rows)


def triplets_table(results: Sequence[Result], key: str) -> str:
    """2AFC scores of one set: natural, then certified with ours and in brackets the paper's."""
    scores = []
    for result in results:
        entry = result[key][0] if isinstance(result[key], list) else result[key]
        if entry is not None:
            scores.append((result["metric"], entry))
    if not scores:
        return ""
    budgets = max((entry["certified"] for _, entry in scores), key=len)
    rows = []
    for name, entry in scores:
        proven = [f"{_share(one['ours'])} ({_share(one['paper'])})" for one in entry["certified"]]
        rows.append([name, _share(entry["natural"]), *(proven or ["none"] * len(budgets))])
    return markdown(["metric", "natural", *map(_budget, budgets)], rows)


def speed_table(result: Result) -> str:
    """Median images a second with quartiles, and what a certificate takes beside the distance."""
    found = {(one["name"], one["task"], one["batch"]): one for one in result["timings"]}
    costs = {(one["name"], one["batch"]): one["median"] for one in result.get("costs", ())}
    names = list(dict.fromkeys(one["name"] for one in result["timings"]))
    batches = sorted({one["batch"] for one in result["timings"]})
    header = ["metric"]
    for batch in batches:
        header += [f"images/s, batch {batch}", f"certificate, batch {batch}"]
    rows = []
    for name in names:
        row = [name]
        for batch in batches:
            one = found[name, "embed", batch]
            slow, fast = (batch / one[f"{which}_quartile"] for which in ("upper", "lower"))
            row.append(f"{one['images_per_second']:.0f} ({slow:.0f} to {fast:.0f})")
            cost = costs.get((name, batch))
            row.append("none" if cost is None else f"{cost:.2f} times its distance")
        rows.append(row)
    return markdown(header, rows)


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


def _share(value: float) -> str:
    return f"{value:.3f}"


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
