"""``percert audit``: whether what certificates rest on is as it is said to be, and who pays."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.audit_groups import groups
from percert.cli.audit_plan import plan
from percert.cli.failure import complain, one_line_errors
from percert.cli.flowing import flowing
from percert.cli.options import CheckpointOption, DeviceOption, JsonOption, MetricOption
from percert.cli.output import emit_json, say, show_table

if TYPE_CHECKING:
    from percert.audit import AuditReport

audit = typer.Typer(
    name="audit",
    no_args_is_help=True,
    help="Check what the certificates rest on, and whether accuracy depends on groups.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@one_line_errors
def network(
    target: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A metric of the catalog or the folder of a trained one, or a file of weights for "
            "the one that --metric names.",
        ),
    ],
    metric_name: MetricOption = "lipsim-tiny",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Is the network's proven bound what its weights and its code bear out?

    Every layer's bound is computed anew in float64, with a lower bound by power iteration beside
    it; pairs of images are sought that break the bound of the whole, resize included; certified
    decisions are attacked from inside 0.999 of their radius. The exit status is 1 if anything is
    found.

    [bold]Examples[/bold]

    percert audit network lipsim-tiny

    percert audit network ./runs/mine

    percert audit network my-weights.safetensors --metric lipsim-small --json
    """
    from percert.audit import audit_network
    from percert.metrics.catalog import create_metric, metric_card
    from percert.metrics.embedding import EmbeddingMetric

    name = target
    if Path(target).is_file():
        if checkpoint is not None:
            raise typer.BadParameter("two files of weights", param_hint="--checkpoint")
        name, checkpoint = metric_name, Path(target)
    else:
        try:
            metric_card(target)
        except ValueError as error:
            raise ValueError(f"no such file, and {error}") from None
    metric = create_metric(name, checkpoint=checkpoint, device=device)
    if not isinstance(metric, EmbeddingMetric):
        raise ValueError(f"{name} has no proven bound: there is nothing to audit")
    report = audit_network(metric)
    if as_json:
        emit_json(report.to_dict())
    else:
        _show(report)
    if not report.passed:
        for reason in report.reasons:
            complain(f"audit: {reason}")
        raise typer.Exit(1)


audit.command("network", help=flowing(network.__doc__), no_args_is_help=True)(network)
audit.command("groups", help=flowing(groups.__doc__), no_args_is_help=True)(groups)
audit.command("plan", help=flowing(plan.__doc__), no_args_is_help=True)(plan)


def _show(report: "AuditReport") -> None:
    show_table(
        [("layer", "left"), ("type", "left"), ("lower", "right"), ("upper", "right"), ("", "left")],
        [
            [
                layer.name,
                layer.type,
                f"{layer.lower:.6f}",
                f"{layer.upper:.6f}",
                "ok" if layer.passed else f"FAILED: {layer.note}",
            ]
            for layer in report.layers
        ],
    )
    say("")
    say(f"sha256 of the weights: {report.hash}")
    say(
        f"Bound: {report.upper:.7g} by the layers, {report.bound:.7g} claimed. "
        f"Steepest pair of images found: {report.pair_slope:.4f} of it."
    )
    say(
        f"Certified decisions flipped from inside 0.999 of their radius: "
        f"{report.attack.flipped} of {report.attack.tried}. "
        f"The resize has {report.resize:.7f} of the norm that it claims. Rounding moves an "
        f"embedding by at most {report.float_error:.1e}; float32 used {report.float_used:.2g} of "
        "its own bound."
    )
    if report.passed:
        say(f"{report.name}: PASSED", style="bold green")
    else:
        say(f"{report.name}: FAILED", style="bold red")
