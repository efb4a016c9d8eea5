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
        "percert.metrics.catalog": "create_metric list_metrics metric_card",
        "percert.metrics.certified.embedding": "EmbeddingMetric",
        "percert.metrics.full_reference.pixel_errors": "psnr",
        "percert.metrics.metric": "Metric MetricCard",
    },
)
