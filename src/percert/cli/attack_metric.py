"""``percert attack metric``: attack a metric's choices or its embedding on a collection."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.attack_options import (
    AddressOption,
    AttackOption,
    BatchOption,
    ConfidenceOption,
    Engine,
    EngineOption,
    LimitOption,
    MetricsOption,
    OutOption,
    SaveOption,
    SecondsOption,
    SeedOption,
    ThreatOption,
    WorkersOption,
    WrongOption,
    parse_metrics,
)
from percert.cli.command import needs, one_line_errors
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricOption,
)


class AttackGoal(str, Enum):
    """What is to be made of the metric."""

    TRIPLET = "triplet"
    EMBEDDING = "embedding"


@one_line_errors
@needs("attacks", sometimes=("foolbox", "ray"))
def attack_metric(
    attack: AttackOption,
    out: OutOption,
    metric_name: MetricOption = "lipsim-tiny",
    goal: Annotated[
        AttackGoal,
        typer.Option(help="Turn choices round, or move embeddings as far as can be."),
    ] = AttackGoal.TRIPLET,
    triplets: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Columns reference,left,right and perhaps choice (0 or left, 1 or right). Without "
            "a choice, it is the metric's own that is to be turned round.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE",
            help="The images to move, for embeddings; for triplets the folder from which their "
            "paths count, the CSV file's own if not given.",
        ),
    ] = None,
    beyond: Annotated[
        float | None,
        typer.Option(
            metavar="D",
            min=0,
            help="For embeddings: a squared distance that counts as a success. Attacks that look "
            "for the smallest change need one.",
        ),
    ] = None,
    checkpoint: CheckpointOption = None,
    confidence: ConfidenceOption = 0.0,
    threat: ThreatOption = None,
    metrics: MetricsOption = "",
    attack_misclassified: WrongOption = False,
    batch_size: BatchOption = 32,
    limit: LimitOption = None,
    seconds: SecondsOption = None,
    seed: SeedOption = 0,
    save: SaveOption = True,
    engine: EngineOption = Engine.LOCAL,
    address: AddressOption = None,
    workers: WorkersOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Attack a metric: which of two images is closer to a reference, or where an image lies.

    For triplets the reference is moved until the other image is the closer one. For embeddings
    each image is moved so that its embedding goes as far as can be; `moved` in the records is the
    squared distance that it went. What goes to --out is as for percert attack classify.

    [bold]Examples[/bold]

    percert attack metric --metric lipsim-tiny --triplets triplets.csv --attack ascent --out out/t

    percert attack metric --goal embedding --images photos/ --beyond 0.5 --attack ddn --out out/e
    """
    from percert.cli.attack_run import run
    from percert.evaluation.attack_runs.run import AttackRecipe, MetricSet
    from percert.runs.plan import RayCluster, attacks_for

    attacks_for(attack, goal.value)
    if goal is AttackGoal.TRIPLET and triplets is None:
        raise typer.BadParameter("triplets need a CSV file", param_hint="--triplets")
    if goal is AttackGoal.EMBEDDING and triplets is not None:
        raise typer.BadParameter("only for --goal triplet", param_hint="--triplets")
    if goal is AttackGoal.EMBEDDING and images is None:
        raise typer.BadParameter("embeddings need images", param_hint="--images")
    run(
        attack_metric,
        MetricSet(
            metric=metric_name,
            checkpoint=checkpoint,
            goal=goal.value,
            triplets=triplets,
            images=images,
            beyond=beyond,
        ),
        AttackRecipe(
            attacks=tuple(attack),
            threat=threat,
            metrics=parse_metrics(metrics),
            confidence=confidence,
            attack_misclassified=attack_misclassified,
            batch_size=batch_size,
            limit=limit,
            seconds=seconds,
            seed=seed,
            save=save,
            device=device,
            ray=RayCluster(address, workers) if engine is Engine.RAY else None,
        ),
        out,
        as_json,
    )
