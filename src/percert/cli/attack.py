"""``percert attack``: how little breaks a classifier or a metric."""

import typer

from percert.cli.attack_classify import classify
from percert.cli.attack_metric import attack_metric
from percert.cli.catalogs import list_attacks
from percert.cli.command import flowing

attack = typer.Typer(
    name="attack",
    no_args_is_help=True,
    help="Attack classifiers and metrics on whole collections of images.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
attack.command("classify", help=flowing(classify.__doc__), no_args_is_help=True)(classify)
attack.command("metric", help=flowing(attack_metric.__doc__), no_args_is_help=True)(attack_metric)
attack.command("list", help=flowing(list_attacks.__doc__))(list_attacks)
