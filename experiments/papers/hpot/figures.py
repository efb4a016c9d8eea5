"""Figures 4, 5, 7, 10 and 12 of Human Imperceptible Attacks: attacked photographs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.papers.hpot.attacks import (
    all_attacks,
    attacks_of_files,
    attacks_there,
    differs,
    distance,
    judges,
    measured_rows,
    named_rows,
    stands,
)
from experiments.papers.hpot.rivals import LITERAL, QUICK
from experiments.papers.item import Compared, Findings, MissingDataError, Setting, StandIn
from experiments.papers.photographs import attack_photographs, classifier_there, folder_of
from percert.evaluation.attack_runs.compare import AttackNumbers, evaluate_attacks
from percert.evaluation.attack_runs.defences import defended_predictions, survivals
from percert.evaluation.attack_runs.distances import CLEAN
from percert.evaluation.attack_runs.pages import attacked_pictures
from percert.lipschitz.network import weights_hash
from percert.reports.attack_plots import boxes_and_cumulative
from percert.reports.page import Figure
from percert.reports.records import column

QUARTILES = {"lower": "first quartile", "median": "median", "upper": "third quartile"}
#: Figures 4 and 6 show so many photographs, Figures 10 and 11 as many others.
SHOWN = 2


def figure_4(setting: Setting) -> Findings:
    """Attacked photographs beside their originals; nothing to compare in numbers."""
    return _pictures(setting, 0)


def figure_10(setting: Setting) -> Findings:
    """Other photographs than those of Figure 4."""
    return _pictures(setting, SHOWN)


def figure_5(setting: Setting) -> Findings:
    """The distribution of the attacks' DISTS, or of 1 - SSIM without its weights."""
    return _distribution(setting, "DISTS")


def figure_12(setting: Setting) -> Findings:
    """The distribution of the attacks' LPIPS, or of what stands for it.

    Raises :class:`~experiments.papers.item.MissingDataError` without the weights of either: 1 -
    SSIM for it would be Figure 5 once more.
    """
    if not judges(setting, ("LPIPS",)):
        raise MissingDataError(
            "needs the weights of LPIPS: put those of lpips-alex into DATA/weights, or install "
            "stlpips-pytorch"
        )
    return _distribution(setting, "LPIPS")


def _pictures(setting: Setting, before: int) -> Findings:
    attacks = all_attacks(setting)
    runs = attack_photographs(setting, list(attacks.values()))
    rows = named_rows(runs.rows, attacks)
    figures = attacked_pictures(rows, folder_of(setting), before + SHOWN)
    said = () if figures[before:] else ("No more photographs than those of Figure 4 succeeded.",)
    shown = StandIn("the photographs that it shows", "the first on which most attacks succeed")
    found = stands(setting, attacks, shown)
    return Findings((), (*said, *differs()), tuple(figures[before:]), found)


def _distribution(setting: Setting, called: str) -> Findings:
    attacks = {**all_attacks(setting), **attacks_there(setting, CONFIDENT)}
    runs = attack_photographs(setting, list(attacks.values()))
    (judge, *_) = [*judges(setting, (called,)), None]
    measured = measured_rows(setting, runs, [] if judge is None else [judge])
    rows = named_rows(measured, attacks)
    key, title = ("ssim", "1 - SSIM") if judge is None else (judge.key, judge.name)
    evaluation = evaluate_attacks(runs, rows, (key,))
    compared: list[Compared] = []
    for entry in evaluation.own:
        spread = distance(entry, key)
        for what, label in QUARTILES.items():
            value = None if spread is None else float(getattr(spread, what))
            compared.append(Compared(f"{entry.attack}: {label} of {title}", None, value))
    drawn = f"The paper draws {called}, and prints no numbers of it beside the means of Table 1."
    stand = StandIn(f"{called} with its weights", title) if judge is None else judge.stand
    return Findings(
        tuple(compared),
        (drawn, *differs()),
        _boxes(evaluation.own, rows, key, title),
        stands(setting, attacks, stand),
    )


def _boxes(
    own: Sequence[AttackNumbers], rows: Sequence[Mapping[str, Any]], key: str, title: str
) -> tuple[Figure, ...]:
    samples = {
        entry.attack: np.array(
            column(
                [
                    row
                    for row in rows
                    if row["attack"] == entry.attack and row["attacked"] and row["success_8bit"]
                ],
                key,
            ),
            dtype=np.float64,
        )
        for entry in own
    }
    if not any(map(len, samples.values())):
        return ()
    counts = {entry.attack: entry.attacked for entry in own}
    return (
        Figure(
            boxes_and_cumulative(samples, counts, value_label=title),
            f"{title} of the attacked photographs. Left: quartiles and median, whiskers from the "
            "5th to the 95th percentile; right: the share within a distance.",
            f"Boxes and cumulative distributions of {title}",
        ),
    )


#: The paper does not print which quality and how many bits.
DEFENCES = ("jpeg-75", "bits-5")
#: The attack with more confidence, which the paper adds.
CONFIDENT = {LITERAL.format(a): QUICK[LITERAL.format(a)] for a in (1, 5)}


def figure_7(setting: Setting) -> Findings:
    """The share of the attacked photographs that still is misclassified behind each defence."""
    specs = {**attacks_of_files(setting), **attacks_there(setting, CONFIDENT)}
    runs = attack_photographs(setting, list(specs.values()))
    model, _ = classifier_there(setting)
    folder = setting.out / "defended"
    folder.mkdir(parents=True, exist_ok=True)
    found = defended_predictions(
        runs.rows,
        folder_of(setting),
        model,
        weights_hash(model),
        DEFENCES,
        folder,
    )
    names = {spec: name for name, spec in specs.items()} | {CLEAN: "no attack"}
    behind = StandIn("JPEG and fewer bits, it does not say how", " and ".join(DEFENCES))
    rows = tuple(
        Compared(f"{names[entry.attack]} through {entry.defence}", None, 100 * entry.share, "%")
        for entry in survivals(runs.rows, found, DEFENCES)
    )
    return Findings(
        rows,
        ("The paper draws these shares and prints no numbers.", *differs()),
        stands=stands(setting, specs, behind),
    )
