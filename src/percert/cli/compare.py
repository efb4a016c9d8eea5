"""``percert compare``: how far candidates are from a reference, and whether they are copies."""

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.command import complain, one_line_errors
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    EpsOption,
    JsonOption,
    MaxMemoryOption,
    MetricOption,
    ThresholdOption,
)
from percert.cli.output import emit_json, listed, note_left_out, with_left_out
from percert.cli.progress import with_progress


class Perturbed(str, Enum):
    """Which of the two images somebody may tamper with."""

    CANDIDATE = "candidate"
    REFERENCE = "reference"
    BOTH = "both"


@one_line_errors
def compare(
    reference: Annotated[Path, typer.Argument(help="An image file.")],
    candidates: Annotated[
        list[Path],
        typer.Argument(metavar="CANDIDATE", help="Image files, and folders of them."),
    ],
    eps: EpsOption = None,
    threshold: ThresholdOption = None,
    metric_name: MetricOption = "lipsim-tiny",
    perturbed: Annotated[
        Perturbed, typer.Option(help="Which image is tampered with.")
    ] = Perturbed.CANDIDATE,
    checkpoint: CheckpointOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """How far is each CANDIDATE from the REFERENCE, and is it a copy of it?

    Beside the distance (0: equal) stand the proven bounds that it keeps while somebody changes the
    pixels by up to --eps, and beside the verdict its radius: no change of the pixels of less than
    that l2 length turns it round. Images of different sizes are fine. A candidate that cannot be
    read is listed at the end, and the exit status is then 1.

    [bold]Examples[/bold]

    percert compare photo.jpg copy.png

    percert compare photo.jpg uploads/ --eps 4 --threshold 0.25

    percert compare photo.jpg uploads/ --json | jq '.results[] | select(.copy)'
    """
    from percert.certify.answers import Comparison, compare_pair, prepare
    from percert.cli.explain import explain
    from percert.images import ImageError, iter_images, load_image, search_images
    from percert.metrics.catalog import create_metric, metric_card

    card = metric_card(metric_name)
    if threshold is None:
        threshold = card.copy_threshold
    elif not card.embedding:
        raise typer.BadParameter(
            f"{metric_name} has no proven bound, and so gives no verdict on copies",
            param_hint="--threshold",
        )
    image = load_image(reference)
    searched = search_images(candidates)
    paths = searched.paths
    if not paths:
        raise ValueError(f"{', '.join(map(str, candidates))}: no images found")
    metric = create_metric(metric_name, checkpoint=checkpoint, device=device)
    prepared = prepare(metric, image)
    results: list[Comparison] = []
    bad: list[tuple[str, str]] = []
    for path, found in with_progress(iter_images(paths), len(paths), "comparing"):
        if isinstance(found, ImageError):
            bad.append((str(path), found.reason))
            continue
        try:
            result = compare_pair(
                metric,
                prepared,
                found,
                str(path),
                eps=eps,
                threshold=threshold,
                perturbed=perturbed.value,
            )
        except ValueError as error:  # such as two sizes, for a metric of pixels
            bad.append((str(path), str(error)))
        else:
            results.append(result)
    if as_json:
        answer = {
            "metric": metric_name,
            "reference": str(reference),
            "threshold": threshold,
            "results": [asdict(result) for result in results],
            "bad": listed(bad),
        }
        emit_json(answer | with_left_out(searched.left_out))
    elif results:
        explain(str(reference), results, metric_name, threshold, perturbed.value)
    note_left_out(searched.left_out)
    if bad:
        complain(f"{len(bad)} of {len(paths)} candidates could not be compared:")
        for name, reason in bad:
            complain(f"  {name}: {reason}")
        raise typer.Exit(1)
