"""What the command line shows of groups of duplicates, of a plan, and of what came of it."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from percert.cli.command import complain
from percert.cli.index_show import SHOWN
from percert.cli.output import emit_json, note_bad, say

if TYPE_CHECKING:
    from percert.search.deduplicate.apply import StepOutcome
    from percert.search.deduplicate.groups import FileGroups
    from percert.search.deduplicate.plan import Plan


def show_groups(groups: "FileGroups") -> None:
    """The first groups, and which files are left alone."""
    from percert.search.deduplicate.files import data_size, described
    from percert.search.deduplicate.groups import evidence_of

    copies = sum(len(group.copies) for group in groups.groups)
    say(
        f"{copies} files are copies of {len(groups.groups)} others, {data_size(groups.spare)} "
        "in all. Nothing has been changed.",
        style="bold",
    )
    for group in groups.groups[:SHOWN]:
        say(f"keep {group.keep.path} ({described(group.keep)})")
        for copy in group.copies[:SHOWN]:
            say(f"  {copy.file.path} ({described(copy.file)}): {evidence_of(copy)}")
        _rest(len(group.copies), "copies")
    _rest(len(groups.groups), "groups")
    if groups.left_out:
        complain(f"{len(groups.left_out)} files with duplicates are left alone:")
        for path, why in groups.left_out[:SHOWN]:
            complain(f"  {path}: {why}")


def _rest(count: int, what: str) -> None:
    if count > SHOWN:
        say(f"  and {count - SHOWN} {what} more")


def show_plan(plan: "Plan", path: str) -> None:
    """How much a plan would do, and how it is done."""
    from percert.search.deduplicate.files import data_size

    would = {
        "delete": "put {} files into the trash",
        "hardlink": "make {} files of the same bytes names of those that are kept",
        "move": "move {} files",
    }[plan.action].format(len(plan.steps))
    say(f"{path} would {would}, {data_size(plan.bytes)}.")
    say(f"Read it, take out what should stay, then: percert index apply {path}")


def follow(
    outcomes: "Iterable[StepOutcome]", said: str, as_json: bool, after: Iterable[str] = ()
) -> None:
    """Name each file as it is done; then those that were left alone, with exit status 1.

    ``after`` is said when something was done.
    """
    done: list[str] = []
    left: list[tuple[str, str]] = []
    for path in _done(outcomes, left):
        done.append(path)
        if not as_json and len(done) <= SHOWN:
            say(f"  {path}")
    if as_json:
        from percert.images.walk import listed

        emit_json({"done": done, "left": listed(left)})
    else:
        _rest(len(done), "files")
        say(f"{len(done)} files {said}.")
        for sentence in after if done else ():
            say(sentence)
    note_bad(left, "files were left alone")
    if left:
        raise typer.Exit(1)


def _done(outcomes: "Iterable[StepOutcome]", left: list[tuple[str, str]]) -> Iterator[str]:
    for one in outcomes:
        if one.ok:
            yield one.path
        else:
            left.append((one.path, one.reason or ""))
