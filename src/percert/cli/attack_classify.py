"""``percert attack classify``: attack a classifier on a collection of images."""

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
    LabelsFrom,
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
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption


@one_line_errors
@needs("attacks", sometimes=("foolbox", "networks", "ray", "timm"))
def classify(
    images: Annotated[
        Path,
        typer.Option(metavar="DIR|FILE", help="A folder of images, or a parquet file of them."),
    ],
    attack: AttackOption,
    out: OutOption,
    model: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="A classifier whose weights the extra networks installs (efficientnet-lite0, 1 or "
            "2), a TOML card (squeezenet1_0 is one that comes with percert), timm:NAME, "
            "torchvision:NAME, or package.module:factory.",
        ),
    ] = "efficientnet-lite0",
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Classes, with columns such as image,label or ImageId,TrueLabel. Without it, the "
            "parquet file's own, or else what the model says.",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights instead of the model's own.")
    ] = None,
    labels_from: Annotated[
        LabelsFrom, typer.Option(help="The number of the first class in the labels.")
    ] = LabelsFrom.AUTO,
    image_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The labels' column of image names.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The labels' column of classes.")
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|CLASS",
            help="Attack towards a class: a column of the labels, or one class for all.",
        ),
    ] = None,
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
    """Attack a classifier on every image, and record what it took and how far it went.

    Into --out go the attacked images as PNG files, a folder an attack; records.parquet, a row an
    image and attack; and run.json. Success is judged before and after rounding to 8 bits; distances
    are those of the 8-bit image. Images that the model has wrong already are recorded, and not
    attacked. A run that was stopped or killed goes on when the same command is given again; more
    attacks can be added. An image that cannot be read is listed at the end, and the exit status
    is then 1.

    [bold]Examples[/bold]

    percert attack classify --images photos/ --attack ssim-sqp --out out/photos

    percert attack classify --images photos/ --labels labels.csv --model squeezenet1_0 --weights
    squeezenet.safetensors --attack ascent --attack ascent:steps=20 --out out/first

    percert attack classify --images photos/ --model timm:resnet50 --attack ascent --limit 20 --out
    out/resnet --metrics ms-ssim --json | jq '.attacks[].success_8bit'
    """
    from percert.cli.attack_run import run
    from percert.evaluation.attack_runs.run import AttackRecipe, ClassifierSet
    from percert.runs.plan import RayCluster

    run(
        classify,
        ClassifierSet(
            images=images,
            model=model,
            weights=weights,
            labels=labels,
            labels_from=labels_from.value,
            image_column=image_column,
            label_column=label_column,
            targets=targets,
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
