"""From a metric and images to embeddings in pixel units."""

import torch

from percert.certify.features import PixelFeatures, pixel_features
from percert.lipschitz.bound import LipschitzBound
from percert.metrics.catalog import CATALOG
from percert.metrics.embedding import SHORTEST, EmbeddingMetric
from percert.metrics.metric import Metric
from percert.tensors import Images


def certifiable(metric: Metric) -> EmbeddingMetric:
    """``metric`` if certificates can be made for it; ``ValueError`` with those that can, if not.

    >>> from percert.metrics.catalog import create_metric
    >>> certifiable(create_metric("ssim"))
    Traceback (most recent call last):
    ValueError: ssim has no proven Lipschitz bound: cannot be certified; metrics that can: ...
    """
    if isinstance(metric, EmbeddingMetric):
        return metric
    known = [card.name for card in CATALOG.values() if card.embedding]
    raise ValueError(
        f"{_name(metric)} has no proven Lipschitz bound: cannot be certified; "
        f"metrics that can: {', '.join(known)}"
    )


def embed(metric: Metric, images: Images) -> PixelFeatures:
    """The embeddings of ``images`` ``(n, 3, h, w)`` in pixel units, without gradients.

    Raises ``ValueError`` for a metric without a proven bound or in training mode, for images that
    are not images and for embeddings of less than float32 precision; ``TypeError`` for a metric
    with an estimate.
    """
    metric = certifiable(metric)
    with torch.no_grad():
        embeddings = metric.embed(images)
    size = (images.shape[2], images.shape[3])
    bound: object = metric.bound(size)
    if not isinstance(bound, LipschitzBound):
        raise TypeError(
            f"{metric.name}: expected a proven LipschitzBound, found {type(bound).__name__}: "
            "an estimate can be too small and cannot certify anything"
        )
    if any(module.training for module in metric.network.modules()):
        raise ValueError(
            f"{metric.name}: is in training mode, in which nothing is proven: call metric.eval() "
            "before certifying"
        )
    if embeddings.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"{metric.name}: certificates need float32 or float64 embeddings, "
            f"found {embeddings.dtype}"
        )
    return pixel_features(
        embeddings,
        bound,
        constant=metric.constant,
        feature_error=metric.feature_error,
        # Below SHORTEST the metric itself gives an embedding no direction.
        pixel_error=(metric.float_error(size) + SHORTEST) / bound.value,
        growth=metric.float_growth(size),
        content=metric.content,
    )


def _name(metric: object) -> str:
    for card in CATALOG.values():
        if type(metric).__name__.lower() == card.name.replace("-", ""):
            return card.name
    return type(metric).__name__
