"""``percert train`` by recipes (distill, finetune, copies), and ``percert export``."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from percert.cli.command import needs, one_line_errors
from percert.cli.options import (
    DeviceOption,
    DevicesOption,
    JsonOption,
    MaxMemoryOption,
    NodesOption,
    out_option,
)
from percert.cli.output import emit_json, say

if TYPE_CHECKING:
    from percert.training.engine import Devices

RecipeArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE",
        help="A TOML file, or the name of a recipe that comes with percert, such as copies.",
    ),
]
DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="The folder that the recipe's paths lie in.")
]
OutOption = Annotated[Path, out_option("Where checkpoints, logs and the model go.")]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="DIR|FILE",
        help="The folder of a finished run or an export to start from, or a file of the authors of "
        "LipSim; by default the one that the recipe names, or random weights.",
        show_default=False,
    ),
]
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard/--no-tensorboard", help="Write TensorBoard's files.")
]


@one_line_errors
@needs("train")
def distill(
    recipe: RecipeArgument,
    data: DataOption,
    out: OutOption,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    tensorboard: TensorboardOption = True,
    as_json: JsonOption = False,
) -> None:
    """Distil a 1-Lipschitz network from a teacher, as the RECIPE says.

    Two pipelines (LipSim, section 4.2): the standard image goes to the teacher and the network, the
    jittered one to the network alone. A run that was killed goes on where it stopped when the same
    command is given again, and ends in the same weights. The folder of a finished run is a metric:
    percert compare --metric ./run.

    Several processes: --devices here, or torchrun, or srun with --devices and --nodes as in the
    job; the batch of the recipe is that of one process.

    [bold]Examples[/bold]

    percert train distill recipes/lipsim-paper-distill.toml --data /data --out runs/distill --devices 4

    torchrun --nproc-per-node 8 -m percert train distill my.toml --data /data --out runs/distill
    """  # noqa: E501  # a command stays in one line
    from percert.training import distillation as by
    from percert.training.engine import Devices

    _train(
        by.distill,
        by.read_distill_recipe,
        recipe,
        data,
        out,
        Devices(device, devices, nodes),
        as_json,
        tensorboard=tensorboard,
    )


@one_line_errors
@needs("train")
def finetune(
    recipe: RecipeArgument,
    data: DataOption,
    out: OutOption,
    model: ModelOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    tensorboard: TensorboardOption = True,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a 1-Lipschitz network on triplets, as the RECIPE says.

    NIGHT and BAPPS in their published layouts, tables of your own, or triplets made from images.
    The loss is the paper's hinge on distances, or a margin on the certified radius itself. A run
    that was killed goes on where it stopped, and ends in the same weights.

    [bold]Examples[/bold]

    percert train finetune recipes/lipsim-paper-finetune.toml --data /data --model runs/distill --out runs/night

    percert eval twoafc nights/ --metric ./runs/night --out out/night
    """  # noqa: E501  # a command stays in one line
    from percert.training import finetuning as by
    from percert.training.engine import Devices

    _train(
        by.finetune,
        by.read_finetune_recipe,
        recipe,
        data,
        out,
        Devices(device, devices, nodes),
        as_json,
        model=model,
        tensorboard=tensorboard,
    )


@one_line_errors
@needs("train")
def copies(
    recipe: RecipeArgument,
    data: DataOption,
    out: OutOption,
    model: ModelOption = None,
    max_memory: MaxMemoryOption = None,
    device: DeviceOption = "auto",
    tensorboard: TensorboardOption = True,
    as_json: JsonOption = False,
) -> None:
    """Train a 1-Lipschitz network to know edited copies of photographs, as the RECIPE says.

    This made lipsim-tiny, and makes the same of photographs of your own: copies against the most
    similar other photographs, the milder of two distortions, classes and a teacher, each pushed by
    the radius that will be certified. A run that was killed goes on where it stopped when the same
    command is given again, and ends in the same weights. The folder of a finished run is a metric:
    percert compare --metric ./run.

    [bold]Examples[/bold]

    percert train copies recipes/copies.toml --data photos/ --model runs/start --out runs/mine

    percert eval copies held-out/ --metric ./runs/mine --out out/mine
    """
    from percert.training import copies as by
    from percert.training.engine import Devices

    _train(
        by.train_copies,
        by.read_copies_recipe,
        recipe,
        data,
        out,
        Devices(device, 1, 1),
        as_json,
        model=model,
        tensorboard=tensorboard,
    )


