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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.conditions import conditions, write_result
from experiments.tables import markdown
from percert.evaluation.attack_runs.compare import BASELINE, as_json, number_attacks, ratios_to
from percert.evaluation.attack_runs.distances import Row, measure_run
from percert.metrics.catalog import create_metric

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
        header = ["attack", "images", "8-bit success", *DISTANCES.values(), "CPU s", "calls"]
        lines = [
            [
                f"`{entry['attack']}`",
                str(entry["attacked"]),
                f"{entry['success_8bit']:.2f}",
                *(_two((entry["distances"][key] or {}).get("mean")) for key in DISTANCES),
                _two(entry["effort"]["cpu_seconds"]),
                f"{entry['effort']['model_calls']:.0f}",
            ]
            for entry in entries
        ]
        parts += [f"## {title}\n\n", markdown(header, lines), "\n"]
        header = ["attack", "images", *DISTANCES.values(), "CPU s"]
        lines = [
            [
                f"`{attack}`",
                f"{ratios['images']:.0f}",
                *(_ratio(ratios[key]) for key in (*DISTANCES, "cpu_seconds")),
            ]
            for attack, ratios in groups[name]["ratios"].items()
            if attack != BASELINE
        ]
        parts += [
            f"Means over those of `{BASELINE}`, on the photographs on which both succeeded:\n\n",
            markdown(header, lines),
            "\n",
        ]
    return "".join(parts)


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


ABOUT = """SqueezeNet 1.0 on those of the 300 ImageNet-Compatible photographs (299 px) that it has
right. Distances are means over the images that are still adversarial after rounding to 8 bits;
lower is less visible. LP is the distance of SqueezeNet's own features. CPU seconds are one
process's, with one thread; calls are images passed forward through the model. Attacks were run on
as many photographs, in alphabetical order, as time allowed: the column says how many.

"""

if __name__ == "__main__":
    main()
