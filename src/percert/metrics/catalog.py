"""Every metric by name."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

from percert.check import did_you_mean
from percert.metrics import network_cards, pixel_cards
from percert.metrics.metric import Metric, MetricCard

if TYPE_CHECKING:
    import torch
    from torch import nn

    from percert.metrics.certified.embedding import EmbeddingMetric

EmbeddingName: TypeAlias = Literal[
    "lipsim-tiny",
    "thumbnail",
    "thumbnail-8",
    "thumbnail-16",
    "lipsim-tiny-uncentred",
    "lipsim-small",
    "lipsim-medium",
    "lipsim-large",
]

LIPSIM_PAPER = (
    "Ghazanfari et al., LipSim: A Provably Robust Perceptual Similarity Metric, ICLR 2024"
)


# The factories import when they are called: naming a metric must not load all of them.
def _lipsim_tiny(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.certified.lipsim import lipsim_tiny

    return lipsim_tiny(checkpoint)


def _lipsim_tiny_uncentred(checkpoint: str | None) -> "nn.Module":
    from percert.metrics.certified.lipsim import lipsim_tiny_uncentred

    return lipsim_tiny_uncentred()


def _lipsim(size: str, checkpoint: str | None) -> "nn.Module":
    from percert.metrics.certified.lipsim import lipsim

    return lipsim(size, checkpoint)


def _thumbnail(side: int, checkpoint: str | None) -> "nn.Module":
    from percert.metrics.certified.lipsim import thumbnail

    return thumbnail(side)


#: Copy thresholds are those measured at a false-positive rate of 1e-3 (docs/results), rounded down.
CATALOG: dict[str, MetricCard] = {
    card.name: card
    for card in (
        MetricCard(
            name="lipsim-tiny",
            factory=_lipsim_tiny,
            summary="Compact 1-Lipschitz network for copies and edits; weights come with percert",
            range=(0.0, 2.0),
            embedding=True,
            resolution=(64, 64),
            copy_threshold=0.31,
            checkpoint="optional",
            paper=LIPSIM_PAPER,
            weights_licence="Apache-2.0",
        ),
        MetricCard(
            name="thumbnail",
            factory=partial(_thumbnail, 8),
            summary="Angle between 8 x 8 mean-subtracted thumbnails; linear, no training",
            range=(0.0, 2.0),
            embedding=True,
            resolution=(8, 8),
            copy_threshold=0.22,
        ),
        MetricCard(
            name="thumbnail-8",
            factory=partial(_thumbnail, 8),
            summary="The same as thumbnail",
            range=(0.0, 2.0),
            embedding=True,
            resolution=(8, 8),
            copy_threshold=0.22,
        ),
        MetricCard(
            name="thumbnail-16",
            factory=partial(_thumbnail, 16),
            summary="Angle between 16 x 16 mean-subtracted thumbnails; linear, no training",
            range=(0.0, 2.0),
            embedding=True,
            resolution=(16, 16),
            copy_threshold=0.28,
        ),
        MetricCard(
            name="lipsim-tiny-uncentred",
            factory=_lipsim_tiny_uncentred,
            summary="lipsim-tiny before its embeddings had a centre; for stores made with it",
            range=(0.0, 2.0),
            embedding=True,
            resolution=(64, 64),
            copy_threshold=0.49,
            paper=LIPSIM_PAPER,
            weights_licence="Apache-2.0",
        ),
        *(
            MetricCard(
                name=f"lipsim-{size}",
                factory=partial(_lipsim, size),
                summary=f"The paper's {size} network; needs a checkpoint",
                range=(0.0, 2.0),
                embedding=True,
                resolution=(224, 224),
                checkpoint="required",
                paper=LIPSIM_PAPER,
            )
            for size in ("small", "medium", "large")
        ),
        *pixel_cards.CARDS,
        *network_cards.CARDS,
    )
}


def list_metrics() -> list[str]:
    """The names that :func:`create_metric` knows, the default first.

    >>> list_metrics()[:2]
    ['lipsim-tiny', 'thumbnail']
    """
    return list(CATALOG)


def metric_card(name: str) -> MetricCard:
    """The card of a metric. Raises ``ValueError``, with the nearest name, for one not known.

    ``hf-hub:OWNER/NAME`` and the folder of an exported model (``percert export``) are names too.

    >>> metric_card("ssmi")
    Traceback (most recent call last):
    ValueError: metric: unknown name 'ssmi', did you mean 'ssim'? Known: lipsim-tiny, thumbnail, ...
    """
    if name in CATALOG:
        return CATALOG[name]
    from percert.metrics.certified.exported import is_exported

    if is_exported(str(name)):
        return _exported_card(str(name))
    raise ValueError(unknown_metric(name, CATALOG))


def unknown_metric(name: str, known: Collection[str]) -> str:
    """What is said of a metric's ``name`` that is not among those ``known``."""
    if str(name).lower() == "psnr":
        return (
            "metric: 'psnr' is in decibels and no distance (higher is closer, infinite at "
            "identity); the metric of the same order is 'mse', and percert.metrics.psnr gives dB"
        )
    hint = did_you_mean(str(name).lower(), known, otherwise=".")
    return f"metric: unknown name {name!r}{hint} Known: {', '.join(known)}"


def _exported_card(name: str) -> MetricCard:
    from percert.metrics.certified.exported import exported_folder, load_exported, read_config

    folder = exported_folder(name)
    card = read_config(folder)
    return MetricCard(
        name=name,
        factory=lambda _: load_exported(folder),
        summary=f"{card.name}: a network of one's own",
        range=(0.0, 2.0),
        embedding=True,
        resolution=card.shape.resolution,
        copy_threshold=card.copy_threshold,
    )


@overload
def create_metric(
    name: EmbeddingName,
    checkpoint: str | Path | None = None,
    device: "str | torch.device" = "auto",
) -> "EmbeddingMetric": ...


@overload
def create_metric(
    name: str, checkpoint: str | Path | None = None, device: "str | torch.device" = "auto"
) -> Metric: ...


def create_metric(
    name: str, checkpoint: str | Path | None = None, device: "str | torch.device" = "auto"
) -> Metric:
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
    metric = card.factory(None if checkpoint is None else str(checkpoint))
    return metric.to(target).eval().requires_grad_(False)
