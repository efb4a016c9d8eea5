"""Attacks judged by people: how many would notice, as a predictor has it that shares nothing.

    python -m experiments people.attacks --data DATA --model efficientnet-lite0 \\
        --setting confidence-5 --runs out/people-attacks --out docs/results [--weights FILE]

Each setting asks for more than a plain attack does, so that changes are large enough to be seen.
The judge is ST-LPIPS over AlexNet, fitted to what observers said as ``seen`` is: its features are
of a network, not of contrasts, and no attack here minimises it. A run that was stopped goes on, and
models and settings can be measured one at a time.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.conditions import conditions, write_result
from percert.data.judged_pairs import noticed_pairs
from percert.evaluation.attack_runs.run import AttackRecipe, ClassifierSet, attack_set
from percert.evaluation.people.agreement import Array
from percert.images import load_image
from percert.metrics.catalog import create_metric
from percert.reports import read_records
from percert.reports.records import Row
from percert.reports.table import Column, Table

BASELINE = "ascent"
JUDGE = "st-lpips-alex"
MEASURED = (JUDGE, "mdsi", "seen")
#: What each setting asks of the attack, and of those that cannot be asked in its own words.
SETTINGS: dict[str, tuple[float, str]] = {
    "plain": (0.0, ""),
    "confidence-5": (5.0, ""),
    "survive-jpeg-75": (0.0, "jpeg-75"),
}
ATTACKS = (BASELINE, "ssim-sqp", "ssim-sqp:cost=seen", "ddn", "perc-al")
DRAWS = 1000


@dataclass(frozen=True)
class JudgeFit:
    """The share who notice at a distance: ``odds = (distance / half) ** slope``."""

    false_alarms: float
    half: float
    slope: float

    def share(self, distances: Array) -> Array:
        odds = (np.maximum(distances, 0) / self.half) ** self.slope
        return self.false_alarms + (1 - self.false_alarms) * odds / (1 + odds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--setting", choices=SETTINGS, action="append")
    parser.add_argument("--attack", action="append")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    judge = fit_judge(options.data / "people" / "adversarials" / "pairs.csv", options.runs)
    photographs = options.data / "imagenet-compatible"
    found = _before(options.out / "people-attacks.json")
    for setting in options.setting or SETTINGS:
        confidence, survive = SETTINGS[setting]
        wanted = options.attack or ATTACKS
        names = {_asked(name, survive): name for name in wanted}
        folder = options.runs / f"{options.model}-{setting}"
        attack_set(
            ClassifierSet(
                images=photographs / "images",
                labels=photographs / "images.csv",
                labels_from="1",
                model=options.model,
                weights=options.weights,
            ),
            AttackRecipe(
                attacks=tuple(name for name in names if name is not None),
                confidence=confidence,
                metrics={name: None for name in MEASURED if name != "seen"},
                limit=options.limit,
                batch_size=options.batch_size,
                device="cpu",
                save=False,
            ),
            folder,
            progress=_say,
        )
        rows = read_records(folder / "records.parquet")
        found["runs"][f"{options.model}, {setting}"] = numbers(rows, judge)
    found |= {"conditions": asdict(conditions(seed=0)), "judge": {"metric": JUDGE, **asdict(judge)}}
    options.out.mkdir(parents=True, exist_ok=True)
    write_result(options.out / "people-attacks.json", found)
    (options.out / "people-attacks.md").write_text(page(found), encoding="utf-8")
    print(page(found))


def _before(path: Path) -> dict[str, Any]:
    """What other models and settings gave, so that a part at a time can be measured."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"runs": {}}
    return found


def _asked(attack: str, survive: str) -> str | None:
    """The attack with the defence that it must survive; ``None`` where it cannot be asked."""
    if not survive:
        return attack
    if not attack.startswith("ssim-sqp"):
        return None
    return f"{attack}{',' if ':' in attack else ':'}survive={survive}"


