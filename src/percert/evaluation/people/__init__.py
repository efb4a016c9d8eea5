"""How far metrics agree with people: correlations, 2AFC and AUC, with intervals over pictures."""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.evaluation.people.answers import find_answers
    from percert.evaluation.people.run import PeopleSettings, run_people

__all__ = ["PeopleSettings", "find_answers", "run_people"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.evaluation.people.answers": "find_answers",
        "percert.evaluation.people.run": "PeopleSettings run_people",
    },
)