def _train(
    run: Callable[..., object],
    read: Callable[[Path], Any],
    recipe: Path,
    data: Path,
    out: Path,
    devices: "Devices",
    as_json: bool,
    **more: Any,
) -> None:
    """Train as a recipe says, write ``run.json``, and say where the model is."""
    from percert.reports import write_run
    from percert.training.engine import launched
    from percert.training.recipe_file import find_recipe

    started = time.perf_counter()
    settings = read(recipe)
    with launched(devices) as fabric:
        run(settings, data, out, fabric, **more)
        if not fabric.is_global_zero:
            return
        seconds = time.perf_counter() - started
        write_run(
            out,
            command=sys.argv,
            seed=settings.seed,
            device=str(fabric.device),
            seconds=seconds,
            settings={"recipe": find_recipe(recipe).read_text(encoding="utf-8")},
        )
    if as_json:
        emit_json({"model": str(out), "metric": str(out), "seconds": seconds})
    else:
        say(f"Done: {out} holds model.safetensors and config.json, and is a metric's name.")


@one_line_errors
@needs(sometimes=("hub", "onnx"))
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The folder of a finished run or an export, hf-hub:OWNER/NAME, lipsim-tiny, or "
            "lipsim-small, -medium or -large with --checkpoint.",
        ),
    ],
    out: Annotated[Path, out_option("Where the files go.")],
    format: Annotated[
        Literal["safetensors", "onnx", "hf"],
        typer.Option(
            "--format",
            help="safetensors: weights and card. onnx: images of the network's size to embeddings. "
            "hf: the layout of a Hugging Face repository.",
        ),
    ] = "safetensors",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="The authors' weights of LipSim as they publish them, or a safetensors file.",
        ),
    ] = None,
    embedding: Annotated[
        int | None,
        typer.Option(
            "--embedding",
            min=1,
            help="With --checkpoint: how many values are kept, the teacher's. 1792 of the "
            "ensemble (the default), 768 of DINO, 512 of OpenCLIP.",
        ),
    ] = None,
    constant: Annotated[
        Literal["appended", "added", "none"],
        typer.Option(
            "--constant",
            help="With --checkpoint: a 1 is appended to the embedding before it is normalised, or "
            "2 / sqrt(k) added to each of its k values, or neither.",
        ),
    ] = "appended",
    licence: Annotated[
        str, typer.Option("--licence", metavar="SPDX", help="Of the weights, for the hf layout.")
    ] = "other",
    as_json: JsonOption = False,
) -> None:
    """Write a trained network as safetensors, as ONNX, or as a Hugging Face repository.

    The folders of safetensors and hf are metrics by their path, here and in create_metric; pushed
    to the hub, so is hf-hub:OWNER/NAME. The card holds a hash of the weights, which loading checks.

    [bold]Examples[/bold]

    percert export runs/night --out exported

    percert export runs/night --format hf --licence apache-2.0 --out my-metric

    percert export lipsim-small --checkpoint model.ckpt-1.pth --constant added --out theirs

    percert compare photo.jpg copy.jpg --metric ./my-metric
    """
    from percert.training.export import export as write

    files = write(
        model,
        format,
        out,
        checkpoint=checkpoint,
        embedding=embedding,
        constant=constant,
        licence=licence,
    )
    if as_json:
        emit_json({"model": model, "format": format, "files": [str(path) for path in files]})
    else:
        say(f"Written: {', '.join(str(path) for path in files)}")
