"""Options of ``percert audit groups`` on what is compared with what."""

from typing import Annotated, TypeAlias

import typer

from percert.registry import name_and_file

CovariateOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--covariate",
        metavar="COLUMN",
        help="A column of --attributes to allow for: all attributes and covariates then stand in "
        "one regression beside the lines one by one. Numbers or categories; repeat it.",
    ),
]
ByOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="COLUMN",
        help="A column of the predictions that makes the groups, in place of "
        "[bold]group[/bold]. Repeat it for intersections, such as --by race --by age: each is "
        "then tested beside the other, and whether groups differ beyond both.",
    ),
]
WithinOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--within",
        metavar="COLUMN",
        help="A column of the predictions, such as label: groups are also compared within its "
        "values, so that a group with harder classes does not look badly served for that.",
    ),
]
SplitOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="NAME",
        help="Of --groups only the rows with this in the column split, such as test.",
    ),
]


def once(given: list[str] | None) -> tuple[str, ...]:
    """Each of ``given`` once, in order."""
    return tuple(dict.fromkeys(given or ()))


def column_names(given: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """What ``--column NAME=COLUMN`` says, by NAME."""
    columns = {}
    for entry in given:
        ours, theirs = name_and_file(entry)
        if ours not in known or theirs is None:
            raise typer.BadParameter(
                f"expected NAME=COLUMN with one of {', '.join(known)} as NAME, found {entry!r}",
                param_hint="--column",
            )
        columns[ours] = theirs
    return columns
