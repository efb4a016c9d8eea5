"""Attack runs, and what is made of them: distances, defences, transfer and saliency."""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.evaluation.attack_runs.evaluate import (
        compare_runs,
        defend_runs,
        saliency_runs,
        transfer_runs,
    )
    from percert.evaluation.attack_runs.run import (
        AttackRecipe,
        ClassifierSet,
        MetricSet,
        attack_set,
    )

__all__ = [
    "AttackRecipe",
    "ClassifierSet",
    "MetricSet",
    "attack_set",
    "compare_runs",
    "defend_runs",
    "saliency_runs",
    "transfer_runs",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.evaluation.attack_runs.evaluate": "compare_runs defend_runs saliency_runs "
        "transfer_runs",
        "percert.evaluation.attack_runs.run": "AttackRecipe ClassifierSet MetricSet attack_set",
    },
)
