"""Answers of a store for people, and the files that ``percert index duplicates`` writes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from percert.cli.command import complain
from percert.cli.output import say, show_table
from percert.reports.budgets import rounded_down
from percert.reports.table import Column, Format, Side, Table

if TYPE_CHECKING:
    from percert.search import Copies, Duplicates, Match, Nearest, Pruned
    from percert.search.query.results import PartnerAnswer

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
    if answer.partner is not None:
        show_partner(answer.partner, f"The {len(answer.partner.results)} nearest")
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
    from percert.search.query.rule import expected

    certain, possible = len(answer.certain), len(answer.possible)
    say(
        f"{answer.query}: {certain} certain and {possible} possible copies. "
        f"{expected(answer.rule)} Proven: none is missing, and no tamper of up to "
        f"l2 {answer.eps:g} undoes a certain one.",
        style="bold green" if certain else "bold",
    )
    if answer.results:
        _table(answer.results, "radius l2", "certain")
    for one in answer.insets or ():
        if one.results:
            where = f"{one.inset.width} x {one.inset.height} at {one.inset.left}, {one.inset.top}"
            say(f"Inside it, {where} from the upper left:")
            _table(one.results, "radius l2", "certain")
    if answer.insets is not None and not any(one.results for one in answer.insets):
        what = "something looks like a picture of its own, which is no copy"
        say(f"Inside it {what if answer.insets else 'nothing looks like a picture of its own'}.")
    if answer.partner is not None:
        show_partner(answer.partner, "Found")
    if answer.verdict == "nothing":
        say("Nothing here resembles it.")


def show_partner(answer: "PartnerAnswer", what: str) -> None:
    """What the partner says of one query, and how much that is worth."""
    rate = f"one in {1 / answer.wrong:,.0f} queries that are copies of nothing"
    how = "counted" if answer.counted else "extrapolated"
    say(
        f"{what} by {answer.metric}, without proof; {rate} would be given one here ({how}, by "
        f"{answer.strangers}):"
        if answer.results
        else f"By {answer.metric}, which proves nothing: none."
    )
    columns: list[Column[Any]] = [
        Column("image", lambda match: match.path or match.id),
        Column("distance", lambda match: match.distance, ".4f", side="right"),
        Column("its threshold", lambda match: match.threshold, ".4f", side="right"),
        Column("found", lambda match: "yes" if match.copy else ""),
    ]
    if answer.results:
        show_table(Table.of(answer.results[:SHOWN], columns))
        _rest(len(answer.results))
    if answer.without:
        say(f"{answer.without} stored images have no row of {answer.metric}: index add again.")


def show_duplicates(found: "Duplicates") -> None:
    """Links and clusters, the first of them."""
    from percert.search.query.rule import expected

    twins = len(found.twins)
    same = f", {twins} of them of files with the same bytes," if twins else ""
    say(
        f"{len(found.links)} links{same} in {len(found.clusters)} clusters among {found.compared} "
        f"pairs of images ({found.metric}). {expected(found.rule)}",
        style="bold",
    )
    for cluster in found.clusters[:SHOWN]:
        files = cluster.files
        say(f"{len(files)} images, connected within l2 {_length(cluster.radius)}:")
        for id, path in files[:SHOWN]:
            say(f"  {path or id}")
        _rest(len(files))
    _rest(len(found.clusters))
    if found.partner is not None:
        say(f"{found.partner}, which proves nothing, finds {len(found.partner_links)} pairs:")
        for link in found.partner_links[:SHOWN]:
            names = link.first_path or link.first, link.second_path or link.second
            say(f"  {names[0]} and {names[1]}, distance {link.distance:.4f}")
        _rest(len(found.partner_links))


def _table(matches: "tuple[Match, ...]", radius: str, certain: str | None = None) -> None:
    """A row a match, and below it one for each other file of the same image."""
    from percert.certify.sentences import outward

    def of(
        name: str, value: "Callable[[Match], Any]", format: Format = "", side: Side = "left"
    ) -> Column[Any]:
        def cell(row: "Match | str") -> Any:
            return None if isinstance(row, str) else value(row)

        return Column(name, cell, format, missing="", side=side)

    columns: list[Column[Any]] = [
        Column("image", lambda row: row if isinstance(row, str) else _name(row)),
        of("distance", lambda match: match.distance, ".4f", "right"),
        *(
            [of("copies up to", lambda match: match.threshold, ".4f", "right")]
            if certain is not None
            else []
        ),
        of("stays within", lambda m: " - ".join(outward(m.lower, m.upper)), side="right"),
        of(radius, lambda match: match.radius, _length, "right"),
        of("view", lambda match: match.view),
    ]
    if certain is not None:
        columns.append(of(certain, lambda match: "yes" if match.certain else "possible"))
    rows = [row for match in matches for row in (match, *_twins(match))]
    show_table(Table.of(rows, columns))


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


def pruned_json(pruned: "Pruned | None") -> dict[str, Any]:
    """What JSON says of it: lists in any case, empty where nothing was to be forgotten."""
    kept = {} if pruned is None else pruned.unreachable
    return {
        "forgotten": [] if pruned is None else pruned.files,
        "unreachable": [{"path": root, "files": count} for root, count in kept.items()],
    }


def show_pruned(pruned: "Pruned") -> None:
    """What was forgotten, in words."""
    files = len(pruned.files)
    say(f"Forgot {files} files that are gone, and {pruned.images} images{':' if files else '.'}")
    name_files(pruned.files)


def name_files(files: Sequence[str]) -> None:
    """The first of ``files`` on stdout, and how many there are besides."""
    for name in files[:SHOWN]:
        say(f"  {name}")
    if len(files) > SHOWN:
        say(f"  and {len(files) - SHOWN} more")


def warn_unreachable(unreachable: Mapping[str, int]) -> None:
    """Name the roots of which nothing is there."""
    for root, count in unreachable.items():
        complain(
            f"{root}: nothing that was added is there (is it mounted?), its {count} files are "
            "kept; percert index remove forgets them"
        )
