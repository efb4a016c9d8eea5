"""``percert train``: networks and data sets that are made by training."""

import typer

train = typer.Typer(
    name="train",
    no_args_is_help=True,
    help="Train: adversarial data sets and robust classifiers from them, perceptual networks.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# A verb a file, registered here as in cli/attack.py:
# train.command("dro", help=flowing(dro.__doc__), no_args_is_help=True)(dro)


@train.callback()
def _group() -> None:
    """Keep every verb one of its own: a lone command would take the group's place."""
