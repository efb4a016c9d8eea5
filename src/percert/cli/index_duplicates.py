"""``percert index duplicates``, and ``apply``, ``undo`` and ``purge`` of its plan."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.command import command_line, needs, one_line_errors, with_shared_options
from percert.cli.index_groups import follow, show_groups, show_plan
from percert.cli.index_search import OwnThresholdOption, StoreAccess, WrongOption, rule_asked
from percert.cli.index_show import show_duplicates
from percert.cli.options import (
    JsonOption,
    writable_file,
    writable_folder,
)
from percert.cli.output import emit_json, say
from percert.cli.progress import Bar
from percert.search.deduplicate.choices import Action, Keep

PlanArgument = Annotated[
    Path, typer.Argument(metavar="PLAN", help="What percert index duplicates --plan wrote.")
]


@one_line_errors
@needs("search", given={"report": "report"}, sometimes=("ray",))
@with_shared_options
def duplicates(
    where: StoreAccess,
    wrong: WrongOption = None,
    threshold: OwnThresholdOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            callback=writable_folder,
            metavar="DIR",
            help="A folder for the links and clusters, as parquet. A run that was stopped goes on "
            "there.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        Keep | None,
        typer.Option(
            help="Show groups of files, with the one to keep: of most pixels, then from a camera, "
            "then compressed least (best); of most pixels, then bytes (largest); by the time of "
            "change. --report and --plan take best unless told.",
            show_default=False,
        ),
    ] = None,
    protect: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Files below are kept before all others, and never acted on. May be repeated.",
            show_default=False,
        ),
    ] = None,
    with_found: Annotated[
        bool,
        typer.Option(
            "--with-found",
            help="In groups, also what is found without proof (by the store's partner).",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            callback=writable_file,
            metavar="PAGE.html",
            help="A page with the pictures of each group side by side, in one file.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            callback=writable_file,
            metavar="PLAN.json",
            help="Write down what --do would do with each copy, for percert index apply. Nothing "
            "is done yet.",
            show_default=False,
        ),
    ] = None,
    do: Annotated[
        Action | None,
        typer.Option(
            help="With --plan: put copies into a trash folder beside them (delete); make files of "
            "the same bytes names of the one that is kept (hardlink); or move copies to --to.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            callback=writable_folder,
            metavar="DIR",
            help="Where --do move takes the copies.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Which stored images are copies of each other, and which files could go?

    All pairs are compared, block by block; files with the same bytes are linked at distance 0. A
    link holds while both of its images change, each by less than its radius, and a cluster stays
    connected within the smallest radius that it needs. Each image is asked for as a query is, so
    that of a collection without copies about the share --wrong of the images is in a link. Links of
    the store's partner stand beside.

    With --keep, --report or --plan the files come in groups: one to keep, and those that are copies
    of this very file. Nothing is changed: a plan is read first, and percert index apply does it.

    [bold]Examples[/bold]

    percert index duplicates --store photos.store --json

    percert index duplicates --store photos.store --wrong 1e-5 --out duplicates/

    percert index duplicates --store photos.store --report duplicates.html

    percert index duplicates --store photos.store --keep oldest --plan oldest.json --do delete
    """
    from dataclasses import asdict
    from time import perf_counter

    if (plan is None) != (do is None):
        raise typer.BadParameter("go together: what is to be planned?", param_hint="--plan, --do")
    if (do == "move") != (to is not None):
        raise typer.BadParameter("go together", param_hint="--do move, --to")
    from percert.search.export import write_duplicates
    from percert.search.own_ids import with_own_ids

    began = perf_counter()
    with where.opened() as opened, Bar() as bar:
        rule = rule_asked(opened, threshold, wrong)
        found = opened.duplicates(rule, out=out, progress=partial(bar, "comparing"))
    if out is not None:
        write_duplicates(
            out,
            found,
            store=where.store,
            device=where.device,
            seconds=perf_counter() - began,
            command=command_line(),
        )
    if keep is None and report is None and plan is None:
        if where.as_json:
            emit_json(with_own_ids(found.to_json(), where.store))
        else:
            show_duplicates(found)
        return
    from percert.search.deduplicate.groups import group_files
    from percert.search.deduplicate.plan import make_plan, write_plan

    groups = group_files(
        opened.tables, found, keep or "best", protected=protect or (), with_found=with_found
    )
    if report is not None:
        from percert.search.deduplicate.page import write_duplicates_page

        write_duplicates_page(report, groups, found)
    planned = None if do is None else make_plan(groups, do, to)
    if planned is not None and plan is not None:
        write_plan(planned, plan)
    if where.as_json:
        told = {} if planned is None else {"plan": asdict(planned)}
        emit_json(with_own_ids({**found.to_json(), **groups.to_json(), **told}, where.store))
        return
    show_groups(groups)
    if report is not None:
        say(f"The pictures side by side: {report}")
    if planned is not None:
        show_plan(planned, str(plan))


@one_line_errors
@needs("search")
def apply(
    plan: PlanArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only look whether each file is still what it was.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Do what a plan says: delete (into a trash folder), hard-link or move each copy.

    A file that has changed since the plan was made, or whose kept one has, is left alone and named,
    and the exit status is then 1. Each step is written down before it is taken, beside the plan: a
    run that was stopped goes on when it is started again, and percert index undo puts all back.

    [bold]Examples[/bold]

    percert index apply plan.json --dry-run

    percert index apply plan.json
    """
    from percert.search.deduplicate.apply import iter_apply
    from percert.search.deduplicate.plan import read_plan

    action = read_plan(plan).action
    words = {
        "delete": "are in the trash now",
        "hardlink": "are linked now",
        "move": "are moved now",
    }[action]
    said = "could be acted on" if dry_run else words
    after = [f"percert index undo {plan} puts all back."]
    if action != "move":
        after.append(f"The bytes stay on the disk until percert index purge {plan} --yes.")
    after.append("percert index prune makes the store forget files that are gone.")
    follow(iter_apply(plan, dry_run=dry_run), said, as_json, () if dry_run else after)


@one_line_errors
@needs("search")
def undo(plan: PlanArgument, as_json: JsonOption = False) -> None:
    """Put back every file that percert index apply moved, linked or put into the trash.

    Where something else is in the place of a file now, it stays in the trash or where it was moved,
    and is named. What was purged is gone.

    [bold]Example[/bold]

    percert index undo plan.json
    """
    from percert.search.deduplicate.apply import iter_undo

    follow(iter_undo(plan), "are back where they were", as_json)


@one_line_errors
@needs("search")
def purge(
    plan: PlanArgument,
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete them. Without it they are only named.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete for good what percert index apply put into the trash. That cannot be undone.

    Nothing is deleted without --yes. A file stays in the trash if the one that was kept in its
    place is not what it was.

    [bold]Examples[/bold]

    percert index purge plan.json

    percert index purge plan.json --yes
    """
    from percert.search.deduplicate.apply import iter_purge

    said = "are deleted for good" if yes else "would be deleted for good: --yes does it"
    follow(iter_purge(plan, dry_run=not yes), said, as_json)
