"""How a set is attacked: the attacks, what counts as allowed, and what is recorded."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from torch import nn

from percert.attacks import LpBall, parse_attack
from percert.attacks.attack import Attack
from percert.attacks.catalog import CATALOG
from percert.attacks.threat import Threat
from percert.check import Argument, ArgumentError
from percert.metrics.catalog import create_metric, metric_card
from percert.metrics.full_reference.pixel_errors import PSNR
from percert.reports.records import Columns

#: What is always measured, in this order.
DISTANCES = ("l1", "l2", "linf", "ssim")


@dataclass(frozen=True)
class RecordedMetric:
    """A metric (or PSNR) to record, and the least side in pixels for which it means something."""

    metric: nn.Module
    smallest_side: int = 1


@dataclass(frozen=True)
class AttackPlan:
    """How a collection is attacked: the same for all of its images.

    ``attacks`` by what they are called in the records, ``measures`` the metrics to record.
    ``seconds`` bounds the time of one attack on one batch. ``seed`` and an image's name give its
    own seed. ``save`` keeps the attacked images. Raises ``ValueError`` where the images of two
    attacks would go into one folder.
    """

    attacks: Mapping[str, Attack]
    measures: Mapping[str, RecordedMetric]
    threat: Threat | None = None
    batch_size: int = 32
    seed: int = 0
    seconds: float | None = None
    save: bool = True

    def __post_init__(self) -> None:
        folder_names(self.attacks)


def folder_names(attacks: Iterable[str]) -> dict[str, str]:
    """A folder's name for each attack as written on the command line.

    >>> folder_names(["apgd:norm=l2,eps=1"])
    {'apgd:norm=l2,eps=1': 'apgd_norm=l2_eps=1'}
    """
    found: dict[str, str] = {}
    for attack in attacks:
        name = re.sub(r"[^A-Za-z0-9.=+-]+", "_", attack).strip("._") or "attack"
        for other, taken in found.items():
            if taken.lower() == name.lower():
                raise ValueError(f"attacks {other!r} and {attack!r} would share a folder")
        found[attack] = name
    return found


@dataclass(frozen=True)
class RayCluster:
    """Workers of a Ray cluster: of a running one at ``address``, or of one started here."""

    address: str | None = None
    workers: int | None = None


def parse_threat(text: str) -> LpBall:
    """``NORM:EPS`` as a ball; EPS may be a fraction.

    >>> parse_threat("linf:8/255")
    LpBall(norm='linf', eps=0.0313...)
    """
    norm, _, eps = text.partition(":")
    try:
        radius = float(Fraction(eps))
    except (ValueError, ZeroDivisionError):
        raise ArgumentError(
            Argument("threat"), f": expected NORM:EPS such as linf:8/255, found {text!r}"
        ) from None
    if norm not in ("l1", "l2", "linf"):
        raise ArgumentError(
            Argument("threat"), f": expected a norm of l1, l2 or linf, found {norm!r}"
        )
    return LpBall(norm, radius)  # type: ignore[arg-type]  # one of the three, just checked


def attacks_for(texts: Sequence[str], kind: str) -> dict[str, Attack]:
    """The attacks by the text that names them. Raises ``ValueError`` for one unfit for ``kind``.

    >>> list(attacks_for(["pgd:eps=1"], "classifier"))
    ['pgd:eps=1']
    """
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


def recorded_metrics(
    metrics: Mapping[str, str | Path | None], device: str
) -> dict[str, RecordedMetric]:
    """The metrics to record, SSIM always among them; each with a file of weights or ``None``."""
    found: dict[str, RecordedMetric] = {}
    for name, file in {"ssim": None, **metrics}.items():
        if name in DISTANCES and name != "ssim":
            continue
        if name == "psnr":  # in dB, which is no metric
            found[name] = RecordedMetric(PSNR())
            continue
        metric = create_metric(name, checkpoint=file, device=device)
        found[name] = RecordedMetric(metric, metric_card(name).smallest_side)
    return found


def record_columns(task_columns: Columns, measures: Sequence[str]) -> dict[str, type]:
    """The columns of the records: one row an image and attack.

    ``prediction`` and the distances are those of the 8-bit image; ``outside_8bit`` says that the
    goal is reached by an 8-bit image, but only outside of what was allowed. ``seconds`` of
    wall-clock time, ``cpu_seconds`` of this process and ``model_calls`` are an image's share of its
    batch. ``file`` is the path of the PNG from the output folder. What does not exist is null.
    """
    return {
        "image": str,
        "attack": str,
        "label": int,
        "clean_prediction": int,
        "prediction": int,
        "attacked": bool,
        "success": bool,
        "success_8bit": bool,
        "within_threat": bool,
        "within_threat_8bit": bool,
        "outside_8bit": bool,
        "margin": float,
        "margin_8bit": float,
        **dict.fromkeys((*DISTANCES, *measures), float),
        **task_columns,
        "seconds": float,
        "cpu_seconds": float,
        "model_calls": float,
        "height": int,
        "width": int,
        "seed": int,
        "file": str,
    }
