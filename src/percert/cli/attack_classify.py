"""``percert attack classify``: attack a classifier on a collection of images."""

from dataclasses import replace
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
    parse_attacks,
    parse_measures,
    parse_threat,
)
from percert.cli.command import complain, needs, one_line_errors, option_names
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption

if TYPE_CHECKING:
    from percert.images import LeftOut


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
    from percert.device import resolve_device
    from percert.lipschitz.network import weights_hash
    from percert.models import load_classifier
    from percert.runs import (
        AttackPlan,
        ClassifierTask,
        find_items,
        folder_names,
        number_labels,
        probe,
        with_labels,
    )

    attacks = parse_attacks(attack, "classifier")
    ball = parse_threat(threat)
    target_class = int(targets) if targets is not None and targets.isdigit() else None
    left_out: list[LeftOut] = []
    items = find_items(images, left_out)
    if labels is not None:
        found = len(items)
        column = targets if target_class is None else None
        items = with_labels(
            items,
            labels,
            image_column=image_column,
            label_column=label_column,
            target_column=column,
        )
        if len(items) < found:
            complain(f"warning: {found - len(items)} of {found} images have no label, left out")
    elif targets is not None and target_class is None:
        raise ValueError("--targets: a column needs --labels, the file that has it")
    if target_class is not None:
        items = [replace(item, target=target_class) for item in items]
    items = items[:limit]
    place = str(resolve_device("cpu" if engine is Engine.RAY else device))
    network = load_classifier(model, place, weights)
    numbered = number_labels(
        items,
        probe(network, items, batch_size=batch_size),
        labels_from.value,
        str(labels or images),
    )
    for warning in numbered.warnings:
        complain(f"warning: {warning.said(option_names(classify))}")
    task = ClassifierTask(network, targets is not None, confidence, attack_misclassified)
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
        "goal": "classifier",
        "images": str(images.resolve()),
        "labels": labels and str(labels.resolve()),
        "labels_from": numbered.base,
        "targets": targets,
        "model": model,
        "weights_sha256": weights_hash(network),
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
        numbered.items,
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
