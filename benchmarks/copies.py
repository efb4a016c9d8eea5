"""Copies under edits: found, certified, and found after an attack.

    python -m benchmarks.copies --data ../shared/data --out docs/results

Each edited photograph is a query, each original a reference; query i and reference i are copies,
all other pairs are negatives. One JSON file for each detector.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from benchmarks.attacked_copies import AttackedRates, attacked_rates
from benchmarks.conditions import Conditions, conditions, write_result
from benchmarks.copy_rates import (
    GroupRates,
    certified_threshold,
    copy_radii,
    group_rates,
)
from benchmarks.detectors import Described, Detector
from benchmarks.edited import batches, describe_all, edited_batches
from benchmarks.operating_point import Distances
from benchmarks.photographs import DEFAULT_DATA, as_tensor, compatible, samples
from benchmarks.roster import NAMES, make_detector
from percert.data.copy_edits import EDITS, HARD_EDITS, USUAL_EDITS

#: What the attacked subset is made of.
ATTACKED_EDITS = ("jpeg-50", "rescale-0.5", "crop-90-random", "brightness-1.3")


@dataclass
class Measured:
    """What one pass over the edited photographs gives of one detector."""

    references: Described
    distances: dict[str, Distances] = field(default_factory=dict)
    candidates: dict[str, Described] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class CopiesResult:
    """Everything measured of one detector; rates are shares in [0, 1]."""

    benchmark: str
    metric: str
    photographs: int
    distractors: int
    groups: list[GroupRates]
    attacked: AttackedRates | None
    describe_seconds: float
    attack_seconds: float
    conditions: Conditions


def measure(
    detectors: Sequence[Detector],
    photographs: Sequence[Image.Image],
    distractors: Sequence[Image.Image],
    seed: int,
) -> tuple[dict[str, Measured], dict[str, tuple[int, int]]]:
    """Distances of every edited photograph to every original, and the size of each edit's images.

    Raises ``ValueError`` unless all photographs have one size.
    """
    sizes = {image.size for image in photographs}
    if len(sizes) != 1:
        raise ValueError(f"photographs: expected one size, found {sorted(sizes)}")
    originals, _ = describe_all(detectors, batches(photographs))
    measured = {name: Measured(references) for name, references in originals.items()}
    gallery = {name: described.vectors for name, described in originals.items()}
    for image in distractors:
        pixels = as_tensor([image])
        for detector in detectors:
            extra = detector.describe(pixels).vectors
            gallery[detector.name] = torch.cat([gallery[detector.name], extra])
    edit_sizes: dict[str, tuple[int, int]] = {}
    for edit in EDITS:
        described, seconds = describe_all(detectors, edited_batches(photographs, edit, seed))
        width, height = next(edited_batches(photographs[:2], edit, seed))[0].size
        edit_sizes[edit.name] = (height, width)
        for detector in detectors:
            mine, found = measured[detector.name], described[detector.name]
            start = perf_counter()
            distances = detector.distances(found.vectors, gallery[detector.name])
            mine.seconds += seconds[detector.name] + perf_counter() - start
            mine.distances[edit.name] = distances.numpy()
            if found.features is not None:
                mine.candidates[edit.name] = found
    return measured, edit_sizes


def rates(measured: Measured, sizes: dict[str, tuple[int, int]]) -> tuple[GroupRates, GroupRates]:
    """The usual and the hard edits, each with the radii at its own threshold."""

    def radii(threshold: float) -> dict[str, Distances]:
        return {
            name: copy_radii(measured.references, candidates, sizes[name], threshold)
            for name, candidates in measured.candidates.items()
        }

    thresholds = [
        certified_threshold(edits, measured.distances) for edits in (USUAL_EDITS, HARD_EDITS)
    ]
    usual = group_rates("usual", USUAL_EDITS, measured.distances, radii(thresholds[0]))
    hard = group_rates("hard", HARD_EDITS, measured.distances, radii(thresholds[1]), usual.points)
    return usual, hard


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    photographs = compatible(options.data, options.limit)
    distractors = samples(options.data) if options.distractors else []
    detectors = [
        make_detector(name, options.data, options.checkpoint) for name in (options.metric or NAMES)
    ]
    measured, sizes = measure(detectors, photographs, distractors, options.seed)
    for detector in detectors:
        mine = measured[detector.name]
        usual, hard = rates(mine, sizes)
        start = perf_counter()
        attacked = None
        if options.attacked:
            threshold = certified_threshold(USUAL_EDITS, mine.distances)
            attacked = attacked_rates(
                detector,
                photographs,
                ATTACKED_EDITS,
                _spread(len(photographs), options.attacked),
                threshold,
                options.steps,
                options.seed,
            )
        result = CopiesResult(
            "copies",
            detector.name,
            len(photographs),
            len(distractors),
            [usual, hard],
            attacked,
            round(mine.seconds, 3),
            round(perf_counter() - start, 3),
            conditions(options.seed),
        )
        write_result(options.out / f"copies-{detector.name}.json", result)
        at = usual.points[1]
        print(
            f"{detector.name:14} usual {at.tpr:.4f} hard {hard.points[1].tpr:.4f} at 1e-3, "
            f"describe {mine.seconds:.0f} s, attack {result.attack_seconds:.0f} s",
            flush=True,
        )


def _spread(count: int, wanted: int) -> list[int]:
    """``wanted`` indices spread evenly over ``count``."""
    places = np.linspace(0, count - 1, min(wanted, count)).round()
    return [int(place) for place in np.unique(places)]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Copies under edits: found, certified, attacked.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--metric", action="append", help="repeatable; all of them if not given")
    parser.add_argument("--checkpoint", action="append", default=[], help="NAME=FILE; repeatable")
    parser.add_argument("--limit", type=int, help="the first photographs only")
    parser.add_argument("--attacked", type=int, default=20, help="photographs attacked, 0 for none")
    parser.add_argument("--steps", type=int, default=20, help="of the attack, at each budget")
    parser.add_argument("--distractors", action="store_true", help="add the 900 photographs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
