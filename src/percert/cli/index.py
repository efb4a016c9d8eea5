"""``percert index``: a collection of images, and proven answers about what is in it."""

import typer

from percert.cli.command import flowing
from percert.cli.index_prune import prune
from percert.cli.index_search import copies, duplicates, search
from percert.cli.index_store import add, info, remove, verify

ABOUT = """Keep an index of a collection, and find copies in it, with proof.

A store holds one embedding an image (or several, of views of it), from one metric. It is a folder,
or an address such as s3://bucket/name. Adding is incremental, and may be stopped at any moment.
"""

index = typer.Typer(no_args_is_help=True, help=flowing(ABOUT))
for verb in (add, search, copies, duplicates, info, remove, prune, verify):
    index.command(help=flowing(verb.__doc__), no_args_is_help=True)(verb)