@torch.no_grad()
def fit_judge(table: Path, cache: Path) -> JudgeFit:
    """The judge's two numbers, most likely given what observers said."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]  # it ships no types

    kept = cache / "judge.json"
    if kept.exists():
        return JudgeFit(**json.loads(kept.read_text()))
    metric, pairs = create_metric(JUDGE, device="cpu"), noticed_pairs(table)
    measured = [
        metric(load_image(pair.reference)[None], load_image(pair.candidate)[None]).item()
        for pair in pairs
    ]
    distances = np.array(measured)
    observers = np.array([float(pair.observers or 0) for pair in pairs])
    said = observers * np.array([pair.seen for pair in pairs])
    same = distances <= 0
    alarms = float(said[same].sum() / observers[same].sum())

    def misfit(values: Array) -> float:
        share = JudgeFit(alarms, *map(float, np.exp(values))).share(distances[~same])
        share = np.clip(share, 1e-6, 1 - 1e-6)
        unsaid = (observers - said)[~same]
        return float(-(said[~same] * np.log(share) + unsaid * np.log(1 - share)).sum())

    start = np.log([np.median(distances[~same]), 1.0])
    half, slope = np.exp(minimize(misfit, start, method="Nelder-Mead").x)
    fitted = JudgeFit(alarms, float(half), float(slope))
    cache.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(fitted)))
    return fitted


def numbers(rows: Sequence[Row], judge: JudgeFit) -> list[dict[str, Any]]:
    """One entry an attack: success, MDSI beside the baseline, and how many would notice."""
    by: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["attacked"]:
            by.setdefault(row["attack"], {})[row["image"]] = row
    baseline = by.get(BASELINE, {})
    made = []
    for attack, some in by.items():
        won = {name: row for name, row in some.items() if row["success_8bit"]}
        both = [name for name in won if baseline.get(name, {}).get("success_8bit")]
        noticed = judge.share(np.array([won[name][JUDGE] for name in won], dtype=float))
        entry: dict[str, Any] = {
            "attack": attack,
            "images": len(some),
            "success_8bit": len(won) / len(some),
            "l2": float(np.mean([row["l2"] for row in won.values()])) if won else None,
            "noticed_beyond_false_alarms": _interval(noticed - judge.false_alarms),
            "seen": _interval(np.array([row["seen"] for row in won.values()], dtype=float)),
        }
        if both:
            ours, theirs = (np.array([of[name]["mdsi"] for name in both]) for of in (won, baseline))
            entry["mdsi"] = {
                "ratio_of_means": _ratio_interval(ours, theirs),
                "mean_of_ratios": float((ours / theirs).mean()),
                "median_of_ratios": float(np.median(ours / theirs)),
            }
        made.append(entry)
    return made


def _interval(values: Array) -> dict[str, float] | None:
    """A mean, and the middle 95 % of it over draws of photographs."""
    if not len(values):
        return None
    drawn = values[_draws(len(values))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def _ratio_interval(ours: Array, theirs: Array) -> dict[str, float]:
    index = _draws(len(ours))
    low, high = np.quantile(ours[index].mean(1) / theirs[index].mean(1), [0.025, 0.975])
    ratio = float(ours.mean() / theirs.mean())
    return {"value": ratio, "low": float(low), "high": float(high)}


def _draws(count: int) -> Any:
    return np.random.default_rng(0).integers(0, count, (DRAWS, count))


def page(found: Mapping[str, Any]) -> str:
    """The page: a table a model and setting."""
    parts = [ABOUT]
    for name, entries in found["runs"].items():
        parts.append(f"\n## {name}\n\n{Table.of(entries, COLUMNS).markdown()}")
    return "".join(parts)


def _mdsi(key: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda one: one.get("mdsi", {}).get(key)


def _said(one: Mapping[str, float]) -> str:
    mean = one["mean"] if "mean" in one else one["value"]
    return f"{mean:.3f} ({one['low']:.3f} to {one['high']:.3f})"


COLUMNS: list[Column[Mapping[str, Any]]] = [
    Column("attack", lambda one: f"`{one['attack']}`"),
    Column("images", itemgetter("images"), "d"),
    Column("8-bit success", itemgetter("success_8bit"), ".2f"),
    Column("l2", itemgetter("l2"), ".2f"),
    Column("noticed, judge", itemgetter("noticed_beyond_false_alarms"), _said),
    Column("noticed, `seen`", itemgetter("seen"), _said),
    Column("MDSI, ratio of means", _mdsi("ratio_of_means"), _said),
    Column("mean of ratios", _mdsi("mean_of_ratios"), ".2f"),
    Column("median", _mdsi("median_of_ratios"), ".2f"),
]


def _say(what: str, done: int, total: int) -> None:
    print(f"{what}: {done} of {total}", flush=True)


ABOUT = """# Attacks, judged by people

Written by `python -m experiments people.attacks`, a model and setting at a time, on the first of
the ImageNet-Compatible photographs. The share of observers who would notice, false alarms taken
off, as a mean over the attack's successes: by ST-LPIPS over AlexNet fitted to what observers said
(a judge that no attack here minimises, and whose features none shares), and by `seen`, which
`cost=seen` is made from. MDSI is beside that of the fair baseline (`ascent`) on the photographs on
which both succeed. In parentheses the 95 % interval of a bootstrap over photographs. Distances are
of the files of 8 bits.
"""

if __name__ == "__main__":
    main()
