"""``percert index verify``, ``prune`` and ``export``: a store looked after, and taken elsewhere."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.command import complain, needs, one_line_errors
from percert.cli.index_search import OwnThresholdOption, WrongOption, rule_asked
from percert.cli.index_show import name_files, pruned_json, show_pruned, warn_unreachable
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    StoreMetricOption,
    StoreOption,
    metric_for_store,
    writable_file,
)
from percert.cli.output import emit_json, say
from percert.cli.progress import Bar


@one_line_errors
@needs("search")
def verify(
    store: StoreOption,
    metric_name: StoreMetricOption = None,
    checkpoint: CheckpointOption = None,
    again: Annotated[
        int,
        typer.Option(
            "--again", metavar="N", min=0, help="Embed N images once more, and compare them."
        ),
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Check that a store is sound; the exit status is 1 where it is not.

    Every name is there once, every file has its image, every embedding is finite and has its norm,
    and every bound is the one that is proven. Files that are gone are counted: that makes a store
    out of date, not unsound. Nothing is changed.

    [bold]Example[/bold]

    percert index verify --store photos.store --again 100
    """
    from percert.search import open_store

    metric = metric_for_store(store, metric_name, checkpoint, "cpu")
    verdict = open_store(store, metric, create=False).verify(again)
    if as_json:
        emit_json({"store": store, "sound": verdict.sound, **vars(verdict)})
    elif verdict.sound:
        more = f", {verdict.embedded} of them embedded again" if again else ""
        say(f"Sound: {verdict.images} images{more}, {verdict.files} files.")
        if verdict.missing:
            say(f"{verdict.missing} files are gone: percert index prune forgets them.")
        if verdict.unreachable:
            say(
                f"{verdict.unreachable} files lie below folders of which nothing is there now "
                "(are they mounted?)."
            )
    for problem in verdict.problems:
        complain(problem)
    if not verdict.sound:
        raise typer.Exit(1)


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


@one_line_errors
@needs("search")
def export(
    store: StoreOption,
    out: Annotated[
        Path,
        typer.Option(
            "--out", callback=writable_file, metavar="FILE.parquet", help="The file to write."
        ),
    ],
    links: Annotated[
        bool,
        typer.Option(
            "--links",
            help="Look for duplicates as well: a column of what each file is linked with.",
        ),
    ] = False,
    wrong: WrongOption = None,
    threshold: OwnThresholdOption = None,
    metric_name: StoreMetricOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write a store to a parquet file for other tools: a row a file, with its embedding and links.

    The columns are filepath, id (the SHA-256 of the bytes), own_id (from --ids of percert index
    add), height, width, embedding (of length 1: 1 - the dot product of two is the distance), and
    with --links a list of id, filepath, distance, threshold and radius.

    [bold]Examples[/bold]

    percert index export --store photos.store --out photos.parquet

    percert index export --store photos.store --out photos.parquet --links --wrong 1e-5
    """
    from percert.search import open_store
    from percert.search.export import export_store

    if not links and not (wrong is None and threshold is None):
        raise typer.BadParameter("are for --links", param_hint="--wrong, --threshold")
    metric = metric_for_store(store, metric_name, checkpoint, device) if links else None
    opened, found = open_store(store, metric, create=False, partner=False), None
    if links:
        rule = rule_asked(opened, threshold, wrong)
        with Bar() as bar:
            found = opened.duplicates(rule, progress=partial(bar, "comparing"))
    rows = export_store(opened, out, found)
    if as_json:
        emit_json({"store": store, "out": str(out), "rows": rows})
    else:
        say(f"{rows} rows in {out}.")
