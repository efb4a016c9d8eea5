"""``percert eval attacks``: tables and pictures of attack runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.command import needs, one_line_errors
from percert.cli.eval_runs import (
    Evaluation,
    ImagesOption,
    OutOption,
    PicturesOption,
    RunsArgument,
    counting,
    open_runs,
    parse_costs,
)
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption
from percert.cli.output import say, show_table

if TYPE_CHECKING:
    from percert.evaluation.attack_runs.compare import AttackEvaluation


@one_line_errors
@needs("report")
def eval_attacks(
    runs: RunsArgument,
    out: OutOption,
    images: ImagesOption = None,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="Distances to measure beside those that the runs have, of [bold]percert "
            "metrics[/bold] or psnr, which is in dB; NAME=FILE gives one its weights.",
        ),
    ] = "",
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="ATTACK",
            help="The attack that the others are held against; ascent, if not given, where it is "
            "among them.",
        ),
    ] = None,
    pictures: PicturesOption = 3,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare attacks: how many succeed, how visible they are, and what they cost.

    From one or several runs of percert attack come tables of success, distances and time, on all
    images and on those on which every attack succeeded; ratios to a baseline on the same images;
    what one setting changes, where attacks differ in one; boxes and cumulative distributions of
    every distance; and pictures. They go to --out as report.html, PNG files, attacks.json and, with
    every distance of every image, records.parquet. Distances are those of 8-bit files. A run that
    still goes on is taken as far as it is.

    [bold]Examples[/bold]

    percert eval attacks out/first --metrics ms-ssim,gmsd --out out/first-report

    percert eval attacks out/a out/b --images photos/ --baseline pgd --out out/both --json | jq
    '.ratios'
    """
    from percert.device import resolve_device
    from percert.evaluation.attack_runs.compare import evaluate_attacks
    from percert.evaluation.attack_runs.distances import keep_own_distances, measure_distances
    from percert.evaluation.attack_runs.pages import attacked_pictures, conditions
    from percert.evaluation.attack_runs.report import attack_sections
    from percert.reports import read_run
    from percert.reports.page import Paragraph, Section, write_page

    found, originals = open_runs(runs, images)
    place = str(resolve_device(device))
    _, measures, files = parse_costs(metrics, found, place)
    evaluation_of = Evaluation(out, {"eval": "attacks", "images": str(originals.resolve())}, place)
    with counting("measuring") as progress:
        rows = measure_distances(
            found.rows, originals, measures, out, how=files, over=found.over, progress=progress
        )
    own = [name for name in found.own_distances if name not in measures]
    keep_own_distances(found.rows, own, out)
    distances = list(dict.fromkeys((*found.own_distances, *measures)))
    evaluation = evaluate_attacks(found, rows, distances, baseline)
    shown = attacked_pictures(rows, originals, pictures, folder=out)
    made = Paragraph(conditions(found.folders, [read_run(folder) for folder in found.folders]))
    write_page(
        out / "report.html",
        "Attacks compared",
        [*attack_sections(evaluation, shown, out), Section("The runs", (made,))],
        lead=_lead(evaluation),
    )
    evaluation_of.finish("attacks", evaluation.answer(), as_json=as_json)
    if not as_json:
        _show(evaluation, out)


def _lead(evaluation: "AttackEvaluation") -> str:
    attacks = len(evaluation.own)
    images = len({row["image"] for row in evaluation.rows if row["attacked"]})
    return (
        f"{attacks} attacks on {images} images; all of them succeeded on "
        f"{len(evaluation.shared_on)}."
    )


def _show(evaluation: "AttackEvaluation", out: Path) -> None:
    from percert.evaluation.attack_runs.compare import number, percent, title

    show_table(
        [
            ("attack", "left"),
            ("images", "right"),
            ("success", "right"),
            ("8-bit", "right"),
            *((title(name), "right") for name in evaluation.distances),
            ("s/image", "right"),
            ("calls", "right"),
        ],
        [
            [
                entry.attack,
                str(entry.attacked),
                percent(entry.success),
                percent(entry.success_8bit),
                *(number(entry.median(name)) for name in evaluation.distances),
                number(entry.effort["seconds"]),
                number(entry.effort["model_calls"]),
            ]
            for entry in evaluation.own
        ],
    )
    say("")
    for entry in evaluation.own:
        if entry.rounding is not None:
            say(f"{entry.rounding}.")
    say("Distances are medians over each attack's own successes as files of 8 bits.")
    if evaluation.baseline is not None and len(evaluation.own) > 1:
        _show_ratios(evaluation)
    say(f"Tables, figures and pictures are in {out / 'report.html'}")


def _show_ratios(evaluation: "AttackEvaluation") -> None:
    from percert.evaluation.attack_runs.compare import title

    names = [*evaluation.distances, "seconds", "model_calls"]
    headings = [title(name) for name in evaluation.distances] + ["seconds", "calls"]
    say("")
    say(f"Means over those of {evaluation.baseline} on the same images; below 1 is better:")
    show_table(
        [("attack", "left"), ("images", "right"), *((h, "right") for h in headings)],
        [
            [
                attack,
                f"{ratios['images']:.0f}",
                *("-" if ratios[n] is None else f"{ratios[n]:.2f}" for n in names),
            ]
            for attack, ratios in evaluation.ratios.items()
            if attack != evaluation.baseline
        ],
    )
