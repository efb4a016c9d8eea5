"""``percert eval twoafc``: which of two images is closer, as it is, proven, and under attack."""

import sys
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percert.cli.attack_options import OutOption, SeedOption
from percert.cli.eval_input import Bar, Kind, read_budgets, read_size, triplets_of
from percert.cli.failure import complain, one_line_errors
from percert.cli.options import CheckpointOption, DeviceOption, JsonOption, MetricOption
from percert.cli.output import emit_json, say, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from percert.evaluation.twoafc_scores import TwoAFCScores


class Perturbed(str, Enum):
    """Which images of a triplet move."""

    REFERENCE = "reference"
    CANDIDATES = "candidates"
    ALL = "all"


@one_line_errors
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
    metric_name: MetricOption = "lipsim-tiny",
    checkpoint: CheckpointOption = None,
    eps: Annotated[
        str, typer.Option("--eps", metavar="E,...", help="l2 budgets to certify; fractions do.")
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
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score a metric on triplets: natural, certified within budgets, and left by attacks.

    Where the metric has a proof, the run itself checks that certified <= empirical <= natural for
    every triplet, and stops with an error where a certificate is broken. --out gets report.html,
    scores.json, records.parquet and run.json; a run that was stopped goes on.

    [bold]Examples[/bold]

    percert eval twoafc nights/ --metric lipsim-tiny --size 224 --out out/night

    percert eval twoafc nights/ --attack aa --attack pgd --l2 0.5,1,2,3 --linf 0.01,0.02,0.03
    --size 224 --out out/attacked

    percert eval twoafc photos/ --distortion blur --metric ssim --attack apgd-margin --out out/blur
    """
    from itertools import islice

    from percert.device import resolve_device
    from percert.evaluation.proposition import (
        count_violations,
        moved_references,
        proposition_section,
    )
    from percert.evaluation.twoafc import COLUMNS, TwoAFCRun, evaluate_twoafc
    from percert.evaluation.twoafc_attacks import Budget, plan_attacks
    from percert.evaluation.twoafc_report import write_twoafc_report
    from percert.evaluation.twoafc_scores import complete_rows, score_twoafc
    from percert.evaluation.twoafc_store import keep_rows
    from percert.lipschitz.weights_hash import weights_hash
    from percert.metrics.catalog import create_metric, metric_card

    certified = read_budgets(eps, "--eps")
    budgets = {"l2": read_budgets(l2, "--l2"), "linf": read_budgets(linf, "--linf")}
    side = read_size(size)
    plan = plan_attacks(
        attack or [],
        **budgets,
        perturbed=perturbed.value,
        differentiable=metric_card(metric_name).differentiable,
    )
    triplets = list(
        islice(triplets_of(source, kind, split, images, tuple(distortion or ()), seed), limit)
    )
    place = str(resolve_device(device))
    metric = create_metric(metric_name, checkpoint=checkpoint, device=place)
    run = TwoAFCRun(
        metric=metric,
        attacks=plan,
        perturbed=perturbed.value,
        size=side,
        batch_size=batch_size,
        seed=seed,
        device=place,
    )
    # The list of attacks may grow from run to run: what is there stays as it is.
    settings: dict[str, Any] = {
        "source": str(source.resolve()),
        "images": images and str(images.resolve()),
        "split": split,
        "metric": metric_name,
        "weights_sha256": weights_hash(metric),  # type: ignore[arg-type]  # metrics of the catalog are modules
        "perturbed": perturbed.value,
        "size": side and list(side),
        "distortions": list(distortion or ()),
        "seed": seed,
    }
    total = len(triplets) * (1 + len(plan))
    with Bar(total) as bar:
        kept, bad = keep_rows(
            out,
            COLUMNS,
            lambda done: evaluate_twoafc(run, triplets, done),
            settings=settings,
            command=["percert", *sys.argv[1:]],
            device=place,
            seed=seed,
            progress=lambda step: bar.advance(len(step.rows)),
        )
    rows = complete_rows(kept, (triplet.name for triplet in triplets))
    if not rows:
        raise ValueError(f"{source}: no triplet could be read; {'; '.join(r for _, r in bad[:1])}")
    several = [
        Budget(norm, value)  # type: ignore[arg-type]  # one of the two
        for norm, values in budgets.items()
        for value in values
    ]
    scores = score_twoafc(rows, certified, budgets=several, perturbed=perturbed.value)
    moved = moved_references(rows, metric_name, perturbed.value)
    about_proposition = proposition_section(moved)
    answer = {
        "out": str(out),
        "source": str(source),
        "metric": metric_name,
        "perturbed": perturbed.value,
        "checked": "certified <= empirical <= natural for every triplet",
        "scores": [asdict(entry) for entry in scores],
        "violations": [asdict(entry) for entry in count_violations(moved)],
        "bad": [{"name": name, "reason": reason} for name, reason in bad],
    }
    more = [about_proposition] if about_proposition else []
    write_twoafc_report(out, scores, rows, answer, settings, more)
    if as_json:
        emit_json(answer)
    else:
        show_scores(scores)
        say(f"report.html, scores.json and records.parquet are in {out}")
    if bad:
        complain(f"{len(bad)} triplets could not be read:")
        for _, reason in bad:
            complain(f"  {reason}")
        raise typer.Exit(1)


def show_scores(scores: "Sequence[TwoAFCScores]") -> None:
    """The scores in percent as tables: natural and certified by group, and what attacks leave."""
    from percert.evaluation.twoafc_report import attacked_table, groups_table, natural_table

    for table in (natural_table(scores), attacked_table(scores), groups_table(scores)):
        if table is not None:
            show_table(table.columns, table.rows)
            say("")
