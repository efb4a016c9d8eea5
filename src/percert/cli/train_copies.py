"""``percert train copies``: a network learns to know copies, and to be certain of it."""

import time

from percert.cli.failure import one_line_errors
from percert.cli.needs import needs
from percert.cli.options import DeviceOption, JsonOption, MaxMemoryOption
from percert.cli.train_distill import (
    DataOption,
    ModelOption,
    OutOption,
    RecipeArgument,
    TensorboardOption,
    finish,
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
    from percert.training.copies import read_copies_recipe, train_copies
    from percert.training.engine import Devices, launched

    started = time.perf_counter()
    settings = read_copies_recipe(recipe)
    with launched(Devices(device, 1, 1)) as fabric:
        train_copies(settings, data, out, fabric, model=model, tensorboard=tensorboard)
        finish(recipe, settings.seed, out, str(fabric.device), started, as_json)
