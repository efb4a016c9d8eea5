"""``percert eval twoafc`` and ``stability``: metrics on triplets, and under attack."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from percert.check import ArgumentError
from percert.cli.command import command_line, needs, one_line_errors
from percert.cli.options import (
    AttackL2Option,
    AttackLinfOption,
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricsOption,
    SeedOption,
    metric_and_file,
    out_option,
)
from percert.cli.output import show_result
from percert.cli.progress import Bar
from percert.reports.budgets import parse_lengths

#: What lies at SOURCE.
Kind: TypeAlias = Literal["auto", "night", "bapps", "csv", "distortions"]
OutOption = Annotated[
    Path, out_option("Where images and records go. A run that was stopped goes on where it stood.")
]


@one_line_errors
@needs("report")
def eval_twoafc(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="The folder of NIGHT (data.csv) or of BAPPS (2afc/), a CSV file with columns "
            "reference,left,right,choice, or images, of which distorted pairs are made.",
        ),
    ],
    out: OutOption,
    metric: MetricsOption = None,
    checkpoint: CheckpointOption = None,
    eps: Annotated[
        str,
        typer.Option(
            "--eps",
            metavar="E,...",
            help="l2 budgets to certify; fractions do, and at a --size linf:1/255 and 48dB.",
        ),
    ] = "36/255,72/255,108/255",
    attack: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            metavar="NAME[:key=value,...]",
            help="apgd-ce, apgd-margin, fab, square, pgd, aa (the first four), or any attack of "
            "[bold]percert attack list[/bold] for triplets; may be given several times. One "
            "without eps= runs at every budget of --l2 and --linf.",
        ),
    ] = None,
    l2: AttackL2Option = "0.5,1,2,3",
    linf: AttackLinfOption = "",
    perturbed: Annotated[
        Literal["reference", "candidates", "all"],
        typer.Option(help="Which images move, each within the budget."),
    ] = "reference",
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="test, train, val or all; by default NIGHT's test, BAPPS's val, all of a CSV.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="H[xW]",
            help="Resize all images first; 224 as in LipSim's tables. Budgets are lengths in the "
            "pixels that remain.",
        ),
    ] = None,
    kind: Annotated[Kind, typer.Option(help="What SOURCE is.")] = "auto",
    distortion: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="For images: these distortions, by default all."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For a CSV: from where its paths count.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first N triplets only.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Triplets at once.")] = 16,
    seed: SeedOption = 0,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score a metric on triplets: natural, certified within budgets, and left by attacks.

    Where the metric has a proof, the run itself checks that certified <= empirical <= natural for
    every triplet, and stops with an error where a certificate is broken. --out gets report.html,
    scores.json, records.parquet and run.json; a run that was stopped goes on. Of several metrics,
    each has a folder of its own there, beside a report of all. --json has the list "metrics".

    [bold]Examples[/bold]

    percert eval twoafc nights/ --metric lipsim-tiny --size 224 --out out/night

    percert eval twoafc nights/ --attack aa --attack pgd --l2 0.5,1,2,3 --linf 0.01,0.02,0.03
    --size 224 --out out/attacked

    percert eval twoafc photos/ --distortion blur --metric ssim --attack apgd-margin --out out/blur

    percert eval twoafc nights/ --metric mse --metric ssim --metric dreamsim --metric lipsim-tiny
    --attack aa --size 224 --out out/table1
    """
    from itertools import islice

    from percert.data.judgements import find_triplets
    from percert.device import resolve_device
    from percert.evaluation.twoafc.run import TwoAFCSettings, run_twoafc

    metrics = named_metrics(metric or ["lipsim-tiny"], checkpoint)
    chosen = tuple(distortion or ())
    found = find_triplets(source, kind, split=split, images=images, distortions=chosen, seed=seed)
    asked = TwoAFCSettings(
        source=str(source),
        triplets=list(islice(found, limit)),
        eps=lengths(eps, "--eps", read_size(size)),
        attacks=tuple(attack or ()),
        l2=lengths(l2, "--l2"),
        linf=lengths(linf, "--linf"),
        perturbed=perturbed,
        size=read_size(size),
        batch_size=batch_size,
        seed=seed,
        device=str(resolve_device(device)),
        settings={
            "source": str(source.resolve()),
            "images": images and str(images.resolve()),
            "split": split,
            "distortions": list(chosen),
        },
        command=tuple(command_line()),
    )
    with Bar() as show:
        result = run_twoafc(asked, metrics, out, show)
    show_result(result, as_json=as_json, what="triplets could not be read")


