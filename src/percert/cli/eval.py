"""``percert eval``: what a run, a metric or an index is worth, in tables and pictures."""

import typer

from percert.cli.command import flowing
from percert.cli.eval_attacks import eval_attacks
from percert.cli.eval_copies import eval_copies
from percert.cli.eval_defences import eval_defences
from percert.cli.eval_retrieval import eval_retrieval
from percert.cli.eval_saliency import eval_saliency
from percert.cli.eval_stability import eval_stability
from percert.cli.eval_transfer import eval_transfer
from percert.cli.eval_twoafc import eval_twoafc

evaluate = typer.Typer(
    name="eval",
    no_args_is_help=True,
    help="Evaluate attacks, metrics and indexes: tables, pictures and a report.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
evaluate.command("attacks", help=flowing(eval_attacks.__doc__), no_args_is_help=True)(eval_attacks)
evaluate.command("copies", help=flowing(eval_copies.__doc__), no_args_is_help=True)(eval_copies)
evaluate.command("defences", help=flowing(eval_defences.__doc__), no_args_is_help=True)(
    eval_defences
)
evaluate.command("transfer", help=flowing(eval_transfer.__doc__), no_args_is_help=True)(
    eval_transfer
)
evaluate.command("twoafc", help=flowing(eval_twoafc.__doc__), no_args_is_help=True)(eval_twoafc)
evaluate.command("retrieval", help=flowing(eval_retrieval.__doc__), no_args_is_help=True)(
    eval_retrieval
)
evaluate.command("stability", help=flowing(eval_stability.__doc__), no_args_is_help=True)(
    eval_stability
)
evaluate.command("saliency", help=flowing(eval_saliency.__doc__), no_args_is_help=True)(
    eval_saliency
)
