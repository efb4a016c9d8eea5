"""``percert report``: several runs side by side, in one file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.command import needs, one_line_errors
from percert.cli.options import JsonOption, writable_file
from percert.cli.output import emit_json, say, show_table
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    from percert.reports.run_comparison import Run


@one_line_errors
@needs("report")
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="Folders that [bold]percert attack[/bold], [bold]eval[/bold] or [bold]audit[/bold]"
            " wrote with --out.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", callback=writable_file, metavar="FILE", help="The page that is written."
        ),
    ] = Path("report.html"),
    as_json: JsonOption = False,
) -> None:
    """Put several runs side by side, in one page without files beside it.

    The page has what was run and where the runs differ; attacks compared on the same images; audits
    by their lines and groups; and for every other verb its columns of numbers. A run that still
    goes on is taken as far as it is.

    [bold]Examples[/bold]

    percert report out/pgd out/ours

    percert report out/* --out everything.html --json
    """
    from percert.evaluation.attack_runs.pages import join_runs
    from percert.reports.page import write_page

    joined = join_runs(folders)
    names = ", ".join(run.name for run in joined.runs)
    write_page(out, f"{len(joined.runs)} runs side by side", joined.sections, lead=names)
    if as_json:
        emit_json({"out": str(out), **joined.answer})
        return
    _show(joined.runs, out)


def _show(runs: "Sequence[Run]", out: Path) -> None:
    columns: list[Column[Run]] = [
        Column("run", lambda run: run.name),
        Column("command", lambda run: run.verb),
        Column("records", lambda run: len(run.rows), "d"),
    ]
    show_table(Table.of(runs, columns))
    say("")
    say(f"Written to {out}")
