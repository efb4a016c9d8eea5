"""``percert eval people``: metrics beside what people said."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from percert.cli.command import command_line, needs, one_line_errors
from percert.cli.eval_metrics import lengths, named_metrics, read_size
from percert.cli.options import (
    AttackL2Option,
    AttackLinfOption,
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricsOption,
    SeedOption,
    out_option,
)
from percert.cli.output import show_result
from percert.cli.progress import Bar

#: What lies at SOURCE.
Kind: TypeAlias = Literal["auto", "noticed", "scored", "night", "night-jnd", "bapps", "triplets"]


@one_line_errors
@needs("people")
def eval_people(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A CSV file with columns reference,changed,observers,said_different, or "
            "reference,changed,dmos (jnd, mos), or reference,left,right,votes_left,votes_right; or "
            "the folder of NIGHT (data.csv) or of BAPPS (2afc/).",
        ),
    ],
    out: Annotated[
        Path, out_option("Where distances and the report go. A run that was stopped goes on.")
    ],
    metric: MetricsOption = None,
    checkpoint: CheckpointOption = None,
    kind: Annotated[Kind, typer.Option(help="What SOURCE is; auto looks at its columns.")] = "auto",
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="For a CSV: from where its paths count; else its folder, or images/ in that.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For data sets that have several: test, val, all.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="H[xW]", help="Resize all images first.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first N answers only.")
    ] = None,
    draws: Annotated[
        int, typer.Option(metavar="N", min=1, help="Draws of pictures for the intervals.")
    ] = 1000,
    eps: Annotated[
        str, typer.Option("--eps", metavar="E,...", help="Of triplets: l2 budgets to certify.")
    ] = "",
    attack: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            metavar="NAME[:key=value,...]",
            help="Of triplets: attacks, as of [bold]percert eval twoafc[/bold].",
        ),
    ] = None,
    l2: AttackL2Option = "0.5,1,2,3",
    linf: AttackLinfOption = "",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pairs at once.")] = 16,
    seed: SeedOption = 0,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Hold metrics to people's answers: who saw a difference, opinion scores, which is closer.

    Spearman, Kendall, Pearson after a logistic fit, AUC and 2AFC agreement of any metrics side by
    side, with intervals over pictures, beside what the observers' own disagreement lets anyone
    reach. Triplets are certified and attacked as well where --eps or --attack is given. --out gets
    report.html, agreement.json, records.parquet and run.json.

    [bold]Examples[/bold]

    percert eval people pairs.csv --metric mdsi --metric ssim --metric ciede2000 --out out/people

    percert eval people nights/ --metric lipsim-tiny --eps 36/255,72/255 --attack apgd-ce --l2 1
    --out out/night-people
    """
    from percert.device import resolve_device
    from percert.evaluation.people.answers import find_answers
    from percert.evaluation.people.run import PeopleSettings, run_people

    metrics = named_metrics(metric or ["lipsim-tiny"], checkpoint)
    asked = PeopleSettings(
        source=str(source),
        answers=find_answers(source, kind, images=images, split=split, limit=limit),
        size=read_size(size),
        batch_size=batch_size,
        draws=draws,
        seed=seed,
        device=str(resolve_device(device)),
        eps=lengths(eps, "--eps", read_size(size)) if eps else (),
        attacks=tuple(attack or ()),
        l2=lengths(l2, "--l2"),
        linf=lengths(linf, "--linf"),
        command=tuple(command_line()),
    )
    with Bar() as show:
        result = run_people(asked, metrics, out, show)
    show_result(result, as_json=as_json, what="pairs could not be compared")
