"""The command ``percert`` with all its verbs."""

import os
import sys
from typing import Annotated

import typer

import percert
from percert.cli.app_server import serve_app
from percert.cli.attack import attack
from percert.cli.audit import audit
from percert.cli.catalogs import metrics
from percert.cli.command import flowing
from percert.cli.compare import compare
from percert.cli.data import data
from percert.cli.eval import evaluate
from percert.cli.index import index
from percert.cli.judge import judge
from percert.cli.report import report
from percert.cli.train import export, train

app = typer.Typer(
    name="percert",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (compare, judge, metrics, report, export):
    app.command(help=flowing(verb.__doc__), no_args_is_help=verb is not metrics)(verb)
app.command("app", help=flowing(serve_app.__doc__))(serve_app)
app.add_typer(attack, name="attack")
app.add_typer(audit, name="audit")
app.add_typer(evaluate, name="eval")
app.add_typer(index, name="index")
app.add_typer(data, name="data")
app.add_typer(train, name="train")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"percert {percert.__version__}")
        raise typer.Exit


ABOUT = """How alike are two images, and how far can that answer be trusted?

Every distance comes with a proof: between which bounds it stays, whatever somebody does to the
images within a given budget. Results go to stdout, everything else to stderr. The exit status is 0
when done, 1 when something could not be read or computed, 2 for a wrong command line.
"""


@app.callback(help=flowing(ABOUT))
def about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version, and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before the verb."""


def main() -> None:
    """Run the command line; what the ``percert`` script calls."""
    for stream in (sys.stdout, sys.stderr):
        # A path that the terminal's encoding cannot show is escaped, never a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="percert")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        _close_stdout()


def _close_stdout() -> None:
    """Flush now, so that a reader that has gone away is noticed here and not at shutdown."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
