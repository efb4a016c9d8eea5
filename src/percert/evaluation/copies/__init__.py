"""Copy detection: natural, certified and attacked rates of several detectors."""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.evaluation.copies.evaluate import CopiesPlan, evaluate_copies
    from percert.evaluation.copies.run import CopiesSettings, run_copies

__all__ = ["CopiesPlan", "CopiesSettings", "evaluate_copies", "run_copies"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.evaluation.copies.evaluate": "CopiesPlan evaluate_copies",
        "percert.evaluation.copies.run": "CopiesSettings run_copies",
    },
)
