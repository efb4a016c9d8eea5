"""``percert eval``: what a run, a metric or an index is worth, in tables and pictures."""

import typer

from percert.cli.eval_attacks import eval_attacks
from percert.cli.flowing import flowing

evaluate = typer.Typer(
    name="eval",
    no_args_is_help=True,
    help="Evaluate attacks, metrics and indexes: tables, pictures and a report.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
evaluate.command("attacks", help=flowing(eval_attacks.__doc__), no_args_is_help=True)(eval_attacks)
