"""``percert audit``: whether what certificates rest on is as it is said to be."""

import typer

audit = typer.Typer(
    name="audit",
    no_args_is_help=True,
    help="Check what the certificates rest on.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
