"""``percert train``: networks and data sets that are made by training."""

import typer

from percert.cli.flowing import flowing
from percert.cli.train_adversarial import adversarial_dataset
from percert.cli.train_copies import copies
from percert.cli.train_distill import distill
from percert.cli.train_dro import dro
from percert.cli.train_finetune import finetune

train = typer.Typer(
    name="train",
    no_args_is_help=True,
    help="Train: adversarial data sets and robust classifiers from them, perceptual networks.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
train.command(
    "adversarial-dataset", help=flowing(adversarial_dataset.__doc__), no_args_is_help=True
)(adversarial_dataset)
train.command("dro", help=flowing(dro.__doc__), no_args_is_help=True)(dro)
train.command("copies", help=flowing(copies.__doc__), no_args_is_help=True)(copies)
train.command("distill", help=flowing(distill.__doc__), no_args_is_help=True)(distill)
train.command("finetune", help=flowing(finetune.__doc__), no_args_is_help=True)(finetune)


@train.callback()
def _group() -> None:
    """Keep every verb one of its own: a lone command would take the group's place."""
