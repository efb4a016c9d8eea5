"""The published table of attacks: distances of what each of them made, beside the fair baseline.

    percert attack classify --images DATA/imagenet-compatible/images \\
        --labels DATA/imagenet-compatible/images.csv --model squeezenet1_0 --weights FILE \\
        --batch-size 10 --attack ascent --attack ssim-sqp ... --out runs/attacks
    python -m experiments attacks.comparison runs/attacks --data DATA --weights FILE \\
        --out docs/results

Settings of our attacks were chosen on the first 50 photographs that the classifier has right, in
the order of images.csv; they and the rest are printed apart. Every ratio is on the photographs that
both attacks succeeded on. ``percert eval attacks`` draws the same numbers of any run.
"""

import argparse
import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.conditions import conditions, write_result
from percert.evaluation.attack_runs.compare import BASELINE, as_json, number_attacks, ratios_to
from percert.evaluation.attack_runs.distances import Row, measure_run
from percert.metrics.catalog import create_metric
from percert.reports.table import Column, Table

DISTANCES = {
    "l1": "L1",
    "l2": "L2",
    "linf": "Linf",
    "ssim": "1-SSIM",
    "ms-ssim": "1-MS-SSIM",
    "gmsd": "GMSD",
    "mdsi": "MDSI",
    "haarpsi": "1-Haar",
    "fsim": "1-FSIM",
    "ciede2000": "CIEDE",
    "features": "LP",
}
MEASURED = ("ms-ssim", "gmsd", "mdsi", "haarpsi", "fsim", "ciede2000")
TUNED = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    folder = options.data / "imagenet-compatible"
    metrics = {name: create_metric(name, device="cpu") for name in MEASURED}
    metrics["features"] = create_metric("features", checkpoint=options.weights, device="cpu")
    rows = measure_run(options.run, folder / "images", metrics, options.run / "distances")
    with open(folder / "images.csv", newline="") as listed:
        order = [f"{row['ImageId']}.png" for row in csv.DictReader(listed)]
    right = {row["image"] for row in rows if row["attacked"]}
    tuned = [name for name in order if name in right][:TUNED]
    rest = sorted(right - set(tuned))
    result = {
        "conditions": asdict(conditions(seed=0)),
        "groups": {
            "tuned": comparisons(rows, tuned),
            "rest": comparisons(rows, rest),
            "all": comparisons(rows, sorted(right)),
        },
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_result(options.out / "attacks.json", result)
    page = report(result["groups"])
    (options.out / "attacks.md").write_text(page)
    print(page)


def comparisons(rows: Sequence[Row], images: Collection[str]) -> dict[str, Any]:
    """Every attack on those of ``images`` that it was run on, and beside the baseline."""
    return {
        "attacks": as_json(number_attacks(rows, list(DISTANCES), images=images)),
        "ratios": ratios_to(BASELINE, rows, list(DISTANCES), images=images),
    }


def report(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """The page: a table of means and one of ratios to the baseline, for each group."""
    titles = {
        "all": "All photographs",
        "tuned": f"The first {TUNED}, on which our settings were chosen",
        "rest": "The rest",
    }
    parts = ["# Attacks, measured\n\n", ABOUT]
    for name, title in titles.items():
        entries = groups[name]["attacks"]
        if not entries:
            continue
        ratios = {k: v for k, v in groups[name]["ratios"].items() if k != BASELINE}
        parts += [
            f"## {title}\n\n",
            Table.of(entries, MEANS).markdown(),
            f"\nMeans over those of `{BASELINE}`, on the photographs on which both succeeded:\n\n",
            Table.of(ratios, _of_ratios(ratios)).markdown(),
            "\n",
        ]
    return "".join(parts)


Entry = Mapping[str, Any]


def _mean(key: str) -> Callable[[Entry], float | None]:
    return lambda entry: (entry["distances"][key] or {}).get("mean")


MEANS: list[Column[Entry]] = [
    Column("attack", lambda entry: f"`{entry['attack']}`"),
    Column("images", lambda entry: entry["attacked"], "d"),
    Column("8-bit success", lambda entry: entry["success_8bit"], ".2f"),
    *(Column(title, _mean(key), ".2g") for key, title in DISTANCES.items()),
    Column("CPU s", lambda entry: entry["effort"]["cpu_seconds"], ".2g"),
    Column("calls", lambda entry: entry["effort"]["model_calls"], ".0f"),
]


def _of_ratios(ratios: Mapping[str, Mapping[str, float | None]]) -> list[Column[str]]:
    def ratio(key: str) -> Callable[[str], float | None]:
        return lambda attack: ratios[attack][key]

    return [
        Column("attack", lambda attack: f"`{attack}`"),
        Column("images", ratio("images"), ".0f"),
        *(Column(title, ratio(key), ".2f") for key, title in DISTANCES.items()),
        Column("CPU s", ratio("cpu_seconds"), ".2f"),
    ]


ABOUT = """SqueezeNet 1.0 on those of the 300 ImageNet-Compatible photographs (299 px) that it has
right. Distances are means over the images that are still adversarial after rounding to 8 bits;
lower is less visible. LP is the distance of SqueezeNet's own features. CPU seconds are one
process's, with one thread; calls are images passed forward through the model. Attacks were run on
as many photographs, in alphabetical order, as time allowed: the column says how many.

"""

if __name__ == "__main__":
    main()
