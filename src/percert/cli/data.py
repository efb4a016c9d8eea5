"""``percert data``: data sets that have to be put together before they can be used."""

import typer

from percert.cli.data_geo import geo
from percert.cli.flowing import flowing

data = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="Put data sets together.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data.command("geo", help=flowing(geo.__doc__), no_args_is_help=True)(geo)


@data.callback()
def _group() -> None:
    """Keep ``geo`` a verb of its own: a lone command would take the group's place."""
