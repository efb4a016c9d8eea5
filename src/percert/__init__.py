"""Perceptual distances with certificates, attacks that cannot be seen, and audits of who pays.

>>> import percert
>>> metric = percert.create_metric("thumbnail")
>>> attack = percert.create_attack("ssim-sqp")

Everything is loaded when it is first used: ``import percert`` itself takes next to no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from percert import attacks, certify, images, search
    from percert.attacks import create_attack, list_attacks, run_attack
    from percert.metrics.catalog import create_metric, list_metrics
    from percert.models import load_classifier

__version__ = "0.1.0.dev0"

__all__ = [
    "__version__",
    "attacks",
    "certify",
    "create_attack",
    "create_metric",
    "images",
    "list_attacks",
    "list_metrics",
    "load_classifier",
    "run_attack",
    "search",
]

_MODULES = ("attacks", "certify", "images", "search")
_HOME = {
    "create_attack": "percert.attacks",
    "create_metric": "percert.metrics.catalog",
    "list_attacks": "percert.attacks",
    "list_metrics": "percert.metrics.catalog",
    "load_classifier": "percert.models",
    "run_attack": "percert.attacks",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"percert.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'percert' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
