"""Perceptual image distance with certificates.

How alike are two images, and how far can that answer be trusted?

>>> import percert
>>> metric = percert.create_metric("thumbnail")

Everything is loaded when it is first used: ``import percert`` itself takes next to no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from percert import certify, images
    from percert.metrics.catalog import create_metric, list_metrics

__version__ = "0.1.0.dev0"

__all__ = ["__version__", "certify", "create_metric", "images", "list_metrics"]

_MODULES = ("certify", "images")
_METRICS = ("create_metric", "list_metrics")


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"percert.{name}")
    if name in _METRICS:
        return getattr(import_module("percert.metrics.catalog"), name)
    raise AttributeError(f"module 'percert' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
