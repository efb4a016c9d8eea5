"""``percert train distill``: a student learns a teacher's embeddings."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.failure import one_line_errors
from percert.cli.needs import needs
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption
from percert.cli.output import emit_json, say
from percert.cli.writable import writable_folder

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
OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        callback=writable_folder,
        metavar="DIR",
        help="Where checkpoints, logs and the model go.",
    ),
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="DIR",
        help="The folder of a finished run or an export to start from; by default the one that the "
        "recipe names, or random weights.",
        show_default=False,
    ),
]
DevicesOption = Annotated[
    int | None,
    typer.Option(
        "--devices",
        min=1,
        metavar="N",
        help="Processes on each machine, one a GPU; by default what torchrun says, or 1.",
        show_default=False,
    ),
]
NodesOption = Annotated[
    int | None,
    typer.Option("--nodes", min=1, metavar="N", help="Machines.", show_default=False),
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
    from percert.training.distillation import distill as run_distillation
    from percert.training.distillation import read_distill_recipe
    from percert.training.engine import Devices, launched

    started = time.perf_counter()
    settings = read_distill_recipe(recipe)
    with launched(Devices(device, devices, nodes)) as fabric:
        run_distillation(settings, data, out, fabric, tensorboard=tensorboard)
        if fabric.is_global_zero:
            finish(recipe, settings.seed, out, str(fabric.device), started, as_json)


def finish(recipe: Path, seed: int, out: Path, device: str, started: float, as_json: bool) -> None:
    """Write ``run.json``, and say where the model is."""
    from percert.reports import write_run
    from percert.training.recipe_file import find_recipe

    seconds = time.perf_counter() - started
    text = find_recipe(recipe).read_text(encoding="utf-8")
    write_run(
        out,
        command=sys.argv,
        seed=seed,
        device=device,
        seconds=seconds,
        settings={"recipe": text},
    )
    if as_json:
        emit_json({"model": str(out), "metric": str(out), "seconds": seconds})
    else:
        say(f"Done: {out} holds model.safetensors and config.json, and is a metric's name.")
