"""Perceptual distances: what a metric is, and every metric by name."""

from percert.metrics.catalog import create_metric, list_metrics, metric_card
from percert.metrics.embedding import EmbeddingMetric
from percert.metrics.metric import Metric, MetricCard

__all__ = [
    "EmbeddingMetric",
    "Metric",
    "MetricCard",
    "create_metric",
    "list_metrics",
    "metric_card",
]
