"""``percert judge``: which of two images is closer to a reference."""

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.command import one_line_errors
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricOption,
)
from percert.cli.output import emit_json, say


class Perturbed(str, Enum):
    """Which of the three images somebody may tamper with."""

    REFERENCE = "reference"
    CANDIDATES = "candidates"
    ALL = "all"


@one_line_errors
def judge(
    reference: Annotated[Path, typer.Argument(help="An image file.")],
    left: Annotated[Path, typer.Argument(help="An image file.")],
    right: Annotated[Path, typer.Argument(help="An image file.")],
    perturbed: Annotated[
        Perturbed, typer.Option(help="Which images are tampered with, each within the radius.")
    ] = Perturbed.REFERENCE,
    metric_name: MetricOption = "lipsim-tiny",
    checkpoint: CheckpointOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Which is closer to the REFERENCE, LEFT or RIGHT, and how far does that answer stand?

    The radius is proven: no change of the pixels up to that l2 length turns the answer round.
    Images of different sizes are fine; a radius counts in the pixels (0 to 1) of each image as
    given.

    [bold]Examples[/bold]

    percert judge photo.jpg edited.jpg another.jpg

    percert judge photo.jpg edited.jpg another.jpg --perturbed all --json
    """
    from percert.certify.answers import judge_triplet
    from percert.certify.sentences import judgement_sentence
    from percert.images import load_image
    from percert.metrics.catalog import create_metric

    images = [load_image(path) for path in (reference, left, right)]
    metric = create_metric(metric_name, checkpoint=checkpoint, device=device)
    judgement = judge_triplet(metric, *images, perturbed=perturbed.value)
    if as_json:
        emit_json({"metric": metric_name, **asdict(judgement)})
        return
    near, far = (left, right) if judgement.closer == "left" else (right, left)
    distances = sorted((judgement.distance_left, judgement.distance_right))
    say(
        f"{near} is closer to {reference}: distance {distances[0]:.4f}; "
        f"{far} is at {distances[1]:.4f} ({metric_name}).",
        style="bold",
    )
    whose = {
        Perturbed.REFERENCE: str(reference),
        Perturbed.CANDIDATES: f"{left} and {right} each",
        Perturbed.ALL: "the three images each",
    }[perturbed]
    moving = {Perturbed.REFERENCE: images[:1], Perturbed.CANDIDATES: images[1:]}
    sizes = {(image.shape[1], image.shape[2]) for image in moving.get(perturbed, images)}
    say(judgement_sentence(judgement, whose, sizes, metric_name))
