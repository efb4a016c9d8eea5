"""The options that the verbs of ``percert attack`` share, and what their values mean."""

from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from percert.cli.options import metric_and_file, writable_folder

if TYPE_CHECKING:
    from percert.attacks import Attack
    from percert.attacks.threat import LpBall
    from percert.runs import RecordedMetric


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


def parse_attacks(texts: list[str], kind: str) -> "dict[str, Attack]":
    """The attacks by the text that names them. Raises ``ValueError`` for one unfit for ``kind``."""
    from percert.attacks import parse_attack
    from percert.attacks.catalog import CATALOG

    found: dict[str, Attack] = {}
    for text in texts:
        name, attack = parse_attack(text)
        if kind not in CATALOG[name].goals:
            fit = [card.name for card in CATALOG.values() if kind in card.goals]
            raise ValueError(
                f"attack {name}: not for {kind} goals; "
                + (f"these are: {', '.join(fit)}" if fit else "none is")
            )
        if text in found:
            raise ValueError(f"attack {text!r}: given twice")
        found[text] = attack
    return found


def parse_measures(text: str, device: str) -> "dict[str, RecordedMetric]":
    """The metrics to record, by name, and ``psnr`` in dB; SSIM always."""
    from percert.metrics.catalog import create_metric, metric_card
    from percert.metrics.full_reference.pixel_errors import PSNR
    from percert.runs import DISTANCES, RecordedMetric

    names = dict.fromkeys(["ssim", *filter(None, (part.strip() for part in text.split(",")))])
    found: dict[str, RecordedMetric] = {}
    for entry in names:
        if entry in DISTANCES and entry != "ssim":
            continue
        if entry == "psnr":  # in dB, which is no metric
            found[entry] = RecordedMetric(PSNR())
            continue
        name, file = metric_and_file(entry)
        if name in found:
            continue
        metric = create_metric(name, checkpoint=file, device=device)
        found[name] = RecordedMetric(metric, metric_card(name).smallest_side)  # type: ignore[arg-type]  # they are modules
    return found


def parse_threat(text: str | None) -> "LpBall | None":
    """``NORM:EPS`` as a ball; EPS may be a fraction."""
    from percert.attacks import LpBall

    if text is None:
        return None
    norm, _, eps = text.partition(":")
    try:
        radius = float(Fraction(eps))
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"--threat: expected NORM:EPS such as linf:8/255, found {text!r}"
        ) from None
    if norm not in ("l1", "l2", "linf"):
        raise ValueError(f"--threat: expected a norm of l1, l2 or linf, found {norm!r}")
    return LpBall(norm, radius)  # type: ignore[arg-type]  # one of the three, just checked
