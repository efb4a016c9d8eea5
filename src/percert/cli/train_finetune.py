"""``percert train finetune``: a network learns which of two images people find closer."""

import time

from percert.cli.failure import one_line_errors
from percert.cli.needs import needs
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption
from percert.cli.train_distill import (
    DataOption,
    DevicesOption,
    ModelOption,
    NodesOption,
    OutOption,
    RecipeArgument,
    TensorboardOption,
    finish,
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
    from percert.training.engine import Devices, launched
    from percert.training.finetuning import finetune as run_finetuning
    from percert.training.finetuning import read_finetune_recipe

    started = time.perf_counter()
    settings = read_finetune_recipe(recipe)
    with launched(Devices(device, devices, nodes)) as fabric:
        run_finetuning(settings, data, out, fabric, model=model, tensorboard=tensorboard)
        if fabric.is_global_zero:
            finish(recipe, settings.seed, out, str(fabric.device), started, as_json)
