"""``percert train dro``: Algorithm 3."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from percert.cli.command import command_line, needs, one_line_errors, with_shared_options
from percert.cli.options import (
    DeviceOption,
    DevicesOption,
    JsonOption,
    MaxMemoryOption,
    NodesOption,
    RecipeOption,
    out_option,
)
from percert.cli.output import emit_json, say, show_table
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    from percert.reports.records import Row


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """How a model takes steps on an adversarial data set: what Algorithms 2 and 3 have in common.

    What is not given is what the recipe says.
    """

    recipe: RecipeOption = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="SPEC",
            help="small-resnet[:WIDTH], or what [bold]percert attack classify[/bold] takes.",
            show_default="small-resnet",
        ),
    ] = None
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="alpha.", show_default="0.1")
    ] = None
    momentum: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of SGD.", show_default="0")
    ] = None
    weight_decay: Annotated[
        float | None, typer.Option(min=0, help="Of SGD.", show_default="0.0005")
    ] = None
    augment: Annotated[
        Literal["none", "flip", "flip-shift"] | None,
        typer.Option(
            help="How steps see images: mirrored by chance, and moved by up to an eighth. Attacks "
            "see them as they are.",
            show_default="none",
        ),
    ] = None
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(
            help="Of the steps' matrix products; bfloat16 is for GPUs. Attacks stay in float32.",
            show_default="float32",
        ),
    ] = None
    held_out: Annotated[
        Path | None,
        typer.Option(
            "--held-out",
            metavar="PATH",
            help="Labelled images, as --images of adversarial-dataset takes them, on which models "
            "are judged, clean and attacked.",
        ),
    ] = None
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", metavar="DIR", help="Where a CSV's images lie; its own folder by default."
        ),
    ] = None
    devices: DevicesOption = None
    nodes: NodesOption = None
    max_memory: MaxMemoryOption = None
    device: DeviceOption = "auto"
    as_json: JsonOption = False

    def given(self, table: str, weights: Path | None) -> dict[str, Any]:
        """The values by their names in a recipe, whose ``table`` has those of the steps."""
        return {
            "model": self.model,
            "start": None if weights is None else str(weights),
            "held_out": None if self.held_out is None else str(self.held_out),
            "root": None if self.root is None else str(self.root),
            f"{table}.learning_rate": self.learning_rate,
            f"{table}.momentum": self.momentum,
            f"{table}.weight_decay": self.weight_decay,
            f"{table}.augment": self.augment,
            f"{table}.precision": self.precision,
        }


@one_line_errors
@needs("train")
@with_shared_options
def dro(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="What [bold]percert train adversarial-dataset[/bold] made."
        ),
    ],
    out: Annotated[Path, out_option("The models. Those that are there are not trained again.")],
    models: Annotated[
        int | None, typer.Option(min=1, help="How many, each with its own seed.", show_default="50")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="theta_0, from which all set out; without it each has random weights of its own.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="T2: passes over the data set.", show_default="3")
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Images a pass. The default: as many as there are."),
    ] = None,
    schedule: Annotated[
        Literal["constant", "cosine"] | None,
        typer.Option(help="What the learning rate does.", show_default="constant"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images a step.", show_default="64")
    ] = None,
    example_weights: Annotated[
        Literal["normalised", "literal"] | None,
        typer.Option(help="P; the default is how the data set was made."),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Models trained as one by vmap. The default is 1 on a CPU, where one after "
            "another is as fast or faster in batches of 64, and 10 on a GPU.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Model i has seed SEED + i.", show_default="0")
    ] = None,
    *,
    how: StepOptions,
) -> None:
    """Train many models from an adversarial data set (Algorithm 3).

    Each takes T2 passes of weighted steps on images drawn in proportion to their weights, and
    becomes a file model-NUMBER.safetensors with a row in records.parquet. More models can be added
    later, and a run that was stopped goes on with those that are missing. A data set of the clean
    images alone (--rounds 0) trains undefended models in the same way.

    [bold]Examples[/bold]

    percert train dro D/ --out ours/ --models 20 --weights theta0.safetensors

    percert train dro clean/ --out start/ --models 1 --steps 30 --momentum 0.9 --schedule cosine
    """
    from percert.training.dro import DRORecipe, read_dro_recipe, train_dro
    from percert.training.engine import Devices, launched
    from percert.training.recipe_file import with_values

    began = time.perf_counter()
    own = DRORecipe() if how.recipe is None else read_dro_recipe(how.recipe)
    given = {
        **how.given("training", weights),
        "models": models,
        "at_once": at_once,
        "training.passes": steps,
        "training.draws": draws,
        "training.batch": batch_size,
        "training.weights": example_weights,
        "training.schedule": schedule,
        "training.seed": seed,
    }
    settings = with_values(own, given)

    def report(row: "Row") -> None:
        Console(stderr=True, highlight=False).print(
            f"model {row['model']} of {settings.models}: loss {row['loss']:.4f}, "
            f"{row['seconds']:.1f} s",
            markup=False,
        )

    command = command_line()
    with launched(Devices(how.device, how.devices, how.nodes)) as fabric:
        rows = train_dro(settings, dataset, out, fabric, command=command, progress=report)
        if not fabric.is_global_zero:
            return
    if how.as_json:
        seconds = time.perf_counter() - began
        emit_json(
            {"out": str(out), "device": str(fabric.device), "seconds": seconds, "models": rows}
        )
        return
    _show(rows, out)


def _show(rows: list[dict[str, Any]], out: Path) -> None:
    columns: list[Column[Row]] = [
        Column("model", lambda row: row["model"], "d"),
        Column("loss", lambda row: row["loss"], ".4f"),
        Column("clean accuracy", lambda row: row["accuracy"], ".4f"),
        Column("s", lambda row: row["seconds"], ".1f"),
    ]
    if rows and "held_out_accuracy" in rows[0]:
        columns[3:3] = [
            Column("held out", lambda row: row["held_out_accuracy"], ".4f"),
            Column("attacked", lambda row: row["attacked_accuracy"], ".4f"),
        ]
    show_table(Table.of(rows, columns))
    say("")
    say("Clean accuracy is that on the data set's own clean images.")
    say(f"The models and records.parquet are in {out}")
