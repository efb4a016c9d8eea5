"""2AFC data sets: natural, certified and attacked scores (LipSim, ICLR 2024, section 5)."""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.evaluation.twoafc.evaluate import TwoAFCRun, evaluate_twoafc
    from percert.evaluation.twoafc.run import TwoAFCSettings, evaluate_metric, run_twoafc
    from percert.evaluation.twoafc.scores import TwoAFCScores, score_twoafc

__all__ = [
    "TwoAFCRun",
    "TwoAFCScores",
    "TwoAFCSettings",
    "evaluate_metric",
    "evaluate_twoafc",
    "run_twoafc",
    "score_twoafc",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.evaluation.twoafc.evaluate": "TwoAFCRun evaluate_twoafc",
        "percert.evaluation.twoafc.run": "TwoAFCSettings evaluate_metric run_twoafc",
        "percert.evaluation.twoafc.scores": "TwoAFCScores score_twoafc",
    },
)
