"""Perceptual distances with certificates, attacks that cannot be seen, and audits of who pays.

>>> import percert
>>> metric = percert.create_metric("thumbnail")
>>> attack = percert.create_attack("ssim-sqp")

Everything is loaded when it is first used: ``import percert`` itself takes next to no time.
"""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert import attacks, audit, certify, fairness, images, metrics, search
    from percert.attacks import create_attack, list_attacks
    from percert.attacks import run_attack as attack
    from percert.metrics import create_metric, list_metrics
    from percert.models import load_classifier

__version__ = "0.1.0.dev0"

__all__ = [
    "__version__",
    "attack",
    "attacks",
    "audit",
    "certify",
    "create_attack",
    "create_metric",
    "fairness",
    "images",
    "list_attacks",
    "list_metrics",
    "load_classifier",
    "metrics",
    "search",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.attacks": "create_attack list_attacks run_attack=attack",
        "percert.metrics": "create_metric list_metrics",
        "percert.models": "load_classifier",
    },
    submodules=("attacks", "audit", "certify", "fairness", "images", "metrics", "search"),
)
