"""How often the classifiers with cards are right on the ImageNet-Compatible photographs.

python -m experiments attacks.classifiers --data ../shared/data --weights FILE --out docs/results

One photograph at a time, as the file is; ``--weights`` are SqueezeNet's. Writes classifiers.json.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.conditions import Conditions, conditions, write_result
from experiments.photographs import DEFAULT_DATA
from percert.images import load_image
from percert.models import load_classifier, shipped_cards

SQUEEZENET = "squeezenet1_0"


@dataclass(frozen=True)
class Accuracy:
    """Of how many photographs the classifier's first, and one of its first five, is the label."""

    model: str
    photographs: int
    top_1: int
    top_5: int


@dataclass(frozen=True)
class ClassifierAccuracies:
    benchmark: str
    accuracies: list[Accuracy]
    conditions: Conditions


def measure(name: str, weights: Path | None, folder: Path, limit: int | None) -> Accuracy:
    """The accuracy of the classifier ``name`` on the photographs of ``folder``."""
    model = load_classifier(name, "cpu", weights)
    first = among = count = 0
    with open(folder / "images.csv", newline="") as listed:
        for row in csv.DictReader(listed):
            path = folder / "images" / f"{row['ImageId']}.png"
            if not path.is_file() or count == limit:
                continue
            with torch.no_grad():
                best = model(load_image(path)[None])[0].topk(5).indices.tolist()
            label = int(row["TrueLabel"]) - 1
            first, among, count = first + (best[0] == label), among + (label in best), count + 1
    return Accuracy(name, count, first, among)


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of the classifiers with cards.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--weights", type=Path, help="SqueezeNet's; it is left out without them")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--limit", type=int, help="the first photographs only")
    options = parser.parse_args()
    folder = options.data / "imagenet-compatible"
    names = [name for name in shipped_cards() if name != SQUEEZENET or options.weights]
    found = [
        measure(name, options.weights if name == SQUEEZENET else None, folder, options.limit)
        for name in names
    ]
    for one in found:
        print(f"{one.model}: {one.top_1} and {one.top_5} of {one.photographs} right")
    write_result(
        options.out / "classifiers.json", ClassifierAccuracies("classifiers", found, conditions(0))
    )


if __name__ == "__main__":
    main()
