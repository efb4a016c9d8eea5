"""``percert attack classify`` and ``metric``: attack classifiers and metrics on sets of images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from percert.cli.command import (
    command_line,
    complain,
    needs,
    one_line_errors,
    option_names,
    warn,
    with_shared_options,
)
from percert.cli.options import (
    AddressOption,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    LimitOption,
    MaxMemoryOption,
    MetricOption,
    RayWorkersOption,
    SeedOption,
    out_option,
    parse_metrics,
)
from percert.cli.output import show_result
from percert.cli.progress import Bar

if TYPE_CHECKING:
    from percert.evaluation.attack_runs.run import AttackRecipe, ClassifierSet, MetricSet

AttackOption = Annotated[
    list[str],
    typer.Option(
        "--attack",
        metavar="NAME[:key=value,...]",
        help="An attack with its settings; may be given several times. "
        "[bold]percert attack list[/bold] shows all.",
    ),
]
OutOption = Annotated[
    Path, out_option("Where images and records go. A run that was stopped goes on where it stood.")
]


@dataclass(frozen=True, kw_only=True)
class AttackOptions:
    """How a set is attacked, whatever is attacked."""

    confidence: Annotated[
        float,
        typer.Option(
            "--confidence", min=0, help="By how much the goal is to be exceeded, in logits."
        ),
    ] = 0.0
    threat: Annotated[
        str | None,
        typer.Option(
            "--threat",
            metavar="NORM:EPS",
            help="What counts as allowed, such as linf:8/255 or l2:1; outside of it nothing counts "
            "as a success. The attacks have budgets of their own among their settings.",
        ),
    ] = None
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="Further distances to record, of [bold]percert metrics[/bold] or psnr, which is "
            "in dB; NAME=FILE gives one its weights. l1, l2, linf and ssim are always there.",
        ),
    ] = ""
    attack_misclassified: Annotated[
        bool,
        typer.Option("--attack-misclassified", help="Attack also what is wrong to begin with."),
    ] = False
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", min=1, help="Images at once; halved where memory does not suffice."
        ),
    ] = 32
    limit: LimitOption = None
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", metavar="S", min=0, help="End an attack on a batch after S seconds."
        ),
    ] = None
    seed: SeedOption = 0
    save: Annotated[
        bool, typer.Option("--save/--no-save", help="Write the attacked images as PNG files.")
    ] = True
    engine: EngineOption = "local"
    address: AddressOption = None
    workers: RayWorkersOption = None
    max_memory: MaxMemoryOption = None
    device: DeviceOption = "auto"
    as_json: JsonOption = False

    def recipe(self, attacks: list[str]) -> "AttackRecipe":
        """The same for the library."""
        from percert.evaluation.attack_runs.run import AttackRecipe
        from percert.runs.plan import RayCluster

        return AttackRecipe(
            attacks=tuple(attacks),
            threat=self.threat,
            metrics=parse_metrics(self.metrics),
            confidence=self.confidence,
            attack_misclassified=self.attack_misclassified,
            batch_size=self.batch_size,
            limit=self.limit,
            seconds=self.seconds,
            seed=self.seed,
            save=self.save,
            device=self.device,
            ray=RayCluster(self.address, self.workers) if self.engine == "ray" else None,
        )


@one_line_errors
@needs("attacks", sometimes=("foolbox", "networks", "ray", "timm"))
@with_shared_options
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
        Literal["auto", "0", "1"], typer.Option(help="The number of the first class in the labels.")
    ] = "auto",
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
    *,
    how: AttackOptions,
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
    from percert.evaluation.attack_runs.run import ClassifierSet

    _run(
        classify,
        ClassifierSet(
            images=images,
            model=model,
            weights=weights,
            labels=labels,
            labels_from=labels_from,
            image_column=image_column,
            label_column=label_column,
            targets=targets,
        ),
        how.recipe(attack),
        out,
        how.as_json,
    )


@one_line_errors
@needs("attacks", sometimes=("foolbox", "ray"))
@with_shared_options
def attack_metric(
    attack: AttackOption,
    out: OutOption,
    metric_name: MetricOption = "lipsim-tiny",
    goal: Annotated[
        Literal["triplet", "embedding"],
        typer.Option(help="Turn choices round, or move embeddings as far as can be."),
    ] = "triplet",
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
    *,
    how: AttackOptions,
) -> None:
    """Attack a metric: which of two images is closer to a reference, or where an image lies.

    For triplets the reference is moved until the other image is the closer one. For embeddings
    each image is moved so that its embedding goes as far as can be; `moved` in the records is the
    squared distance that it went. What goes to --out is as for percert attack classify.

    [bold]Examples[/bold]

    percert attack metric --metric lipsim-tiny --triplets triplets.csv --attack ascent --out out/t

    percert attack metric --goal embedding --images photos/ --beyond 0.5 --attack ddn --out out/e
    """
    from percert.evaluation.attack_runs.run import MetricSet
    from percert.runs.plan import attacks_for

    attacks_for(attack, goal)
    if goal == "triplet" and triplets is None:
        raise typer.BadParameter("triplets need a CSV file", param_hint="--triplets")
    if goal == "embedding" and triplets is not None:
        raise typer.BadParameter("only for --goal triplet", param_hint="--triplets")
    if goal == "embedding" and images is None:
        raise typer.BadParameter("embeddings need images", param_hint="--images")
    _run(
        attack_metric,
        MetricSet(
            metric=metric_name,
            checkpoint=checkpoint,
            goal=goal,
            triplets=triplets,
            images=images,
            beyond=beyond,
        ),
        how.recipe(attack),
        out,
        how.as_json,
    )


def _run(
    verb: Callable[..., object],
    attacked: "ClassifierSet | MetricSet",
    recipe: "AttackRecipe",
    out: Path,
    as_json: bool,
) -> None:
    """Attack a set into ``out``, show the outcome, and exit with 1 where something failed."""
    from percert.evaluation.attack_runs.run import attack_set

    names, first = option_names(verb), True
    with Bar() as bar:

        def show(step: str, done: int, total: int) -> None:
            nonlocal first
            if first and done:
                complain(f"{done} of {total} were there already, going on")
            first = False
            bar(step, done, total)

        def inside(attack: str, done: int, total: int, active: int) -> None:
            bar.describe(f"{attack[:30]} {done}/{total}, {active} left")

        result = attack_set(
            attacked,
            recipe,
            out,
            command=command_line(),
            progress=show,
            watching=inside,
            warn=lambda wording: warn(wording.said(names)),
        )
    show_result(result, as_json=as_json, what="images could not be read or judged")
