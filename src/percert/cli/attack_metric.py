"""``percert attack metric``: attack a metric's choices or its embedding on a collection."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    parse_attacks,
    parse_measures,
    parse_threat,
)
from percert.cli.command import needs, one_line_errors
from percert.cli.options import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    MetricOption,
)

if TYPE_CHECKING:
    from percert.images import LeftOut
    from percert.runs import ImageItem


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
    from percert.device import resolve_device
    from percert.lipschitz.network import weights_hash
    from percert.metrics.catalog import create_metric
    from percert.runs import AttackPlan, EmbeddingTask, TripletTask, folder_names

    attacks = parse_attacks(attack, goal.value)
    ball = parse_threat(threat)
    left_out: list[LeftOut] = []
    items = _items(goal, triplets, images, left_out)[:limit]
    place = str(resolve_device("cpu" if engine is Engine.RAY else device))
    metric = create_metric(metric_name, checkpoint=checkpoint, device=place)
    task: TripletTask | EmbeddingTask
    if goal is AttackGoal.TRIPLET:
        task = TripletTask(metric, confidence, attack_misclassified)  # type: ignore[arg-type]  # metrics of the catalog are modules
    else:
        task = EmbeddingTask(metric, float("inf") if beyond is None else beyond)  # type: ignore[arg-type]  # as above
    plan = AttackPlan(
        attacks=attacks,
        folders=folder_names(attacks),
        measures=parse_measures(metrics, place),
        threat=ball,
        batch_size=batch_size,
        seed=seed,
        seconds=seconds,
    )
    settings = {
        "goal": goal.value,
        "images": images and str(images.resolve()),
        "triplets": triplets and str(triplets.resolve()),
        "metric": metric_name,
        "weights_sha256": weights_hash(task.model),
        "beyond": beyond,
        "confidence": confidence,
        "threat": threat,
        "metrics": list(plan.measures),
        "attack_misclassified": attack_misclassified,
        "seconds_a_batch": seconds,
        "seed": seed,
    }
    run(
        task,
        plan,
        items,
        out=out,
        settings=settings,
        device=place,
        engine=engine,
        address=address,
        workers=workers,
        save=save,
        as_json=as_json,
        left_out=left_out,
    )


def _items(
    goal: AttackGoal, triplets: Path | None, images: Path | None, left_out: "list[LeftOut]"
) -> "list[ImageItem]":
    from percert.runs import find_items, read_triplets

    if goal is AttackGoal.TRIPLET:
        if triplets is None:
            raise typer.BadParameter("triplets need a CSV file", param_hint="--triplets")
        return read_triplets(triplets, images)
    if triplets is not None:
        raise typer.BadParameter("only for --goal triplet", param_hint="--triplets")
    if images is None:
        raise typer.BadParameter("embeddings need images", param_hint="--images")
    return find_items(images, left_out)
