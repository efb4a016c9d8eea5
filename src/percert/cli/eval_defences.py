"""``percert eval defences``: what of attacks survives a defence, and at what cost."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.command import complain, needs, one_line_errors
from percert.cli.eval_runs import (
    Evaluation,
    ImagesOption,
    OutOption,
    RunsArgument,
    counting,
    only_classifiers,
    open_runs,
    parse_costs,
)
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption
from percert.cli.output import say, show_table

if TYPE_CHECKING:
    from percert.evaluation.attack_runs.defences import Survival


@one_line_errors
@needs(
    "report",
    sometimes=(
        "networks",
        "timm",
    ),
)
def eval_defences(
    runs: RunsArgument,
    out: OutOption,
    model: Annotated[
        str,
        typer.Option(metavar="SPEC", help="The classifier that was attacked, as it was given."),
    ],
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights instead of the model's own.")
    ] = None,
    images: ImagesOption = None,
    defence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="jpeg-QUALITY, bits-BITS, blur-SIGMA or median-SIDE; may be given several times. "
            "The default is jpeg-75, jpeg-50, bits-5, bits-4 and bits-3.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="The costs to hold against survival, each in a figure of its own; NAME=FILE "
            "gives a metric its weights.",
        ),
    ] = "ssim",
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Which attacked images still fool the classifier behind JPEG compression, or fewer levels?

    For every attack of the runs: the share of its images that survives each defence, beside the
    share of unattacked images that the defence spoils; and the frontier of cost and survival, for
    attacks must be compared at equal survival, not at equal confidence. Attack with several
    confidences (NAME:confidence=5, or runs with --confidence 5) to see a curve.

    [bold]Examples[/bold]

    percert eval defences out/a0 out/a5 --model squeezenet1_0 --weights squeezenet.safetensors --out
    out/defences

    percert eval defences out/a0 --model timm:resnet50 --defence jpeg-75 --defence median-3
    --metrics ssim,gmsd --out out/d --json | jq '.survival[] | {attack, defence, share}'
    """
    from percert.device import resolve_device
    from percert.evaluation.attack_runs.defences import (
        defence_sections,
        defended_predictions,
        frontier_points,
        survivals,
    )
    from percert.evaluation.attack_runs.distances import measure_distances
    from percert.lipschitz.network import weights_hash
    from percert.models import load_classifier
    from percert.reports.page import write_page

    found, originals = open_runs(runs, images)
    only_classifiers(found, "defences")
    defences = list(dict.fromkeys(defence or ("jpeg-75", "jpeg-50", "bits-5", "bits-4", "bits-3")))
    place = str(resolve_device(device))
    costs, measures, files = parse_costs(metrics, found, place)
    network = load_classifier(model, place, weights)
    hashed = weights_hash(network)
    if {row["weights"] for row in found.rows} - {hashed, None}:
        complain("warning: these weights are not those that were attacked: this is a transfer")
    settings = {
        "eval": "defences",
        "images": str(originals.resolve()),
        "model": model,
        "weights_sha256": hashed,
    }
    evaluation = Evaluation(out, settings, place)
    with counting("defending") as progress:
        said = defended_predictions(
            found.rows, originals, network, hashed[:16], defences, out, progress=progress
        )
    rows = list(found.rows)
    if measures:
        with counting("measuring") as progress:
            rows = measure_distances(
                rows, originals, measures, out / "distances", how=files, progress=progress
            )
    entries = survivals(rows, said, defences)
    if not entries:
        raise ValueError("runs: nothing was attacked in any of them")
    points = {name: frontier_points(rows, entries, name) for name in costs}
    write_page(
        out / "report.html",
        "Attacks behind defences",
        defence_sections(entries, points, out),
        lead=f"{len({row['attack'] for row in rows})} attacks on {model}, behind "
        f"{len(defences)} defences.",
    )
    answer = {
        "model": model,
        "survival": [entry.answer() for entry in entries],
        "frontier": {name: [asdict(point) for point in some] for name, some in points.items()},
    }
    evaluation.finish("defences", answer, as_json=as_json)
    if not as_json:
        _show(entries, defences)
        say("")
        say("Shares of the attacked images that succeed as files and behind the defence.")
        say(f"Cost at equal survival is in {out / 'report.html'}")


def _show(entries: "list[Survival]", defences: list[str]) -> None:
    shares = {(entry.attack, entry.defence): entry for entry in entries}
    attacks = list(dict.fromkeys(entry.attack for entry in entries))
    show_table(
        [("attack", "left"), ("images", "right"), *((name, "right") for name in defences)],
        [
            [
                attack,
                str(shares[attack, defences[0]].attacked),
                *(f"{shares[attack, name].share:.2f}" for name in defences),
            ]
            for attack in attacks
        ],
    )
