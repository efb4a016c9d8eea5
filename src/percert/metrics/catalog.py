"""Every metric by name: :func:`create_metric`, which makes what a card names, and its scale.

A card names its class; the class is loaded when a metric is made, so that listing takes no torch.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

from percert.metrics.card import MetricCard
from percert.metrics.cards import CATALOG as CATALOG
from percert.registry import load, unknown_name

if TYPE_CHECKING:
    import torch

    from percert.metrics.certified.embedding import EmbeddingMetric
    from percert.metrics.metric import Metric

EmbeddingName: TypeAlias = Literal[
    "lipsim-tiny",
    "lipsim-base",
    "thumbnail",
    "thumbnail-8",
    "thumbnail-16",
    "lipsim-tiny-1",
    "lipsim-tiny-uncentred",
    "lipsim-small",
    "lipsim-medium",
    "lipsim-large",
]


def list_metrics() -> list[str]:
    """The names that :func:`create_metric` knows, the default first.

    >>> list_metrics()[:2]
    ['lipsim-tiny', 'lipsim-base']
    """
    return list(CATALOG)


def metric_card(name: str) -> MetricCard:
    """The card of a metric. Raises ``ValueError``, with the nearest name, for one not known.

    ``hf-hub:OWNER/NAME`` and the folder of an exported model (``percert export``) are names too.

    >>> metric_card("ssmi")
    Traceback (most recent call last):
    ValueError: metric: unknown name 'ssmi', did you mean 'ssim'? Known: lipsim-tiny, ...
    """
    if name in CATALOG:
        return CATALOG[name]
    from percert.metrics.certified.exported import exported_folder, is_exported, read_config

    if not is_exported(str(name)):
        raise ValueError(unknown_metric(name, CATALOG))
    folder = exported_folder(str(name))
    card = read_config(folder)
    return MetricCard(
        str(name),
        "percert.metrics.certified.exported:load_exported",
        f"{card.name}: a network of one's own",
        (0.0, 2.0),
        settings={"folder": folder},
        embedding=True,
        resolution=card.shape.resolution,
        copy_threshold=card.copy_threshold,
    )


def unknown_metric(name: str, known: Collection[str]) -> str:
    """What is said of a metric's ``name`` that is not among those ``known``."""
    if str(name).lower() == "psnr":
        return (
            "metric: 'psnr' is in decibels and no distance (higher is closer, infinite at "
            "identity); the metric of the same order is 'mse', and percert.metrics.psnr gives dB"
        )
    return unknown_name("metric", name, known)


@overload
def create_metric(
    name: EmbeddingName, checkpoint: str | Path | None = None, device: "str | torch.device" = "auto"
) -> "EmbeddingMetric": ...


@overload
def create_metric(
    name: str, checkpoint: str | Path | None = None, device: "str | torch.device" = "auto"
) -> "Metric": ...


def create_metric(
    name: str, checkpoint: str | Path | None = None, device: "str | torch.device" = "auto"
) -> "Metric":
    """The metric called ``name``, ready to use: on ``device``, in evaluation mode, weights frozen.

    ``checkpoint`` is a file or folder of weights, for the metrics that take one; ``"random"`` gives
    networks untrained weights, for tests and timing. Published weights that are not there are
    fetched, where the card says so. ``device`` is ``"auto"`` (CUDA where
    there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``. Raises ``ValueError`` for an unknown name
    or device, and for a checkpoint that is missing or not wanted.

    >>> import torch
    >>> metric = create_metric("thumbnail", device="cpu")
    >>> metric(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 40, 40))  # sizes may differ
    tensor([0., 0.], dtype=torch.float64)
    """
    from percert.device import resolve_device

    card = metric_card(name)
    if card.checkpoint == "none" and checkpoint is not None:
        raise ValueError(f"{name}: has no weights, so checkpoint must be None, found {checkpoint}")
    if card.checkpoint == "required" and checkpoint is None:
        raise ValueError(
            f"{name}: needs checkpoint=FILE with the weights, none come with percert "
            "(checkpoint='random' gives untrained ones)"
        )
    target = resolve_device(device)
    given = {} if checkpoint is None else {"checkpoint": str(checkpoint)}
    metric: Metric = load(card.where)(**card.settings, **given)
    return metric.to(target).eval().requires_grad_(False)


#: Written by experiments/usual_distances.py, on the 300 ImageNet-Compatible photographs (299 px).
TYPICAL_FILE = Path(__file__).with_name("usual_distances.json")


@dataclass(frozen=True)
class TypicalDistances:
    """A metric's distance between photographs that have nothing to do with one another.

    9 of 10 such pairs lie between ``unrelated_low`` and ``unrelated_high``, half of them below
    ``unrelated``. ``jpeg`` is the median of a photograph and its JPEG file of quality 75.
    """

    jpeg: float
    unrelated_low: float
    unrelated: float
    unrelated_high: float


@cache
def _read_typical() -> dict[str, TypicalDistances]:
    entries = json.loads(TYPICAL_FILE.read_text(encoding="utf-8"))
    return {name: TypicalDistances(**entry) for name, entry in entries.items()}


def typical_distances(name: str) -> TypicalDistances | None:
    """What the metric called ``name`` usually says; ``None`` where that was not measured.

    >>> found = typical_distances("ssim")
    >>> 0 < found.jpeg < found.unrelated_low < found.unrelated < found.unrelated_high <= 2
    True
    >>> typical_distances("no such metric") is None
    True
    """
    return _read_typical().get(name)
