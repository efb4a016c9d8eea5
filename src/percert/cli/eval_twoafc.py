"""``percert eval twoafc``: which of two images is closer, as it is, proven, and under attack."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.attack_options import OutOption, SeedOption
from percert.cli.command import needs, one_line_errors
from percert.cli.eval_input import Kind, read_budgets, read_eps, read_size, triplets_of
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricsOption,
    metric_and_file,
)
from percert.cli.output import show_result
from percert.cli.progress import stepping


class Perturbed(str, Enum):
    """Which images of a triplet move."""

    REFERENCE = "reference"
    CANDIDATES = "candidates"
    ALL = "all"


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
    l2: Annotated[
        str, typer.Option("--l2", metavar="E,...", help="l2 budgets of the attacks.")
    ] = "0.5,1,2,3",
    linf: Annotated[
        str, typer.Option("--linf", metavar="E,...", help="linf budgets of the attacks.")
    ] = "",
    perturbed: Annotated[
        Perturbed, typer.Option(help="Which images move, each within the budget.")
    ] = Perturbed.REFERENCE,
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
    kind: Annotated[Kind, typer.Option(help="What SOURCE is.")] = Kind.AUTO,
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

    from percert.device import resolve_device
    from percert.evaluation.twoafc.run import TwoAFCSettings, run_twoafc

    metrics = named_metrics(metric or ["lipsim-tiny"], checkpoint)
    chosen = tuple(distortion or ())
    asked = TwoAFCSettings(
        source=str(source),
        triplets=list(islice(triplets_of(source, kind, split, images, chosen, seed), limit)),
        eps=read_eps(eps, read_size(size)),
        attacks=tuple(attack or ()),
        l2=read_budgets(l2, "--l2"),
        linf=read_budgets(linf, "--linf"),
        perturbed=perturbed.value,
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
        command=("percert", *sys.argv[1:]),
    )
    with stepping() as show:
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
