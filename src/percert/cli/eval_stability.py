"""``percert eval stability``: how far an attack on the embedding moves a metric."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from percert.cli.attack_options import OutOption, SeedOption
from percert.cli.command import needs, one_line_errors
from percert.cli.eval_input import read_budgets, read_size
from percert.cli.options import (
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricsOption,
    metric_and_file,
)
from percert.cli.output import show_result
from percert.cli.progress import stepping


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
    from percert.evaluation.twoafc.attacks import Budget

    budgets = tuple(
        Budget(norm, value)  # type: ignore[arg-type]  # one of the two
        for norm, text in (("l2", l2), ("linf", linf))
        for value in read_budgets(text, f"--{norm}")
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
    with stepping() as show:
        command = ["percert", *sys.argv[1:]]
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
