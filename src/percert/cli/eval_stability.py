"""``percert eval stability``: how far an attack on the embedding moves a metric."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from percert.cli.attack_options import OutOption, SeedOption
from percert.cli.command import complain, needs, one_line_errors
from percert.cli.eval_input import Bar, read_budgets, read_size
from percert.cli.options import (
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricsOption,
    metric_and_file,
)
from percert.cli.output import emit_json, listed, note_left_out, say, show_table, with_left_out


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
    from percert.evaluation.lipschitz_violations import count_violations, violations_table
    from percert.evaluation.stability import (
        COLUMNS,
        StabilityRun,
        attack_name,
        evaluate_stability,
        moved_table,
        stability_answer,
        summarise_stability,
        write_stability_report,
    )
    from percert.evaluation.twoafc.attacks import Budget
    from percert.evaluation.twoafc.run import keep_rows
    from percert.images import search_images
    from percert.images.walk import printable_path
    from percert.lipschitz.network import weights_hash

    budgets = tuple(
        Budget(norm, value)  # type: ignore[arg-type]  # one of the two
        for norm, text in (("l2", l2), ("linf", linf))
        for value in read_budgets(text, f"--{norm}")
    )
    if not budgets:
        raise ValueError("budgets: expected some of --l2 or --linf, found none")
    place = str(resolve_device(device))
    metrics = _metrics(metric or ["lipsim-tiny"], place)
    if not images.exists():
        raise ValueError(f"{images}: no such file or folder")
    folder = images if images.is_dir() else images.parent
    searched = search_images(images)
    paths = [
        (printable_path(path.relative_to(folder).as_posix()), path)
        for path in searched.paths[:limit]
    ]
    if not paths:
        raise ValueError(f"{images}: no images found")
    run = StabilityRun(
        metrics=metrics,
        budgets=budgets,
        climbs="distance" if by_distance else "embedding",
        steps=steps,
        restarts=restarts,
        size=read_size(size),
        batch_size=batch_size,
        seed=seed,
        device=place,
    )
    settings: dict[str, Any] = {
        "source": str(images.resolve()),
        "weights_sha256": {name: weights_hash(one) for name, one in metrics.items()},
        "climbs": run.climbs,
        "steps": steps,
        "restarts": restarts,
        "size": run.size and list(run.size),
        "seed": seed,
    }
    with Bar(len(paths) * len(metrics) * len(budgets)) as bar:
        kept, bad = keep_rows(
            out,
            COLUMNS,
            lambda done: evaluate_stability(run, paths, done),
            settings=settings,
            command=["percert", *sys.argv[1:]],
            device=place,
            seed=seed,
            progress=lambda step: bar.advance(len(step.rows)),
        )
    asked = {attack_name(name, budget, run) for name in metrics for budget in budgets}
    named = {name for name, _ in paths}
    rows = [row for row in kept if row["image"] in named and row["attack"] in asked]
    if not rows:
        raise ValueError(f"{images}: no image could be read; {'; '.join(r for _, r in bad[:1])}")
    answer = {
        "out": str(out),
        "source": str(images),
        **stability_answer(rows),
        "bad": listed(bad),
        **with_left_out(searched.left_out),
    }
    write_stability_report(out, rows, answer, settings)
    if as_json:
        emit_json(answer)
    else:
        for table in (
            moved_table(summarise_stability(rows)),
            violations_table(count_violations(rows)),
        ):
            show_table(table.columns, table.rows)
            say("")
        say(f"report.html, stability.json and records.parquet are in {out}")
    note_left_out(searched.left_out)
    if bad:
        complain(f"{len(bad)} images could not be read:")
        for _, reason in bad:
            complain(f"  {reason}")
        raise typer.Exit(1)


def _metrics(texts: list[str], device: str) -> dict[str, Any]:
    """The metrics by name, each differentiable: the attack follows gradients."""
    from percert.metrics.catalog import create_metric, metric_card

    found = {}
    for name, file in map(metric_and_file, texts):
        if not metric_card(name).differentiable:
            raise ValueError(f"metric {name}: has no gradient that the attack could follow")
        found[name] = create_metric(name, checkpoint=file, device=device)
    return found
