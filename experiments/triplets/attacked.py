"""2AFC under attack: natural, certified and empirical scores of several metrics on photographs.

    python -m experiments triplets.attacked --data ../shared/data --out docs/results \\
        --work /tmp/twoafc

Distortion triplets of ImageNet-Compatible photographs, and class triplets (a reference, another
image of its class, one of another class) of Tiny ImageNet's validation images. The reference is
attacked by APGD with cross-entropy and margin, FAB and Square within l2 budgets; the worst case of
each triplet counts. Rows are kept in ``--work``, so that a run that was stopped goes on. An attack
that succeeds within a certified radius stops it.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, earlier_weights, write_result
from experiments.photographs import DEFAULT_DATA
from percert.data.labelled_images import read_labelled_images, semantic_triplets
from percert.data.triplets import Triplet, distortion_triplets, load_triplet
from percert.evaluation.twoafc.attacks import AttackBudget, plan_attacks
from percert.evaluation.twoafc.evaluate import Load, TwoAFCRun, keep_twoafc
from percert.evaluation.twoafc.report import percent, shown
from percert.evaluation.twoafc.run import write_twoafc_report
from percert.evaluation.twoafc.scores import (
    CertifiedScore,
    TwoAFCScores,
    complete_rows,
    score_twoafc,
)
from percert.metrics.catalog import create_metric
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.table import Column, Table, text_of
from percert.runs import RunFolder

NAMES = ("lipsim-tiny", "thumbnail", "ssim", "features")
EPS = (36 / 255, 72 / 255, 108 / 255, 1.0, 2.0, 4.0)
L2 = (0.5, 1.0, 2.0, 4.0)
DISTORTIONS = ("blur", "noise", "hue", "zoom")


@dataclass(frozen=True)
class AttackedPart:
    """One metric on one set of triplets."""

    metric: str
    triplets: str
    side: tuple[int, int]
    scores: TwoAFCScores


@dataclass(frozen=True)
class AttackedTriplets:
    """All of them, and what was attacked how."""

    benchmark: str
    photographs: int
    classes: int
    distortions: tuple[str, ...]
    attacks: list[str]
    parts: list[AttackedPart]
    conditions: Conditions


def distorted(data: Path, photographs: int, seed: int) -> tuple[list[Triplet], Load]:
    """The first photographs under some distortions."""
    folder = data / "imagenet-compatible" / "images"
    found = list(distortion_triplets(folder, distortions=DISTORTIONS, seed=seed))
    return found[: photographs * len(DISTORTIONS)], load_triplet


def of_classes(data: Path, count: int, seed: int) -> tuple[list[Triplet], Load]:
    """Triplets of Tiny ImageNet at 32 x 32; sides alternate."""
    images = read_labelled_images(data / "tiny-imagenet-32" / "val.parquet")
    rows = semantic_triplets(images.labels, count, seed)
    here = data / "tiny-imagenet-32" / "val.parquet"
    triplets = [
        Triplet(f"c{i:05d}", here, here, here, float(i % 2), index=i) for i in range(len(rows))
    ]

    def load(triplet: Triplet) -> tuple[Tensor, Tensor, Tensor]:
        reference, same, other = images.decode(rows[triplet.index])
        return (reference, same, other) if triplet.share == 0 else (reference, other, same)

    return triplets, load


def evaluate(
    name: str, kind: str, triplets: Sequence[Triplet], load: Load, options: argparse.Namespace
) -> AttackedPart:
    """One metric on one set, from where an earlier run of the same stood."""
    weights = options.data.parent / "weights" / "squeezenet1_0-imagenet.safetensors"
    metric = create_metric(name, checkpoint=weights if name == "features" else None, device="cpu")
    plan = plan_attacks(_attacks(options), l2=L2)
    size = (options.side, options.side) if kind == "distortions" else None
    if name == "features" and kind == "classes":
        size = (64, 64)  # its smallest side is 48
    run = TwoAFCRun(metric, plan, size=size, seed=options.seed, load=load, batch_size=8)
    out = options.work / f"{name}-{kind}"
    settings = {"metric": name, "triplets": kind, "size": size and list(size), "seed": options.seed}
    folder = RunFolder(out, settings, seed=options.seed, command=sys.argv)
    kept = keep_twoafc(folder, run, triplets)
    if kept.bad:
        raise ValueError(f"{kept.bad[0][0]}: {kept.bad[0][1]}")
    rows = complete_rows(kept.rows, (triplet.name for triplet in triplets))
    scores = score_twoafc(rows, EPS, budgets=[AttackBudget("l2", eps) for eps in L2])
    answer: dict[str, Any] = {
        "metric": name,
        "source": kind,
        "perturbed": "reference",
        "scores": [asdict(entry) for entry in scores],
    }
    write_twoafc_report(out, scores, rows, folder.answer("scores", answer))
    return AttackedPart(name, kind, (rows[0]["height"], rows[0]["width"]), scores[0])


def markdown(result: AttackedTriplets) -> str:
    """The tables of a result."""
    lines = [
        "# 2AFC under attack",
        "",
        "Made by `python -m experiments triplets.attacked --work FOLDER "
        f"--photographs {result.photographs} --classes {result.classes}`; in percent. "
        f"The reference moves. Attacks: {'; '.join(result.attacks)}; the worst case of each "
        f"triplet. Distortions: {', '.join(result.distortions)} of {result.photographs} "
        "photographs. Certified by the exact radius, in brackets by the paper's Eq. 8. For every "
        "triplet certified <= empirical <= natural was checked.",
    ]
    if earlier := earlier_weights(part.metric for part in result.parts):
        lines += ["", earlier]
    for kind in dict.fromkeys(part.triplets for part in result.parts):
        parts = [part for part in result.parts if part.triplets == kind]
        count = parts[0].scores.triplets
        sides = ", ".join(f"{part.metric} {part.side[0]} px" for part in parts)
        certified = [entry.eps for entry in parts[0].scores.certified]
        attacked = [entry.eps for entry in parts[0].scores.attacked]
        lines += ["", f"## {kind.capitalize()}, {count} triplets ({sides})", ""]
        columns: list[Column[AttackedPart]] = [
            Column("metric", lambda part: part.metric),
            Column("natural", lambda part: part.scores.natural, percent),
            *(_certified(eps, place) for place, eps in enumerate(certified)),
            *(_attacked(eps, place) for place, eps in enumerate(attacked)),
        ]
        lines.append(Table.of(parts, columns).markdown().rstrip("\n"))
    return "\n".join(lines) + "\n"


def _certified(eps: float, place: int) -> Column[AttackedPart]:
    def cell(entry: CertifiedScore) -> str:
        paper = "" if entry.paper is None else f" ({percent(entry.paper)})"
        return text_of(entry.ours, percent) + paper

    name = f"certified {shown(eps)}"
    return Column(name, lambda part: part.scores.certified[place], cell)


def _attacked(eps: float, place: int) -> Column[AttackedPart]:
    name = f"attacked {shown(eps)}"
    return Column(name, lambda part: part.scores.attacked[place].worst, percent)


def picture(parts: Sequence[AttackedPart]) -> bytes:
    """Scores under attack (full) and certified (dashed) against the l2 budget, a panel a set."""
    kinds = list(dict.fromkeys(part.triplets for part in parts))
    metrics = list(dict.fromkeys(part.metric for part in parts))
    figure, axes = new_figure(8.6, 3.8, ncols=len(kinds), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        for part in (part for part in parts if part.triplets == kind):
            colour, scores = COLOURS[metrics.index(part.metric)], part.scores
            start = (0.0, scores.natural)
            under = [start] + [(e.eps, e.worst) for e in scores.attacked]
            axis.plot(*_percents(under), "o-", ms=4, color=colour, label=part.metric)
            proven = [(e.eps, e.ours) for e in scores.certified if e.ours is not None]
            if proven:
                axis.plot(*_percents([start, *proven]), "s--", ms=3, lw=1, color=colour)
        axis.set(xlabel="l2 budget of the reference", title=kind, ylim=(-2, 102))
    axes[0, 0].set_ylabel("2AFC score (%)")
    # Every metric is in the first panel.
    lines, names = axes[0, 0].get_legend_handles_labels()
    title = "full: attacked, dashed: certified"
    axes[0, -1].legend(lines, names, frameon=False, fontsize=8, title=title, loc="upper right")
    return figure_png(figure)


def _percents(points: Iterable[tuple[float, float]]) -> list[list[float]]:
    return [list(side) for side in zip(*((eps, 100 * score) for eps, score in points), strict=True)]


def _attacks(options: argparse.Namespace) -> list[str]:
    return [
        f"apgd-ce:steps={options.steps}",
        f"apgd-margin:steps={options.steps}",
        f"fab:steps={options.steps}",
        f"square:queries={options.queries}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    sets = {
        "distortions": distorted(options.data, options.photographs, options.seed),
        "classes": of_classes(options.data, options.classes, options.seed),
    }
    parts = []
    for name in options.metric or NAMES:
        for kind, (triplets, load) in sets.items():
            part = evaluate(name, kind, triplets, load, options)
            parts.append(part)
            worst = ", ".join(percent(entry.worst) for entry in part.scores.attacked)
            print(f"{name:12} {kind:12} natural {percent(part.scores.natural)} attacked {worst}")
            result = AttackedTriplets(
                "twoafc-attacked",
                options.photographs,
                options.classes,
                DISTORTIONS,
                _attacks(options),
                parts,
                conditions(options.seed),
            )
            # After each part: what is there is there.
            write_result(options.out / "twoafc-attacked.json", result)
            (options.out / "twoafc-attacked.md").write_text(markdown(result))
            (options.out / "twoafc-attacked.png").write_bytes(picture(parts))
            sys.stdout.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--work", type=Path, required=True, help="where rows are kept")
    parser.add_argument("--metric", action="append", help="repeatable; all of them if not given")
    parser.add_argument("--photographs", type=int, default=4)
    parser.add_argument("--classes", type=int, default=16, help="class triplets")
    parser.add_argument("--side", type=int, default=96, help="to which photographs are resized")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
