"""What goes to stdout: one JSON object, or a table and sentences for people."""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from percert.check import printable
from percert.cli.command import complain
from percert.reports.table import Table, finite

if TYPE_CHECKING:
    from percert.images import LeftOut
    from percert.runs import RunResult

#: Wide enough that nothing is folded where there is no terminal to fold it for.
UNLIMITED = 100_000


def console() -> Console:
    """Stdout as rich sees it: a pipe gets lines of any length, unless COLUMNS says otherwise."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=UNLIMITED if piped else None, highlight=False, soft_wrap=False)


def say(sentence: str, style: str = "") -> None:
    """One sentence for people on stdout, taken literally."""
    console().print(Text(printable(sentence), style=style))


def show_table(table: Table) -> None:
    """A table on stdout, without its caption. Nothing is cut off."""
    console().print(table.terminal())


def show_result(
    result: "RunResult", *, as_json: bool, what: str = "images could not be read"
) -> None:
    """The answer as JSON, or its tables and sentences; then, on stderr, what could not be done.

    Exits with status 1 where something could not.
    """
    if as_json:
        emit_json(result.answer)
    for block in () if as_json else result.shown:
        if isinstance(block, str):
            say(block)
        else:
            show_table(block)
            say("")
    note_left_out(result.left_out)
    note_bad(result.bad, what)
    for name, reason in result.failed:
        details = f"{result.answer['out']}/errors.log"
        complain(f"attack {name} gave up: {reason} (details in {details})")
    if result.bad or result.failed:
        raise typer.Exit(1)


def note_bad(bad: "Sequence[tuple[str, str]]", what: str) -> None:
    """Say on stderr how many are bad, and each by name with the reason; nothing where none is."""
    if bad:
        complain(f"{len(bad)} {what}:")
    for name, reason in bad:
        complain(f"  {name}: {reason}")


def emit_json(answer: Mapping[str, Any]) -> None:
    """``answer`` as one JSON object on stdout; numbers that JSON cannot hold become null."""
    typer.echo(json.dumps(finite(answer), indent=2, allow_nan=False))


def note_left_out(left_out: "Sequence[LeftOut]") -> None:
    """Say on stderr how many of which kind were left out; nothing where there were none."""
    kinds = Counter(one.kind for one in left_out)
    if kinds:
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        complain(f"left out, for they are no images that are read: {counted}")
