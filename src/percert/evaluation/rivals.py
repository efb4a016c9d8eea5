"""Every copy detector by name: certified metrics, and the rivals that have no proof."""

from collections.abc import Callable
from pathlib import Path

from percert.evaluation.copies_detector import Detector, MetricDetector
from percert.evaluation.rival_hashes import HashDetector, dhash, pdq, phash, whash
from percert.evaluation.rival_networks import SqueezeNetDetector, imagededup_cnn
from percert.metrics.backbones import seeded
from percert.metrics.catalog import CATALOG, create_metric, metric_card
from percert.metrics.embedding import EmbeddingMetric
from percert.metrics.exported import is_exported
from percert.models.squeezenet import SqueezeNet, squeezenet

HASHES: dict[str, Callable[[], HashDetector]] = {
    "phash": phash,
    "dhash": dhash,
    "whash": whash,
    "pdq": pdq,
}
#: The rivals: hashes, ``imagededup``'s CNN, and plain SqueezeNet, which takes its weights.
RIVALS = (*HASHES, "cnn", "features")


def make_rival(text: str, device: str = "auto") -> Detector:
    """The detector in ``NAME`` or ``NAME=FILE``: a rival, or another metric with certificates.

    ``features`` needs SqueezeNet 1.0's weights, ``features=FILE`` (``features=random`` for seeded
    random ones). Raises ``ValueError`` for an unknown name and where a package is missing.

    >>> make_rival("phash").name
    'phash'
    """
    name, _, weights = text.partition("=")
    if name in HASHES or name == "cnn":
        if weights:
            raise ValueError(f"{name}: takes no weights, found {weights!r}")
        return HASHES[name]() if name in HASHES else imagededup_cnn()
    if name == "features":
        return _features(weights)
    return metric_detector(name, weights or None, device)


def metric_detector(
    name: str, checkpoint: str | Path | None = None, device: str = "auto"
) -> MetricDetector:
    """The certified metric called ``name``; ``ValueError`` lists what can detect copies.

    The folder of an exported model is a name too.

    >>> metric_detector("ssim")
    Traceback (most recent call last):
    ValueError: detector: expected a metric with an embedding (lipsim-tiny, ...) or a rival (phash, ...), found 'ssim'
    """  # noqa: E501
    known_name = name in CATALOG or is_exported(name)
    if not known_name or not metric_card(name).embedding:
        known = ", ".join(card.name for card in CATALOG.values() if card.embedding)
        raise ValueError(
            f"detector: expected a metric with an embedding ({known}) or a rival "
            f"({', '.join(RIVALS)}), found {name!r}"
        )
    metric = create_metric(name, checkpoint=checkpoint, device=device)
    if not isinstance(metric, EmbeddingMetric):
        raise ValueError(f"{name}: expected a metric with an embedding")
    return MetricDetector(metric, name)


def _features(weights: str) -> SqueezeNetDetector:
    if not weights:
        raise ValueError(
            "features: needs SqueezeNet 1.0's weights: features=FILE.safetensors, or "
            "features=random for random ones"
        )
    if weights == "random":
        return SqueezeNetDetector(seeded(SqueezeNet).eval().requires_grad_(False))
    if not Path(weights).is_file():
        raise ValueError(f"features: {weights}: no such file")
    return SqueezeNetDetector(squeezenet(Path(weights)))
