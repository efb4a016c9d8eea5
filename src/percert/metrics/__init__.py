"""Perceptual distances: what a metric is, and every metric by name.

What is named is loaded when it is first used: to list metrics takes no torch.
"""

from typing import TYPE_CHECKING

from percert.lazy import lazy_names

if TYPE_CHECKING:
    from percert.metrics.catalog import create_metric, list_metrics, metric_card
    from percert.metrics.embedding import EmbeddingMetric
    from percert.metrics.metric import Metric, MetricCard
    from percert.metrics.mse import psnr

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
        "EmbeddingMetric": "percert.metrics.embedding",
        "Metric": "percert.metrics.metric",
        "MetricCard": "percert.metrics.metric",
        "create_metric": "percert.metrics.catalog",
        "list_metrics": "percert.metrics.catalog",
        "metric_card": "percert.metrics.catalog",
        "psnr": "percert.metrics.mse",
    },
)
