"""Answers of a store for people, and the files that ``percert index duplicates`` writes."""

import math
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from percert.cli.output import say, show_table
from percert.reports.budgets import rounded_down

if TYPE_CHECKING:
    from percert.search import Copies, Duplicates, Match, Nearest

#: Links and clusters that are shown; --json and --out have all.
SHOWN = 20


def show_nearest(answer: "Nearest") -> None:
    """The nearest images of one query, and what is proven."""
    if not answer.results:
        say(f"{answer.query}: the store is empty.")
        return
    say(f"{answer.query}", style="bold")
    _table(answer.results, f"stays in the first {answer.k}")
    first = _name(answer.results[0])
    say(
        f"Proven: {first} stays the first for every change of the query of less than l2 "
        f"{_length(answer.radius_first)}, and in the first {answer.k} for less than "
        f"{_length(answer.radius_top_k)}."
    )
    if answer.candidates is None:
        return
    if answer.certain:
        say(f"Certain: for every change of up to l2 {answer.eps:g} it is the first.")
    else:
        say(
            f"Not certain: after a change of up to l2 {answer.eps:g} one of "
            f"{len(answer.candidates)} images is the first, and none besides:"
        )
        for match in answer.candidates[:SHOWN]:
            say(f"  {_name(match)}")
        _rest(len(answer.candidates))


def show_copies(answer: "Copies") -> None:
    """The copies of one query."""
    certain, possible = len(answer.certain), len(answer.possible)
    say(
        f"{answer.query}: {certain} certain and {possible} possible copies (distance <= "
        f"{answer.threshold:.4g}); proven: there is none besides, and the certain ones stay copies "
        f"under any tamper of up to l2 {answer.eps:g}.{_strangers(answer.stranger_rate)}",
        style="bold green" if certain else "bold",
    )
    if answer.results:
        _table(answer.results, "radius l2", "certain")


def _strangers(rate: float | None) -> str:
    """That nothing proves two pictures to be the same one, with how often it is not so."""
    from percert.search.query.recommended import one_in

    if rate is None:
        return " How many strangers lie as close is not known."
    return f" That close lies {one_in(rate)} as well."


def show_duplicates(found: "Duplicates") -> None:
    """Links and clusters, the first of them."""
    twins = len(found.twins)
    same = f", {twins} of them of files with the same bytes," if twins else ""
    say(
        f"{len(found.links)} links{same} in {len(found.clusters)} clusters among {found.compared} "
        f"pairs of images (distance <= {found.threshold:.4g}, {found.metric})."
        f"{_strangers(found.stranger_rate)}",
        style="bold",
    )
    for cluster in found.clusters[:SHOWN]:
        files = cluster.files
        say(f"{len(files)} images, connected within l2 {_length(cluster.radius)}:")
        for id, path in files[:SHOWN]:
            say(f"  {path or id}")
        _rest(len(files))
    _rest(len(found.clusters))


def write_duplicates(
    out: Path,
    found: "Duplicates",
    store: str,
    device: str,
    seconds: float,
) -> None:
    """``records.parquet`` (links), ``clusters.parquet`` (a file a row) and ``run.json``."""
    from percert.reports import write_records, write_run
    from percert.search import Link

    links = [asdict(link) for link in found.links]
    columns = {field.name: str for field in fields(Link)} | {"distance": float, "radius": float}
    write_records(out / "records.parquet", links, columns)
    members = [
        {"cluster": place, "id": id, "path": path, "radius": cluster.radius}
        for place, cluster in enumerate(found.clusters)
        for id, path in cluster.files
    ]
    write_records(
        out / "clusters.parquet", members, {"cluster": int, "id": str, "path": str, "radius": float}
    )
    write_run(
        out,
        command=sys.argv,
        seed=None,
        device=device,
        seconds=seconds,
        settings={"store": store, "threshold": found.threshold, "metric": found.metric},
    )


def _table(matches: "tuple[Match, ...]", radius: str, certain: str | None = None) -> None:
    rows = []
    for match in matches:
        low, up = math.floor(1e4 * match.lower) / 1e4, math.ceil(1e4 * match.upper) / 1e4
        row = [_name(match), f"{match.distance:.4f}", f"{low:.4f} - {up:.4f}"]
        row += [_length(match.radius), match.view]
        rows.append(row + ([] if certain is None else ["yes" if match.certain else "possible"]))
        rows += [[said, *[""] * (len(rows[-1]) - 1)] for said in _twins(match)]
    columns = [("image", "left"), ("distance", "right"), ("stays within", "right")]
    columns += [(radius, "right"), ("view", "left")]
    show_table(columns + ([] if certain is None else [(certain, "left")]), rows)  # type: ignore[arg-type]  # literals in a list


def _twins(match: "Match") -> list[str]:
    """The other files of the image, a line each."""
    others = [f"  {path} (the same bytes)" for path in match.paths[1:]]
    rest = len(others) - SHOWN
    return others[:SHOWN] + ([f"  and {rest} more of the same bytes"] if rest > 0 else [])


def _name(match: "Match") -> str:
    return match.path or match.id


def _length(radius: float) -> str:
    return "any length" if math.isinf(radius) else rounded_down(radius, 3)


def _rest(count: int) -> None:
    if count > SHOWN:
        say(f"  and {count - SHOWN} more")
