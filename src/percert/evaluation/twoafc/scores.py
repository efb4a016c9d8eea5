"""2AFC scores of the rows of an evaluation: natural, certified, and under attack.

A triplet counts for the share of judges who agree with the choice: 1 or 0 where they agree among
themselves, and a half for a tie of the metric, as the published evaluations have it. What is
certified at eps counts as it is, anything else for the worse of the two choices. So, triplet by
triplet, certified <= empirical <= natural, which :func:`score_twoafc` checks.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from percert.evaluation.twoafc.attacks import AttackBudget
from percert.evaluation.twoafc.evaluate import CLEAN
from percert.reports.records import Row
from percert.runs.certified import check_order

#: What the attacks together come to: of each triplet the worst.
WORST = "worst of all"


@dataclass(frozen=True)
class CertifiedScore:
    """The score that is proven within l2 ``eps``, by the exact radius and by the paper's.

    ``None`` where the metric has no proof, or none by the paper's theorem for some triplet.
    """

    eps: float
    ours: float | None
    paper: float | None


@dataclass(frozen=True)
class AttackedScore:
    """The score that is left within ``norm`` and ``eps``, by attack, and of all attacks together.

    ``certified`` is what is proven within the same budget.
    """

    norm: str
    eps: float
    by_attack: dict[str, float]
    worst: float
    certified: float | None


@dataclass(frozen=True)
class TwoAFCScores:
    """The scores of a set of triplets, all in [0, 1]. ``ties`` counts what has no choice."""

    name: str
    triplets: int
    natural: float
    ties: int
    radius_median: float | None
    certified: list[CertifiedScore]
    attacked: list[AttackedScore]


def score_twoafc(
    rows: Iterable[Row],
    eps: Sequence[float],
    *,
    budgets: Iterable[AttackBudget] = (),
    perturbed: str = "reference",
) -> list[TwoAFCScores]:
    """The scores of all triplets together, and then of each group, where there are several.

    ``rows`` are those of :func:`~percert.evaluation.twoafc.evaluate.evaluate_twoafc`. The budgets
    are those
    of the attacks in them, and ``budgets`` for attacks that look for the least change. A success
    counts for every budget that holds it, whichever attack found it. Raises ``BrokenCertificate``
    where for some triplet certified <= empirical <= natural does not hold, and ``ValueError`` where
    there are no rows.
    """
    cases = _cases(rows)
    if not cases:
        raise ValueError("2AFC: expected at least one triplet, found none")
    groups = {"all": cases}
    for case in cases:
        groups.setdefault(case.group or "all", [])
        if case.group:
            groups[case.group].append(case)
    if len(groups) == 2:
        groups = {"all": cases}
    of_rows = {
        (row["norm"], row["eps"])
        for case in cases
        for row in case.attacked
        if row["eps"] is not None
    }
    norms = {row["norm"] for case in cases for row in case.attacked}
    more = {(budget.norm, budget.eps) for budget in budgets if budget.norm in norms}
    found = [AttackBudget(norm, budget) for norm, budget in sorted(of_rows | more)]
    check_all(cases, eps, found, perturbed)
    return [_scores(name, some, eps, found) for name, some in groups.items()]


def complete_rows(rows: Iterable[Row], names: Iterable[str]) -> list[Row]:
    """The rows of the triplets ``names``, of attacks that ran on all of these that have a row.

    A folder of several runs may hold attacks on a part of them: their scores would say too much.

    >>> rows = [{"image": "a", "attack": "none"}, {"image": "b", "attack": "none"}]
    >>> complete_rows([*rows, {"image": "a", "attack": "pgd"}], ["a", "b"]) == rows
    True
    """
    wanted = set(names)
    by_attack: dict[str, list[Row]] = {}
    for row in rows:
        if row["image"] in wanted:
            by_attack.setdefault(row["attack"], []).append(row)
    count = len(by_attack.get(CLEAN, ()))
    return [row for some in by_attack.values() if len(some) == count for row in some]


@dataclass(frozen=True)
class _Case:
    """One triplet: its clean row, and the rows of the attacks on it."""

    clean: Row
    attacked: list[Row]

    @property
    def group(self) -> str:
        return str(self.clean["group"] or "")

    @property
    def natural(self) -> float:
        return self._credit(self.clean["clean_prediction"])

    @property
    def worse(self) -> float:
        """What the worse of the two choices counts for."""
        return min(self._credit(0), self._credit(1))

    def certified(self, budget: AttackBudget, radius: str = "radius") -> float:
        """The certified score within a ``budget``: of linf, by the l2 ball around it."""
        reach = self.clean[radius]
        if reach is None or not reach > budget.eps * _l2_of(budget, self.clean):
            return self.worse
        return self.natural

    def under(self, attack: str | None, budget: AttackBudget) -> float:
        """The score within a ``budget`` under ``attack``, or under all of them together."""
        for row in self.attacked:
            mine = attack is None or row["attack"] == attack
            if mine and row["success"] and budget.holds(row[budget.norm]):
                return self.worse
        return self.natural

    def _credit(self, choice: int | None) -> float:
        right = self.clean["share"]
        if right is None:
            right = float(self.clean["label"] or 0)
        if choice is None:
            return 0.5
        return float(right if choice == 1 else 1 - right)


def _l2_of(budget: AttackBudget, row: Row) -> float:
    """How long in l2 a change of linf length 1 can be, 1 for an l2 budget."""
    return 1.0 if budget.norm == "l2" else math.sqrt(3 * row["height"] * row["width"])


def _cases(rows: Iterable[Row]) -> list[_Case]:
    clean: dict[str, Row] = {}
    attacked: dict[str, list[Row]] = {}
    for row in rows:
        if row["attack"] == CLEAN:
            clean[row["image"]] = row
        else:
            attacked.setdefault(row["image"], []).append(row)
    return [_Case(row, attacked.get(name, [])) for name, row in clean.items()]


def check_all(
    cases: Sequence[_Case], eps: Sequence[float], budgets: Sequence[AttackBudget], perturbed: str
) -> None:
    """Hold every triplet to certified <= empirical <= natural, at every budget and radius."""
    at = [*(AttackBudget("l2", value) for value in eps), *budgets]
    for case in cases:
        for budget in at:
            empirical = {
                name: case.under(name, budget) for name in _attacks([case], lambda _: True)
            }
            empirical[WORST] = case.under(None, budget)
            for radius in ("radius", "radius_paper"):
                check_order(
                    case.clean["image"],
                    f"{budget} on {perturbed}, {radius}",
                    case.natural,
                    empirical,
                    case.certified(budget, radius),
                )


def _scores(
    name: str, cases: Sequence[_Case], eps: Sequence[float], budgets: Sequence[AttackBudget]
) -> TwoAFCScores:
    proven = all(case.clean["radius"] is not None for case in cases)
    by_paper = proven and any(case.clean["radius_paper"] is not None for case in cases)
    radii = sorted(case.clean["radius"] for case in cases) if proven else []
    certified = [
        CertifiedScore(
            value,
            _mean(case.certified(AttackBudget("l2", value)) for case in cases) if proven else None,
            _mean(case.certified(AttackBudget("l2", value), "radius_paper") for case in cases)
            if by_paper
            else None,
        )
        for value in eps
    ]
    attacked = []
    for budget in budgets:

        def within(row: Row, budget: AttackBudget = budget) -> bool:
            mine: bool = row["norm"] == budget.norm and row["eps"] in (None, budget.eps)
            return mine

        attacked.append(
            AttackedScore(
                budget.norm,
                budget.eps,
                {
                    attack: _mean(case.under(attack, budget) for case in cases)
                    for attack in _attacks(cases, within)
                },
                _mean(case.under(None, budget) for case in cases),
                _mean(case.certified(budget) for case in cases) if proven else None,
            )
        )
    return TwoAFCScores(
        name=name,
        triplets=len(cases),
        natural=_mean(case.natural for case in cases),
        ties=sum(case.clean["clean_prediction"] is None for case in cases),
        radius_median=radii[len(radii) // 2] if radii else None,
        certified=certified,
        attacked=attacked,
    )


def _attacks(cases: Sequence[_Case], wanted: Callable[[Row], bool]) -> list[str]:
    names = (row["attack"] for case in cases for row in case.attacked if wanted(row))
    return list(dict.fromkeys(names))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def effort(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean seconds and model calls an attacked triplet, by attack."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["attacked"]:
            found.setdefault(row["attack"], []).append(row)
    return {
        attack: {
            name: _mean(float(row[name]) for row in some) for name in ("seconds", "model_calls")
        }
        for attack, some in found.items()
    }
