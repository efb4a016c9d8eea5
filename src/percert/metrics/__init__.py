"""Perceptual distances: what a metric is, and every metric by name.

What is named is loaded when it is first used: to list metrics takes no torch.
"""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.metrics.catalog import create_metric, list_metrics, metric_card
    from percert.metrics.certified.embedding import EmbeddingMetric
    from percert.metrics.full_reference.pixel_errors import psnr
    from percert.metrics.metric import Metric, MetricCard

__all__ = [
    "EmbeddingMetric",
    "Metric",
    "MetricCard",
    "create_metric",
    "list_metrics",
    "metric_card",
    "psnr",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "EmbeddingMetric": "percert.metrics.certified.embedding",
        "Metric": "percert.metrics.metric",
        "MetricCard": "percert.metrics.metric",
        "create_metric": "percert.metrics.catalog",
        "list_metrics": "percert.metrics.catalog",
        "metric_card": "percert.metrics.catalog",
        "psnr": "percert.metrics.full_reference.pixel_errors",
    },
)
