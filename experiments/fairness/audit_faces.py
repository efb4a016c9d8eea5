"""Two classifiers of faces audited by race and age, and what fairlearn and aif360 say of them.

    python -m experiments fairness.audit_faces --data ../shared/data --out docs/results

``audits/face-gender.csv.gz`` has 12,026 photographs (UTKFace) with label, race and age, and the
answers of FairFace and DeepFace on gender. Needs fairlearn; aif360 where it is installed. Writes
``audit-faces.json`` and ``.md``.
"""

import argparse
import json
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]  # it ships no types
from fairlearn.metrics import (  # type: ignore[import-untyped]  # it ships no types
    MetricFrame,
    equalized_odds_difference,
)

from percert.fairness import AuditSettings, audit_groups, check_predictions
from percert.fairness.audit_result import GroupAudit
from percert.files import write_whole
from percert.reports.table import Column, Table, finite

BANDS = {"under 18": (0, 18), "18 to 39": (18, 40), "40 to 59": (40, 60), "60 and over": (60, 200)}
MARGIN = 0.05
#: The class that counts as positive, and the group that aif360 takes as privileged.
POSITIVE, PRIVILEGED = "Male", {"race": "White", "band": "18 to 39"}


def read_faces(path: Path) -> pd.DataFrame:
    """The table with the age in bands."""
    rows = pd.read_csv(path)
    rows["band"] = ""
    for name, (low, high) in BANDS.items():
        rows.loc[(rows["age"] >= low) & (rows["age"] < high), "band"] = name
    return rows


def ours(rows: pd.DataFrame, by: tuple[str, ...]) -> tuple[GroupAudit, float]:
    """The whole audit, and its seconds."""
    began = time.perf_counter()
    frame = check_predictions(rows, by=by, strata=("label",))
    settings = AuditSettings(by=by, strata=("label",), margin=MARGIN)
    return audit_groups(frame, settings=settings), time.perf_counter() - began


def peers(rows: pd.DataFrame, model: str, by: str) -> dict[str, Any]:
    """What fairlearn and aif360 give for one model and one column."""
    some = rows[rows["model"] == model]
    right = some["correct"]
    began = time.perf_counter()
    frame = MetricFrame(
        metrics=lambda truth, found: float((truth == found).mean()),
        y_true=some["label"],
        y_pred=some["prediction"],
        sensitive_features=some[by],
        n_boot=100,
        ci_quantiles=[0.025, 0.975],
        random_state=0,
    )
    low, high = (float(value) for value in frame.difference_ci())
    found: dict[str, Any] = {
        "fairlearn_gap": float(frame.difference()),
        "fairlearn_ratio": float(frame.ratio()),
        "fairlearn_bootstrap": [low, high],
        "fairlearn_equalized_odds": float(
            equalized_odds_difference(
                (some["label"] == POSITIVE).astype(int),
                (some["prediction"] == POSITIVE).astype(int),
                sensitive_features=some[by],
            )
        ),
        "fairlearn_seconds": time.perf_counter() - began,
        "accuracy": float(right.mean()),
    }
    return found | aif360(some, by)


def aif360(rows: pd.DataFrame, by: str) -> dict[str, Any]:
    """The privileged group against all others, as that is what it asks for."""
    try:
        from aif360.datasets import BinaryLabelDataset  # type: ignore[import-not-found]
        from aif360.metrics import ClassificationMetric  # type: ignore[import-not-found]
    except ImportError:
        return {}
    parts = []
    for column in ("label", "prediction"):
        table = pd.DataFrame(
            {
                "answer": (rows[column] == POSITIVE).astype(float).to_numpy(),
                by: (rows[by] == PRIVILEGED[by]).astype(float).to_numpy(),
            }
        )
        parts.append(
            BinaryLabelDataset(df=table, label_names=["answer"], protected_attribute_names=[by])
        )
    metric = ClassificationMetric(
        *parts, unprivileged_groups=[{by: 0.0}], privileged_groups=[{by: 1.0}]
    )
    return {
        "aif360_statistical_parity": float(metric.statistical_parity_difference()),
        "aif360_equal_opportunity": float(metric.equal_opportunity_difference()),
        "aif360_average_odds": float(metric.average_odds_difference()),
        "aif360_version": version("aif360"),
    }


def measure(path: Path) -> dict[str, Any]:
    """Every model by race, by band, and by both."""
    rows = read_faces(path)
    answers = []
    for by in (("race",), ("band",), ("race", "band")):
        audit, seconds = ours(rows, by)
        for model in audit.models["models"]:
            gap = audit.measures[model][1]
            worst = audit.measures[model][0]
            odds = audit.measures[model][-1]
            test, mix = audit.estimates[model].heterogeneity, audit.mixes[model]
            assert test is not None
            whole = next(entry for entry in audit.resolutions if entry.model == model)
            joint = [line for line in audit.joint if line.model == model]
            answers.append(
                {
                    "by": list(by),
                    "model": model,
                    "images": int(audit.table.n.sum()),
                    "groups": len(audit.table.n),
                    "left_out": len(audit.table.left_out),
                    "gap": gap.value,
                    "gap_interval": gap.interval,
                    "gap_by_chance": gap.by_chance,
                    "lowest": worst.group,
                    "lowest_share": worst.value,
                    "lowest_interval": worst.interval,
                    "lowest_candidates": worst.candidates,
                    "equalized_odds": odds.value,
                    "equalized_odds_interval": odds.interval,
                    "p_alike": test.p_value,
                    "p_within_label": mix.p_value,
                    "shown_within": whole.within,
                    "detectable": whole.detectable,
                    "terms": [
                        {"name": t.name, "p": t.test.p_adjusted}
                        for line in joint
                        for t in line.terms
                    ],
                    "beyond": joint[0].beyond if joint else None,
                    "seconds": seconds,
                    "peers": peers(rows, model, by[0]) if len(by) == 1 else None,
                }
            )
    return {
        "what": "two classifiers of faces by race and age",
        "positive": POSITIVE,
        "answers": answers,
        "versions": {name: version(name) for name in ("fairlearn", "numpy", "pandas", "scipy")},
    }


