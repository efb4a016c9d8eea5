"""``percert index prune``: forgetting files that are gone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percert.cli.command import complain, needs, one_line_errors
from percert.cli.options import JsonOption, StoreOption
from percert.cli.output import emit_json, say

if TYPE_CHECKING:
    from percert.search import Pruned

#: Files that are named; --json has all.
SHOWN = 20


@one_line_errors
@needs("search")
def prune(
    store: StoreOption,
    below: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", help="Only what lies below these folders.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be forgotten, and change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Forget the files that are not there any more, and the images that no other file holds.

    Below a folder that was added and of which nothing is there now (it may be unmounted) all is
    kept, and said; percert index remove forgets that too. What was forgotten is named.

    [bold]Examples[/bold]

    percert index prune --store photos.store --dry-run

    percert index prune photos/ --store photos.store
    """
    from percert.search import open_store

    opened = open_store(store, create=False)
    pruned = opened.prune(below, dry_run=dry_run)
    if as_json:
        answer = {"store": store, "dry_run": dry_run, "images": pruned.images}
        emit_json({**answer, **pruned_json(pruned)})
        return
    if dry_run:
        say(f"{len(pruned.files)} files would be forgotten{'' if not pruned.files else ':'}")
        name_files(pruned.files)
    else:
        show_pruned(pruned)
        say(f"The store holds {opened.count} images.")
    warn_unreachable(pruned.unreachable)


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
