"""The command ``percert`` with all its verbs."""

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import percert
from percert.cli.app_server import serve_app
from percert.cli.attack import attack_metric, classify
from percert.cli.audit import network, plan
from percert.cli.audit_groups import groups
from percert.cli.catalogs import list_attacks, metrics
from percert.cli.command import flowing
from percert.cli.compare import compare, judge
from percert.cli.data import geo
from percert.cli.eval_copies import eval_copies, eval_retrieval
from percert.cli.eval_metrics import eval_stability, eval_twoafc
from percert.cli.eval_people import eval_people
from percert.cli.eval_runs import eval_attacks, eval_defences, eval_saliency, eval_transfer, report
from percert.cli.index_duplicates import apply, duplicates, purge, undo
from percert.cli.index_search import copies as find_copies
from percert.cli.index_search import search
from percert.cli.index_store import add, info, remove
from percert.cli.index_thresholds import refit, upgrade
from percert.cli.index_upkeep import export as export_index
from percert.cli.index_upkeep import prune, verify
from percert.cli.train import copies as train_copies
from percert.cli.train import distill, export, finetune
from percert.cli.train_adversarial import adversarial_dataset
from percert.cli.train_dro import dro

Verb = Callable[..., Any]
VERBS: dict[str, Verb] = {
    "compare": compare,
    "judge": judge,
    "metrics": metrics,
    "report": report,
    "export": export,
    "app": serve_app,
}
#: Groups of verbs, each with what its help says.
GROUPS: dict[str, tuple[str, dict[str, Verb]]] = {
    "attack": (
        "Attack classifiers and metrics on whole collections of images.",
        {"classify": classify, "metric": attack_metric, "list": list_attacks},
    ),
    "audit": (
        "Check what the certificates rest on, and whether accuracy depends on groups.",
        {"network": network, "groups": groups, "plan": plan},
    ),
    "eval": (
        "Evaluate attacks, metrics and indexes: tables, pictures and a report.",
        {
            "attacks": eval_attacks,
            "copies": eval_copies,
            "defences": eval_defences,
            "transfer": eval_transfer,
            "twoafc": eval_twoafc,
            "people": eval_people,
            "retrieval": eval_retrieval,
            "stability": eval_stability,
            "saliency": eval_saliency,
        },
    ),
    "index": (
        "Keep an index of a collection, and find copies in it, with proof.\n\n"
        "A store holds one embedding an image (or several, of views of it), from one metric. It is "
        "a folder, or an address such as s3://bucket/name. Adding is incremental, and may be "
        "stopped at any moment.",
        {
            "add": add,
            "search": search,
            "copies": find_copies,
            "duplicates": duplicates,
            "apply": apply,
            "undo": undo,
            "purge": purge,
            "info": info,
            "remove": remove,
            "prune": prune,
            "verify": verify,
            "refit": refit,
            "upgrade": upgrade,
            "export": export_index,
        },
    ),
    "data": ("Put data sets together.", {"geo": geo}),
    "train": (
        "Train: adversarial data sets and robust classifiers from them, perceptual networks.",
        {
            "adversarial-dataset": adversarial_dataset,
            "dro": dro,
            "copies": train_copies,
            "distill": distill,
            "finetune": finetune,
        },
    ),
}
#: Verbs that say something useful, or serve, without any argument; others show their help.
WITHOUT_ARGUMENTS = (metrics, list_attacks, serve_app)

app = typer.Typer(
    name="percert",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(to: typer.Typer, verbs: dict[str, Verb]) -> None:
    for name, verb in verbs.items():
        helpless = verb not in WITHOUT_ARGUMENTS
        to.command(name, help=flowing(verb.__doc__), no_args_is_help=helpless)(verb)


_add(app, VERBS)
for _name, (_about, _verbs) in GROUPS.items():
    _group = typer.Typer(name=_name, no_args_is_help=True, help=_about)
    _group.callback()(lambda: None)  # or a lone verb would take the group's place
    _add(_group, _verbs)
    app.add_typer(_group, name=_name)


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