def named_metrics(texts: list[str], checkpoint: Path | None) -> dict[str, str | None]:
    """The weights of each metric by its name, from NAME[=FILE], and --checkpoint of a single one.

    Raises ``ValueError`` for a name that is not known or given twice.
    """
    found: dict[str, str | None] = {}
    for name, file in map(metric_and_file, texts):
        if name in found:
            raise ValueError(f"--metric: {name} is given twice")
        found[name] = file
    if checkpoint is not None:
        if len(found) > 1:
            raise ValueError("--checkpoint: is for a single metric; of several, give NAME=FILE")
        found = dict.fromkeys(found, str(checkpoint))
    return found


@one_line_errors
@needs("report")
def eval_stability(
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="A folder of images, or one image.")
    ],
    out: OutOption,
    metric: MetricsOption = None,
    l2: Annotated[str, typer.Option("--l2", metavar="E,...", help="l2 budgets.")] = "0.5,1,3",
    linf: Annotated[str, typer.Option("--linf", metavar="E,...", help="linf budgets.")] = "",
    by_distance: Annotated[
        bool,
        typer.Option(
            "--by-distance",
            help="Climb the metric's own distance instead of that of the embeddings.",
        ),
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of projected ascent.")] = 40,
    restarts: Annotated[int, typer.Option(min=1, help="Runs from random starts.")] = 1,
    size: Annotated[
        str | None, typer.Option("--size", metavar="H[xW]", help="Resize all images first.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first N images only.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at once.")] = 16,
    seed: SeedOption = 0,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Attack a metric's embedding: the distribution of d(x, x + delta), and Proposition 1.

    Eq. 14 of the LipSim paper and its Figures 3b, 6 and 7. Where the metric has a proof, the run
    checks that no distance exceeds its certified bound. --out gets report.html, stability.json,
    records.parquet and run.json; a run that was stopped goes on.

    [bold]Examples[/bold]

    percert eval stability photos/ --metric lipsim-tiny --metric ssim --l2 1,3 --out out/stability

    percert eval stability photos/ --metric dreamsim --metric lipsim-tiny --size 224 --l2 0.5
    --out out/figure7
    """
    from percert.device import resolve_device
    from percert.evaluation.stability import StabilityRun, run_stability
    from percert.evaluation.twoafc.attacks import AttackBudget

    budgets = tuple(
        AttackBudget(norm, value)  # type: ignore[arg-type]  # one of the two
        for norm, text in (("l2", l2), ("linf", linf))
        for value in lengths(text, f"--{norm}")
    )
    place = str(resolve_device(device))
    run = StabilityRun(
        metrics=_metrics(metric or ["lipsim-tiny"], place),
        budgets=budgets,
        climbs="distance" if by_distance else "embedding",
        steps=steps,
        restarts=restarts,
        size=read_size(size),
        batch_size=batch_size,
        seed=seed,
        device=place,
    )
    with Bar() as show:
        command = command_line()
        result = run_stability(run, images, out, limit=limit, command=command, progress=show)
    show_result(result, as_json=as_json)


def _metrics(texts: list[str], device: str) -> dict[str, Any]:
    """The metrics by name, each differentiable: the attack follows gradients."""
    from percert.metrics.catalog import create_metric, metric_card

    found = {}
    for name, file in map(metric_and_file, texts):
        if not metric_card(name).differentiable:
            raise ValueError(f"metric {name}: has no gradient that the attack could follow")
        found[name] = create_metric(name, checkpoint=file, device=device)
    return found


def lengths(text: str, option: str, size: tuple[int, int] | None = None) -> tuple[float, ...]:
    """The budgets of a list; linf and dB only where ``size`` says what length they are."""
    try:
        return parse_lengths(text, size)
    except ArgumentError as error:
        raise ArgumentError(f"{option}: ", *error.wording.parts) from None
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def read_size(text: str | None) -> tuple[int, int] | None:
    """``224`` or ``192x256`` as (height, width)."""
    if text is None:
        return None
    height, _, width = text.partition("x")
    try:
        found = int(height), int(width or height)
    except ValueError:
        found = 0, 0
    if min(found) < 1:
        raise ValueError(f"--size: expected H or HxW such as 224, found {text!r}")
    return found
