"""Copies under edits: found, certified, and found after an attack.

    python -m experiments copies.edits --data ../shared/data --out docs/results

Each edited photograph is a query, each original a reference; query i and reference i are copies,
all other pairs are negatives. One JSON file for each detector.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

from experiments.conditions import Conditions, conditions, write_result
from experiments.detectors import NAMES, make_detector
from experiments.photographs import DEFAULT_DATA, compatible, samples
from percert.data.copy_edits import EDITS, HARD_EDITS, USUAL_EDITS, Edit
from percert.evaluation.copies.attack import AttackedPair, AttackedRates, attacked_rates
from percert.evaluation.copies.measure import Measured, copy_radii, measure, spread
from percert.evaluation.copies.rates import Distances, GroupRates, certified_threshold, group_rates

#: What the attacked subset is made of.
ATTACKED_EDITS = ("jpeg-50", "rescale-0.5", "crop-90-random", "brightness-1.3")


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


def rates(measured: Measured) -> tuple[GroupRates, GroupRates]:
    """The usual and the hard edits, each with the radii at its own threshold."""
    own = measured.own

    def radii(edits: Sequence[Edit]) -> dict[str, Distances]:
        threshold = certified_threshold(edits, measured.distances, own)
        found = {edit.name: copy_radii(measured, edit, threshold) for edit in edits}
        return {name: radius for name, radius in found.items() if radius is not None}

    usual = group_rates("usual", USUAL_EDITS, measured.distances, radii(USUAL_EDITS), own=own)
    hard = group_rates(
        "hard", HARD_EDITS, measured.distances, radii(HARD_EDITS), usual.points, own=own
    )
    return usual, hard


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    photographs = compatible(options.data, options.limit)
    distractors = samples(options.data) if options.distractors else []
    detectors = [
        make_detector(name, options.data, options.checkpoint) for name in (options.metric or NAMES)
    ]
    count = len(photographs)
    measured = measure(
        detectors, [*photographs, *distractors], range(count), EDITS, seed=options.seed
    )
    for detector in detectors:
        mine = measured[detector.name]
        usual, hard = rates(mine)
        start = perf_counter()
        attacked = None
        if options.attacked:
            chosen = spread(count, options.attacked)
            attacked = attacked_rates(
                detector,
                mine.gallery,
                photographs,
                [AttackedPair(place, name, place) for name in ATTACKED_EDITS for place in chosen],
                certified_threshold(USUAL_EDITS, mine.distances, mine.own),
                copies=True,
                steps=options.steps,
                seed=options.seed,
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
