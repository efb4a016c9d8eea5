"""The options that several commands share, each once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from percert.cli.command import fail
from percert.registry import name_and_file
from percert.reports.budgets import Budget, parse_budget

if TYPE_CHECKING:
    from percert.metrics.metric import Metric


def budget_of(text: str) -> Budget:
    """What ``--eps`` says, or one line on what it may say."""
    try:
        return parse_budget(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _known_metric(name: str) -> str:
    # Imported here: --help must not wait for torch.
    from percert.metrics.catalog import metric_card

    try:
        metric_card(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return name


def _threshold(text: str) -> tuple[float | str | None, float | None]:
    """The distance, or the rate of strangers, that ``--threshold`` gives."""
    if text == "usual":
        return text, None
    kind, _, rate = text.rpartition(":")
    try:
        value = float(rate)
        if not (0 < value < 1 if kind == "auto" else kind == "" and 0 <= value <= 2):
            raise ValueError
    except ValueError:
        raise typer.BadParameter(
            "expected a distance in [0, 2], auto:RATE with a rate between 0 and 1, or usual, "
            f"found {text}"
        ) from None
    return (None, value) if kind == "auto" else (value, None)


def _max_memory(context: typer.Context, size: str | None) -> str | None:
    """The limit is that of the process and of those it starts, until the command ends."""
    if size is None:
        return None
    from percert.images.load import VARIABLE, parse_size

    try:
        parse_size(size)
    except ValueError as error:
        raise typer.BadParameter(str(error).removeprefix("max_memory: ")) from None
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = size

    def restore() -> None:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before

    context.call_on_close(restore)
    return size


MetricOption = Annotated[
    str,
    typer.Option(
        "--metric",
        metavar="NAME",
        callback=_known_metric,
        help="The distance to use; [bold]percert metrics[/bold] lists them.",
    ),
]
MetricsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="NAME[=FILE]",
        help="A metric of [bold]percert metrics[/bold], with its weights where it needs some; "
        "may be given several times, for tables of all. lipsim-tiny if none is given.",
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="Weights for a metric that takes some, such as lipsim-small.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.")
]
MaxMemoryOption = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        callback=_max_memory,
        help="What decoding one image may take, such as 4GiB; more is refused unread. 2GiB if "
        "neither this nor PERCERT_MAX_MEMORY says.",
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
    int | None, typer.Option("--nodes", min=1, metavar="N", help="Machines.", show_default=False)
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        metavar="FILE",
        help="A TOML file with these settings, which options override.",
        show_default=False,
    ),
]
AttackL2Option = Annotated[
    str, typer.Option("--l2", metavar="E,...", help="l2 budgets of the attacks.")
]
AttackLinfOption = Annotated[
    str, typer.Option("--linf", metavar="E,...", help="linf budgets of the attacks.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Where random numbers start.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="The first N images only.")
]
EngineOption = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="This process, or workers of a Ray cluster."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="A running Ray cluster; without it one is started on this machine.",
    ),
]
RayWorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Ray workers; as many as there are processors or GPUs.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object to stdout, and nothing else there.")
]
EpsOption = Annotated[
    Budget | None,
    typer.Option(
        "--eps",
        metavar="E",
        parser=budget_of,
        help="The tampering to allow for: an l2 length in the pixels (0 to 1) of the image as "
        "given, such as 4 or 36/255; or linf:8/255, every value by so much; or 30dB, every change "
        "of at least that PSNR. By default one 8-bit level on every value: sqrt(3 h w) / 255, a "
        "PSNR of 48.2 dB at every size.",
        show_default=False,
    ),
]
ThresholdOption = Annotated[
    Any,
    typer.Option(
        "--threshold",
        metavar="T|auto:RATE|usual",
        parser=_threshold,
        help="auto:1e-6 is the reference's own threshold, at which 1 in a million unrelated "
        "photographs is as near; auto:1e-3 is the default. A distance T is one threshold for all, "
        "usual the one that the metric recommends, and has for weights of your own; without any "
        "there is no verdict.",
        show_default=False,
    ),
]


def metric_and_file(text: str) -> tuple[str, str | None]:
    """A metric's name and its weights, of NAME[=FILE]. Raises ``ValueError`` for an unknown name.

    >>> metric_and_file("lpips-alex=weights/run=3/alex.pth")
    ('lpips-alex', 'weights/run=3/alex.pth')
    """
    from percert.metrics.catalog import metric_card

    name, file = name_and_file(text)
    metric_card(name)
    return name, file


DEFAULT_METRIC = "lipsim-tiny"


def _known_or_none(name: str | None) -> str | None:
    return None if name is None else _known_metric(name)


StoreOption = Annotated[
    str,
    typer.Option(
        "--store", metavar="PATH", help="The store: a folder, or s3://, gs:// or az://BUCKET/NAME."
    ),
]
StoreMetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        callback=_known_or_none,
        help="The metric; by default the store's, and lipsim-tiny for a new store. Another than "
        "the store's is refused.",
        show_default=False,
    ),
]
NewMetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        callback=_known_or_none,
        help="The metric of the new store; by default that of the old one, with its weights.",
        show_default=False,
    ),
]


def metric_for_store(
    store: str, name: str | None, checkpoint: Path | None, device: str
) -> "Metric":
    """The metric called ``name``, or by default the one that the store is of.

    Whether its weights are the store's is checked when the store is opened with it.
    """
    from percert.metrics.catalog import create_metric
    from percert.search.info import metric_name

    if name is None:
        name = metric_name(store) or DEFAULT_METRIC
    return create_metric(name, checkpoint=checkpoint, device=device)


def writable_folder(path: Path | None) -> Path | None:
    """``path``, a folder to write to; the command fails at once where it cannot become one."""
    if path is not None:
        if os.path.exists(path) and not os.path.isdir(path):
            fail(f"{path}: a file, expected a folder to write to")
        _check_place(path)
    return path


def writable_file(path: Path | None) -> Path | None:
    """``path``, a file to write; the command fails at once where it cannot become one."""
    if path is not None:
        if os.path.isdir(path):
            fail(f"{path}: a folder, expected the name of a file to write")
        _check_place(path.absolute().parent)
    return path


def _check_place(folder: Path) -> None:
    """Fail unless ``folder``, or else the nearest folder around it that exists, can be written."""
    around = folder.absolute()
    place = next(each for each in (around, *around.parents) if os.path.lexists(each))
    if not os.path.isdir(place):
        fail(f"{folder}: cannot be made, {place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        fail(f"{folder}: no permission to write in {place}")


def out_option(help: str) -> Any:
    """``--out``, a folder to write to; ``help`` says what goes there."""
    return typer.Option("--out", callback=writable_folder, metavar="DIR", help=help)


def parse_metrics(text: str) -> dict[str, str | None]:
    """The metrics of a list ``NAME[=FILE],...`` with their files; ``psnr``, in dB, is one too.

    >>> parse_metrics("gmsd, lpips-alex=alex.pth,psnr")
    {'gmsd': None, 'lpips-alex': 'alex.pth', 'psnr': None}
    """
    entries = filter(None, (part.strip() for part in text.split(",")))
    return dict((e, None) if e == "psnr" else metric_and_file(e) for e in entries)
