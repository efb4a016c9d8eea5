"""``percert audit``: whether what certificates rest on is as it is said to be, and who pays."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.command import complain, needs, one_line_errors
from percert.cli.options import CheckpointOption, DeviceOption, JsonOption, MetricOption
from percert.cli.output import emit_json, say, show_table
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    from percert.audit import AuditReport
    from percert.fairness.planning import SampleSize
    from percert.lipschitz.layer_audit import LayerAudit


@one_line_errors
@needs("fairness")
def plan(
    groups: Annotated[int, typer.Option("--groups", metavar="N", help="How many groups.")],
    rate: Annotated[
        float, typer.Option(metavar="SHARE", help="The accuracy (or other share) that is expected.")
    ],
    gap: Annotated[
        float, typer.Option(metavar="SHARE", help="The difference that is to be found.")
    ] = 0.05,
    margin: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="The difference within which groups are to be shown fair."
        ),
    ] = None,
    spread: Annotated[
        float,
        typer.Option(
            metavar="SD",
            help="Of the groups' true shares about the line, beside the luck of the draw; an audit "
            "of like data estimates it.",
        ),
    ] = 0.0,
    power: Annotated[
        float, typer.Option(metavar="SHARE", help="How often it is to be found.")
    ] = 0.8,
    as_json: JsonOption = False,
) -> None:
    """How many images a group does an audit need, before any are collected?

    For groups of one size: to find that two of them differ by --gap, to find a line that changes by
    --gap over the attribute, and to show that no two differ by --margin. All tests are at the level
    0.05. Where a line hides in the groups' own spread no number of images shows it: then it is said
    how many groups it takes.

    [bold]Examples[/bold]

    percert audit plan --groups 12 --rate 0.9 --gap 0.05 --margin 0.05

    percert audit plan --groups 40 --rate 0.8 --gap 0.1 --spread 0.05 --json
    """
    from percert.fairness.planning import PlanSettings
    from percert.fairness.planning import plan as planned

    settings = PlanSettings(groups, rate, gap, margin, spread, power)
    needs = planned(settings)
    if as_json:
        emit_json({"settings": asdict(settings), "needs": [asdict(need) for need in needs]})
        return
    columns: list[Column[SampleSize]] = [
        Column("to", lambda need: need.question),
        Column("images a group", lambda need: need.images, ",d", missing="none is enough"),
        Column(
            "images in all",
            lambda need: None if need.images is None else need.images * groups,
            ",d",
            missing="",
        ),
    ]
    show_table(Table.of(needs, columns))
    say("")
    say(
        f"{groups} groups of one size, shares around {rate:g}; tests at the level 0.05 that find "
        f"it with probability {power:g}."
    )
    for need in needs:
        if need.groups is not None:
            say(
                f"A spread of {spread:g} hides a change of {gap:g} among {groups} groups, however "
                f"many images: it takes at least {need.groups} groups."
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
    from percert.metrics.certified.embedding import EmbeddingMetric

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


def _show(report: "AuditReport") -> None:
    columns: list[Column[LayerAudit]] = [
        Column("layer", lambda layer: layer.name),
        Column("type", lambda layer: layer.type),
        Column("lower", lambda layer: layer.lower, ".6f"),
        Column("upper", lambda layer: layer.upper, ".6f"),
        Column("", lambda layer: "ok" if layer.passed else f"FAILED: {layer.note}"),
    ]
    show_table(Table.of(report.layers, columns))
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
