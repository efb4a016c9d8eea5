"""The options that the verbs of ``percert attack`` share, and what their values mean."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from percert.cli.options import metric_and_file, writable_folder


class Engine(str, Enum):
    """Where the attacks run."""

    LOCAL = "local"
    RAY = "ray"


class LabelsFrom(str, Enum):
    """Which number the first class has in a file of labels."""

    AUTO = "auto"
    ZERO = "0"
    ONE = "1"


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
    Path,
    typer.Option(
        "--out",
        callback=writable_folder,
        metavar="DIR",
        help="Where images and records go. A run that was stopped goes on where it stood.",
    ),
]
MetricsOption = Annotated[
    str,
    typer.Option(
        "--metrics",
        metavar="NAME,...",
        help="Further distances to record, of [bold]percert metrics[/bold] or psnr, which is in "
        "dB; NAME=FILE gives one its weights. l1, l2, linf and ssim are always there.",
    ),
]
ThreatOption = Annotated[
    str | None,
    typer.Option(
        "--threat",
        metavar="NORM:EPS",
        help="What counts as allowed, such as linf:8/255 or l2:1; outside of it nothing counts "
        "as a success. The attacks have budgets of their own among their settings.",
    ),
]
BatchOption = Annotated[
    int,
    typer.Option(
        "--batch-size", min=1, help="Images at once; halved where memory does not suffice."
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Where random numbers start.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="The first N images only.")
]
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", min=0, help="End an attack on a batch after S seconds."),
]
ConfidenceOption = Annotated[
    float,
    typer.Option("--confidence", min=0, help="By how much the goal is to be exceeded, in logits."),
]
WrongOption = Annotated[
    bool,
    typer.Option("--attack-misclassified", help="Attack also what is wrong to begin with."),
]
SaveOption = Annotated[
    bool, typer.Option("--save/--no-save", help="Write the attacked images as PNG files.")
]
EngineOption = Annotated[
    Engine, typer.Option("--engine", help="This process, or workers of a Ray cluster.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="A running Ray cluster; without it one is started on this machine.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Ray workers; as many as there are processors or GPUs.",
    ),
]


def parse_metrics(text: str) -> dict[str, str | None]:
    """The metrics of a list ``NAME[=FILE],...`` with their files; ``psnr``, in dB, is one too.

    >>> parse_metrics("gmsd, lpips-alex=alex.pth,psnr")
    {'gmsd': None, 'lpips-alex': 'alex.pth', 'psnr': None}
    """
    entries = filter(None, (part.strip() for part in text.split(",")))
    return dict((e, None) if e == "psnr" else metric_and_file(e) for e in entries)
