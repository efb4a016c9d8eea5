"""``percert audit plan``: how many images a group, before any are collected."""

from dataclasses import asdict
from typing import Annotated

import typer

from percert.cli.failure import one_line_errors
from percert.cli.needs import needs
from percert.cli.options import JsonOption
from percert.cli.output import emit_json, say, show_table


@one_line_errors
@needs("fairness")
def plan(
    groups: Annotated[int, typer.Option("--groups", metavar="N", help="How many groups.")],
    rate: Annotated[
        float,
        typer.Option(metavar="SHARE", help="The accuracy (or other share) that is expected."),
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
    show_table(
        [("to", "left"), ("images a group", "right"), ("images in all", "right")],
        [
            [
                need.question,
                "none is enough" if need.images is None else f"{need.images:,}",
                "" if need.images is None else f"{need.images * groups:,}",
            ]
            for need in needs
        ],
    )
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
