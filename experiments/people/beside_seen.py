"""Whether any other metric knows more of what people notice than ``seen`` does already.

    python -m experiments people.beside_seen --data DATA --runs out/people --out docs/results

Takes the distances that ``people.agreement`` left in --runs. Each metric is given a weight beside
``seen``'s own evidence (the logarithms of both, the weights by maximum likelihood), the best of
them in pairs, and everything is judged on photographs that were not fitted on.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize  # type: ignore[import-untyped]  # it ships no types

from experiments.conditions import conditions, write_result
from experiments.people.seen import FIFTHS
from percert.data.judged_pairs import noticed_pairs
from percert.evaluation.people.agreement import Array, clusters, spearman
from percert.files import write_whole
from percert.metrics.seen_study import OBSERVERS, coefficients
from percert.reports import read_records
from percert.reports.table import Column, Table

FOLDS, SHUFFLES, BEST = 10, 6, 6
#: A little pull of the weights towards 0, for three of them on 80 pairs.
RIDGE = 0.5


@dataclass(frozen=True)
class ChangeAnswers:
    """Of each changed pair: how many of how many said so, and the logarithms of its distances."""

    said: Array
    observers: Array
    picture: list[str]
    logs: dict[str, Array]
    false_alarms: float

    @property
    def share(self) -> Array:
        return self.said / self.observers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    answers = read_answers(
        options.data / "people" / "adversarials" / "pairs.csv",
        options.runs / "adversarials" / "records.parquet",
    )
    others = [name for name in answers.logs if name != OBSERVERS]
    alone = judged(answers, [OBSERVERS])
    singles = [judged(answers, [OBSERVERS, name]) for name in others]
    singles.sort(key=lambda one: -float(one["spearman"]))
    best = [one["metrics"][1] for one in singles[:BEST]]
    pairs = [judged(answers, [OBSERVERS, *two]) for two in combinations(best, 2)]
    pairs.sort(key=lambda one: -float(one["spearman"]))
    result = {
        "conditions": asdict(conditions(seed=0)),
        "folds": FOLDS,
        "shuffles": SHUFFLES,
        "found": [alone, *singles, *pairs[:BEST]],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_result(options.out / "seen-beside.json", result)
    write_whole(options.out / "seen-beside.md", page(result).encode())


def read_answers(table: Path, records: Path) -> ChangeAnswers:
    """The changed pairs. A distance by ``seen`` is turned back into its evidence."""
    by: dict[str, dict[str, float]] = {}
    for row in read_records(records):
        by.setdefault(row["pair"], {})[row["metric"]] = row["distance"]
    pairs = noticed_pairs(table)
    found = [by[f"{pair.reference} | {pair.candidate}"] for pair in pairs]
    observers = np.array([float(pair.observers or 0) for pair in pairs])
    said = np.array([pair.seen for pair in pairs]) * observers
    moved: npt.NDArray[np.bool_] = np.array([one["l2"] > 0 for one in found])
    logs = {
        name: np.log(
            [max(one[name], 1e-9) for one, there in zip(found, moved, strict=True) if there]
        )
        for name in found[0]
        if not name.startswith("(")
    }
    share = np.exp(logs[OBSERVERS])
    logs[OBSERVERS] = np.log(share / (1 - share)) / coefficients().slope
    return ChangeAnswers(
        said[moved],
        observers[moved],
        [str(pair.reference) for pair, there in zip(pairs, moved, strict=True) if there],
        logs,
        float(said[~moved].sum() / observers[~moved].sum()),
    )


def judged(answers: ChangeAnswers, names: Sequence[str]) -> dict[str, Any]:
    """Spearman, Brier score and the worst fifth's error of the held-out, over several foldings."""
    features = np.stack([answers.logs[name] for name in names], 1)
    features = (features - features.mean(0)) / features.std(0)
    found = [_scores(answers, _held_out(answers, features, seed)) for seed in range(SHUFFLES)]
    mean = np.mean(found, 0)
    keys = ("spearman", "brier", "worst_fifth")
    return {"metrics": list(names), **dict(zip(keys, map(float, mean), strict=True))}


def _held_out(answers: ChangeAnswers, features: Array, seed: int) -> Array:
    groups = clusters(answers.picture)
    order = np.random.default_rng(seed).permutation(len(groups))
    predicted = np.full(len(features), np.nan)
    for some in np.array_split(order, FOLDS):
        out = np.concatenate([groups[place] for place in some])
        rest = np.setdiff1d(np.arange(len(features)), out)
        weights = _fit(answers, features, rest)
        predicted[out] = _share(answers, features[out], weights)
    return predicted


def _share(answers: ChangeAnswers, features: Array, weights: Array) -> Array:
    odds: Array = np.exp(np.clip(features @ weights[1:] + weights[0], -30, 30))
    return answers.false_alarms + (1 - answers.false_alarms) * odds / (1 + odds)


def _fit(answers: ChangeAnswers, features: Array, some: Any) -> Array:
    said, unsaid = answers.said[some], (answers.observers - answers.said)[some]
    ridge = RIDGE if features.shape[1] > 2 else 0.0

    def misfit(weights: Array) -> float:
        share = np.clip(_share(answers, features[some], weights), 1e-6, 1 - 1e-6)
        missed = -(said * np.log(share) + unsaid * np.log(1 - share)).sum()
        return float(missed + ridge * (weights[1:] ** 2).sum())

    start = np.array([0.0, *np.full(features.shape[1], 2 / features.shape[1])])
    found: Array = minimize(misfit, start, method="BFGS").x
    return found


def _scores(answers: ChangeAnswers, predicted: Array) -> tuple[float, float, float]:
    said = answers.share
    brier = (predicted**2 * (1 - said) + (1 - predicted) ** 2 * said).mean()
    fifths = np.array_split(np.argsort(predicted, kind="stable"), FIFTHS)
    worst = max(abs(float(predicted[part].mean() - said[part].mean())) for part in fifths)
    return spearman(predicted, said), float(brier), worst


def page(result: Mapping[str, Any]) -> str:
    """A table: ``seen`` alone, with each other metric, and with the best two by two."""
    return ABOUT + Table.of(result["found"], COLUMNS).markdown()


COLUMNS: list[Column[Mapping[str, Any]]] = [
    Column("beside `seen`", lambda one: _names(one["metrics"][1:])),
    Column("Spearman", itemgetter("spearman"), ".3f"),
    Column("Brier score", itemgetter("brier"), ".4f"),
    Column("worst fifth", itemgetter("worst_fifth"), ".3f"),
]


def _names(metrics: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in metrics) or "nothing"


ABOUT = f"""# What other metrics add to seen

Written by `python -m experiments people.beside_seen`. [`seen`](seen.md) ranks what observers notice
of changed pairs with a Spearman of .91 on photographs not fitted on, where .93 was aimed at. Here
every other metric whose weights can be had stands beside its evidence with a weight of its own, and
the best six in pairs; of the pairs the first six are shown. All figures are of photographs that
were not fitted on ({FOLDS} folds, means of {SHUFFLES} foldings); the last column is how far the
prediction is off in the worst fifth of the pairs. The interval of one Spearman on 40 photographs is
.08 wide, so that what lies within .01 is one and the same, and the best of twenty flatters: nothing
here is reason for another metric, and one that is fitted to more answers is what would be.

"""

if __name__ == "__main__":
    main()