def describe(result: dict[str, Any]) -> str:
    """The page."""

    def ends(values: Any) -> str:
        return f"{values[0]:.3f} to {values[1]:.3f}"

    def by(row: dict[str, Any]) -> str:
        return " and ".join("age" if name == "band" else name for name in row["by"])

    answers = result["answers"]
    mine: list[Column[dict[str, Any]]] = [
        Column("classifier", lambda row: row["model"]),
        Column("by", by),
        Column("groups", lambda row: row["groups"], "d"),
        Column("gap of accuracy", lambda row: row["gap"], ".3f"),
        Column("95 % interval", lambda row: row["gap_interval"], ends),
        Column("by chance", lambda row: row["gap_by_chance"], ".3f"),
        Column(
            "lowest (may be the one)",
            lambda row: f"{row['lowest']} {row['lowest_share']:.3f} ({row['lowest_candidates']})",
        ),
        Column("p, alike", lambda row: row["p_alike"], ".2g"),
        Column("p, within label", lambda row: row["p_within_label"], ".2g"),
        Column("shown fair within", lambda row: row["shown_within"], ".3f"),
    ]
    single = [row for row in answers if row["peers"]]
    theirs: list[Column[dict[str, Any]]] = [
        Column("classifier", lambda row: row["model"]),
        Column("by", by),
        Column("gap", lambda row: row["gap"], ".4f"),
        Column("fairlearn's gap", lambda row: row["peers"]["fairlearn_gap"], ".4f"),
        Column("interval", lambda row: row["gap_interval"], ends),
        Column("fairlearn's bootstrap", lambda row: row["peers"]["fairlearn_bootstrap"], ends),
        Column("equalised odds", lambda row: row["equalized_odds"], ".4f"),
        Column("fairlearn's", lambda row: row["peers"]["fairlearn_equalized_odds"], ".4f"),
        Column(
            "aif360, equal opportunity",
            lambda row: row["peers"].get("aif360_equal_opportunity"),
            "+.4f",
        ),
        Column("aif360, average odds", lambda row: row["peers"].get("aif360_average_odds"), "+.4f"),
    ]
    both = [row for row in answers if row["terms"] and len(row["by"]) > 1]
    beside = " ".join(
        f"{row['model']}: "
        + ", ".join(
            f"{'age' if term['name'] == 'band' else term['name']} p = {term['p']:.2g}"
            for term in row["terms"]
        )
        + f"; beyond both p = {row['beyond'][2]:.2g}."
        for row in both
    )
    aif = single[0]["peers"].get("aif360_version")
    versions = ", ".join(f"{name} {found}" for name, found in result["versions"].items())
    return "\n".join(
        [
            "# Two classifiers of faces, audited",
            "",
            "FairFace's and DeepFace's answers on gender for 12,026 photographs of UTKFace, by "
            f"race and by age in four bands ({', '.join(BANDS)}), made by `python -m experiments "
            f"fairness.audit_faces` with {versions}"
            + (f", aif360 {aif}" if aif else "")
            + ". Labels are those of the data set, as are its categories of race.",
            "",
            Table.of(answers, mine).markdown(),
            "By chance: the gap that groups of these sizes show on average where all are alike. In "
            "brackets: how many groups may be the lowest. Within label: the generalised "
            "Cochran-Mantel-Haenszel test, women and men apart.",
            "",
            f"Race and age beside each other (F-tests over the intersections, Holm). {beside}",
            "",
            "## What fairlearn and aif360 say of the same data",
            "",
            Table.of(single, theirs).markdown(),
            "The values of fairlearn are the same. Its bootstrap is narrower: it says how far the "
            "gap seen would move, and not how far luck may have carried it from the true one, "
            "which counts most where groups are many and small ([audit-level](audit-level.md)). "
            "aif360 "
            f"compares one group ({PRIVILEGED['race']}; {PRIVILEGED['band']}) with all others, "
            f"{POSITIVE} positive, without intervals: differences among the others are averaged "
            "away. Neither tests whether groups differ, says what chance alone would show, or "
            "compares within classes.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    result = finite(measure(arguments.data / "audits" / "face-gender.csv.gz"))
    path = arguments.out / "audit-faces.json"
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())
    write_whole(path.with_suffix(".md"), describe(result).encode())
    print(describe(result))


if __name__ == "__main__":
    main()
