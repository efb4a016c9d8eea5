"""The default's recipe, one thing changed at a time, each trained for equal seconds.

    python -m experiments copies.ablation --data data --seconds 90 --work runs/ablation \
        --out docs/results

The recipe of the embedded default, its pictures, losses and shape, and one change in each arm
(``--arm``, repeatable; without it all), from random weights. Seconds are those that one thread
computes, however busy the machine is: a few steps of each arm, in turn, say how many it is given;
what a teacher takes beforehand is not counted. Where the data folder lacks a source of the recipe
it is left out, and so few pictures a step are drawn from the others as ``--batch`` says. Judged on
what the sources hold out, under random edits: whole pictures with one threshold; on classes that
nothing was trained on, two pictures of a class against another's; and by how many pairs of drawn
pictures are within the threshold. An arm that is killed goes on from its last checkpoint, and one
that has ended is not trained again: what is known of it stays in ``--work``. Writes
``copies-ablation.json`` and ``.md`` after every arm, with all that have ended.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.conditions import Conditions, conditions, write_result
from experiments.copies.ablation_arms import ARMS, HEADINGS, RECIPE
from experiments.copies.ablation_judging import ROUNDS, TRIPLETS
from experiments.copies.ablation_training import (
    Bench,
    Timings,
    TrainedArm,
    planned,
    prepare,
    run_arm,
    short_recipe,
)
from experiments.copies.training import SIDE
from percert.files import write_whole
from percert.reports.table import Column, Table, percent
from percert.training.copies import read_copies_recipe


@dataclass(frozen=True)
class CopyAblation:
    benchmark: str
    recipe: str
    sources: list[str]
    batch: int
    seconds: float
    learning_rate: float
    pictures: int
    pairs: int
    edits: int
    triplets: int
    arms: list[TrainedArm]
    conditions: Conditions


def ablation(
    bench: Bench, name: str, options: argparse.Namespace, arms: Sequence[TrainedArm]
) -> CopyAblation:
    """The result of all that has ended, in the order of the page."""
    base = bench.base
    places = {arm.name: place for place, arm in enumerate(ARMS)}
    return CopyAblation(
        "ablation",
        name,
        [source.path for source in base.data],
        base.batch,
        options.seconds,
        options.rate,
        sum(map(len, (bench.held[source.path] for source in base.data))),
        bench.on.pairs,
        ROUNDS * len(bench.on.held.photographs),
        TRIPLETS,
        sorted(arms, key=lambda arm: (HEADINGS.index(arm.heading), places[arm.name])),
        conditions(base.seed),
    )


def noise(result: Any) -> str:
    """What runs of the recipe itself, which differ in the seed alone, are apart."""
    same = [arm.scores for arm in result.arms if arm.heading == RECIPE]
    if len(same) < 2:
        return ""

    def between(values: Sequence[float]) -> str:
        return f"{min(values):.3f} to {max(values):.3f}"

    return (
        f"The {len(same)} runs of the recipe differ in the seed alone: found "
        f"{between([one.found[0] for one in same])}, certified at l2 = 4 "
        f"{between([one.found[1] for one in same])}, at 16 "
        f"{between([one.found[2] for one in same])}, at 32 "
        f"{between([one.found[3] for one in same])}, hard edits "
        f"{between([one.hard[0] for one in same])}, classes "
        f"{between([one.classes for one in same])}. Each arm is one run: what is less apart from "
        "these than they are from each other should not be read."
    )


def report(result: Any) -> str:
    """The page."""
    columns: list[Column[Any]] = [
        Column("of", lambda arm: arm.heading),
        Column("change", lambda arm: arm.name),
        Column("steps", lambda arm: arm.steps or "not trained"),
        Column("found at 1e-3", lambda arm: arm.scores.found[0], ".3f"),
        Column("certified l2 = 4", lambda arm: arm.scores.found[1], ".3f"),
        Column("16", lambda arm: arm.scores.found[2], ".3f"),
        Column("32", lambda arm: arm.scores.found[3], ".3f"),
        Column("hard edits at 1e-3", lambda arm: arm.scores.hard[0], ".3f"),
        Column("classes", lambda arm: arm.scores.classes, percent),
        Column("drawn pairs", lambda arm: _mean(arm.scores.drawn), ".3f"),
        Column("length", lambda arm: arm.scores.length, ".1f"),
        Column("parameters", lambda arm: arm.parameters, ","),
        Column("embedded a second, batch 1", lambda arm: arm.images["1"], ".0f"),
        Column("batch 32", lambda arm: arm.images["32"], ".0f"),
    ]
    return "\n".join(
        [
            "# One thing changed at a time",
            "",
            f"By `python -m experiments copies.ablation`: `recipes/{result.recipe}.toml` at a "
            f"**small scale**, {result.seconds:g} seconds of one thread an arm, {result.batch} "
            f"pictures a step of {result.pictures:,} of "
            f"{' and '.join(f'`{one}`' for one in result.sources)}, rate "
            f"{result.learning_rate:g}, and one change, from random weights. It says what learns "
            "fastest on one core in the first minutes, not where it ends. Judged on pictures held "
            f"out, under {result.edits:,} random edits of each kind, {result.pairs:,} pairs of "
            f"strangers, whole pictures with one threshold, budgets in l2 at {SIDE} px; on "
            f"{result.triplets:,} triplets of classes never trained on; by the share of pairs of "
            "drawn pictures of a kind that are within the threshold (pages, skies, line drawings, "
            "placeholders; less is better); by the mean length of a photograph's embedding, from "
            "that of a plain one; and by photographs embedded a second, in double precision. A "
            "teacher's features were computed beforehand: their seconds are not counted.",
            "",
            noise(result),
            "",
            Table.of(result.arms, columns).markdown(),
            "",
        ]
    )


def _mean(shares: Any) -> float:
    return float(sum(shares.values()) / len(shares))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = [arm.name for arm in ARMS]
    parser.add_argument("--data", type=Path, required=True, help="the recipe's data folder")
    parser.add_argument("--recipe", default="lipsim-tiny")
    parser.add_argument("--arm", action="append", choices=names, help="repeatable")
    parser.add_argument("--seconds", type=float, default=90.0, help="of each training")
    parser.add_argument("--batch", type=int, default=96, help="pictures a step")
    parser.add_argument("--rate", type=float, default=4e-3, help="the learning rate")
    parser.add_argument("--repeats", type=int, default=5, help="of timings")
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    recipe = read_copies_recipe(options.recipe)
    short = short_recipe(recipe, options.data, options.batch, options.rate)
    bench = prepare(short, options.data, options.work)
    chosen = [arm for arm in ARMS if arm.name in (options.arm or names)]
    timings, commit = Timings(bench, options.repeats), conditions(0).commit
    timings.time(chosen)
    for arm in chosen:
        plan = planned(bench, arm, timings, options.seconds)
        print(run_arm(bench, plan, timings, commit), flush=True)
        # Of earlier calls as well.
        plans = [planned(bench, a, timings, options.seconds) for a in ARMS if timings.knows(a)]
        ended = [one.kept for one in plans if one.kept is not None]
        result = ablation(bench, options.recipe, options, ended)
        write_result(options.out / "copies-ablation.json", result)
        write_whole(options.out / "copies-ablation.md", report(result))
    print(report(result))


if __name__ == "__main__":
    main()
