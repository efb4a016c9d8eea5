"""Tables 1 to 4 and Figure 3a of LipSim: scores on triplets, natural, certified, under attack."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.papers.item import Compared, Findings, Setting, StandIn, stands_of
from experiments.papers.lipsim.triplets import Triplets, find_triplets, judged_rows
from experiments.papers.networks import (
    Judge,
    catalog_judge,
    dreamsim_there,
    lipsim_there,
)
from experiments.papers.printed import (
    LIPSIM_TABLE_1,
    LIPSIM_TABLE_2,
    LIPSIM_TABLE_3,
    LIPSIM_TABLE_4,
)
from percert.evaluation.twoafc.attacks import Budget, BudgetNorm, plan_attacks
from percert.evaluation.twoafc.scores import AttackedScore, TwoAFCScores, score_twoafc
from percert.reports.page import Figure
from percert.reports.plots import COLOURS, figure_png, new_figure

#: The certified radii of Table 2, in levels of 255.
LEVELS = tuple(LIPSIM_TABLE_2[1])
#: AutoAttack's strongest two parts, cut short, and all of it.
QUICK, THOROUGH = ("apgd-ce:steps=20", "apgd-margin:steps=20"), ("aa",)
QUICK_PGD, THOROUGH_PGD = ("pgd:steps=20",), ("pgd",)


def table_1(setting: Setting) -> Findings:
    """The score under l2 attacks on the reference, of LipSim and of DreamSim."""
    triplets = find_triplets(setting)
    judges = [lipsim_there(setting), dreamsim_there(setting)]
    rows: list[Compared] = []
    for judge in judges:
        natural, printed = LIPSIM_TABLE_1[judge.paper]
        scores = under_attack(setting, judge, triplets, autoattack(setting), "l2", tuple(printed))
        rows.append(_natural(judge, natural, scores))
        for entry in scores.attacked:
            what = f"{judge.name}: under attack, l2 {entry.eps:g}"
            rows.append(Compared(what, printed[entry.eps], 100 * entry.worst, "%"))
            rows += proven(judge, entry)
    rows += _others(judges, {name: found[1] for name, found in LIPSIM_TABLE_1.items()}, "l2")
    return Findings(
        tuple(rows), _words(judges), stands=_stands(triplets, judges, attack_stand(setting))
    )


def table_2(setting: Setting) -> Findings:
    """LipSim's certified scores, by the paper's radius and by ours."""
    triplets, judge = find_triplets(setting), lipsim_there(setting)
    natural, certified = LIPSIM_TABLE_2
    (scores, *_) = score_twoafc(
        judged_rows(setting, judge, triplets, {}), [level / 255 for level in LEVELS]
    )
    rows = [_natural(judge, natural, scores)]
    for level, entry in zip(certified, scores.certified, strict=True):
        paper = None if entry.paper is None else 100 * entry.paper
        ours = None if entry.ours is None else 100 * entry.ours
        what = f"{judge.name}: certified by Eq. 8, {level}/255"
        rows.append(Compared(what, certified[level], paper, "%"))
        what = f"{judge.name}: certified by the exact radius, {level}/255"
        rows.append(Compared(what, None, ours, "%"))
    words = (
        judge.words,
        "The paper's numbers are those of LipSim taught by DreamSim, margin 0.5; its table has "
        "eight other settings of training. The exact radius is not the paper's: it is longer.",
    )
    return Findings(tuple(rows), words, stands=_stands(triplets, [judge]))


def table_3(setting: Setting) -> Findings:
    """The score under linf attacks on the reference, of LipSim and of DreamSim."""
    triplets = find_triplets(setting)
    judges = [lipsim_there(setting), dreamsim_there(setting)]
    plain = THOROUGH_PGD if setting.thorough else QUICK_PGD
    rows: list[Compared] = []
    for judge in judges:
        natural, *printed = LIPSIM_TABLE_3[judge.paper]
        for called, texts, paper in (
            ("Auto-PGD" if not setting.thorough else "AutoAttack", autoattack(setting), printed[0]),
            ("PGD", plain, printed[1]),
        ):
            scores = under_attack(setting, judge, triplets, texts, "linf", tuple(paper))
            if called != "PGD":
                rows.append(_natural(judge, natural, scores))
            rows += [
                Compared(
                    f"{judge.name}: under {called}, linf {entry.eps:g}",
                    paper[entry.eps],
                    100 * entry.worst,
                    "%",
                )
                for entry in scores.attacked
            ]
    for place, called in ((1, "linf-AutoAttack"), (2, "linf-PGD")):
        others = {name: found[place] for name, found in LIPSIM_TABLE_3.items()}
        rows += _others(judges, others, called)  # type: ignore[arg-type]  # places 1 and 2 are tables
    return Findings(
        tuple(rows), _words(judges), stands=_stands(triplets, judges, attack_stand(setting))
    )


def autoattack(setting: Setting) -> tuple[str, ...]:
    """What stands for AutoAttack: all of it where the setting is thorough."""
    return THOROUGH if setting.thorough else QUICK


def under_attack(
    setting: Setting,
    judge: Judge,
    triplets: Triplets,
    texts: Sequence[str],
    norm: BudgetNorm,
    budgets: tuple[float, ...],
) -> TwoAFCScores:
    """The scores that the attacks ``texts`` leave at each of ``budgets``: of a triplet the worst.

    A success at a smaller budget counts at the larger ones as well.
    """
    attacks = plan_attacks(texts, l2=budgets) if norm == "l2" else plan_attacks(texts, linf=budgets)
    rows = judged_rows(setting, judge, triplets, attacks)
    (scores, *_) = score_twoafc(rows, [], budgets=[Budget(norm, eps) for eps in budgets])
    return scores


def proven(judge: Judge, entry: AttackedScore) -> list[Compared]:
    """What is proven of the same triplets, of a metric with certificates."""
    if entry.certified is None:
        return []
    what = f"{judge.name}: proven, {entry.norm} {entry.eps:g}"
    return [Compared(what, None, 100 * entry.certified, "%")]


#: What the authors' "AutoAttack" is, by their code.
AUTOATTACK = "AutoAttack, which in the authors' code is its first part alone, APGD-CE of 100 steps"


def attack_stand(setting: Setting) -> StandIn | None:
    """What was run for the paper's AutoAttack."""
    here = (
        "all four parts of AutoAttack (Auto-PGD with cross-entropy and with the margin, as two "
        "logits have no DLR, FAB and Square), of a triplet the worst"
        if setting.thorough
        else "Auto-PGD with cross-entropy and with the margin, 20 steps each, of a triplet the "
        "worst"
    )
    return StandIn(AUTOATTACK, here)


def _natural(judge: Judge, paper: float, scores: TwoAFCScores) -> Compared:
    return Compared(f"{judge.name}: natural score", paper, 100 * scores.natural, "%")


def _others(
    judges: Sequence[Judge], printed: Mapping[str, Mapping[float, float]], called: str
) -> list[Compared]:
    """The paper's other metrics, which percert does not have: nothing is measured of them."""
    measured = {judge.paper for judge in judges}
    return [
        Compared(f"{name}: under attack, {called} {eps:g}", value, None, "%")
        for name, found in printed.items()
        if name not in measured
        for eps, value in found.items()
    ]


def _words(judges: Sequence[Judge]) -> tuple[str, ...]:
    return (
        *(judge.words for judge in judges if judge.words),
        "CLIP, OpenCLIP and DINO are not judged here: the paper's numbers stand alone.",
    )


def _stands(
    triplets: Triplets, judges: Sequence[Judge], *more: StandIn | None
) -> tuple[StandIn, ...]:
    """What of the paper's was not there: triplets, the metrics that it has, and ``more``."""
    return stands_of(triplets.stand, [judge.stand for judge in judges if judge.paper], *more)


#: The paper's metrics that percert has, by its names.
KNOWN = {"PSNR": "mse", "SSIM": "ssim", "LPIPS": "lpips-alex", "DISTS": "dists"}
#: Metrics of percert that the paper does not have, and that take no weights.
MORE = ("ms-ssim", "gmsd", "haarpsi", "fsim", "ciede2000", "thumbnail")
#: What Figure 3a attacks, and how far.
ATTACKED = {"SSIM": "ssim", "": "thumbnail"}
EPS = 2.0
GROUPS = {"all": "overall", "imagenet": "ImageNet", "other": "not ImageNet"}
_MADE = (
    "Which of two distorted photographs is closer is known by how they were made, and most metrics "
    "mostly tell it; people's judgements of NIGHT's generated images are a harder question."
)


def table_4(setting: Setting) -> Findings:
    """Natural scores: all triplets, those of ImageNet's classes, the others."""
    triplets = find_triplets(setting, of_imagenet=True)
    rows: list[Compared] = []
    judges = _judges(setting)
    for judge in judges:
        found = {
            entry.name: 100 * entry.natural
            for entry in score_twoafc(judged_rows(setting, judge, triplets, {}), [])
        }
        printed = LIPSIM_TABLE_4.get(judge.paper, (None, None, None))
        rows += [
            Compared(f"{judge.name}: {called}", paper, found.get(group), "%")
            for (group, called), paper in zip(GROUPS.items(), printed, strict=True)
        ]
    measured = {judge.paper for judge in judges}
    rows += [
        Compared(f"{name}: overall", printed[0], None, "%")
        for name, printed in LIPSIM_TABLE_4.items()
        if name not in measured
    ]
    missing = [name for name in LIPSIM_TABLE_4 if name not in measured]
    stands = _stands(
        triplets, judges, *(StandIn(name, "nothing: it is not judged here") for name in missing)
    )
    words = [judge.words for judge in judges if judge.words]
    if not triplets.whole:
        words.append(_MADE)
    return Findings(tuple(rows), tuple(words), stands=stands)


def figure_3a(setting: Setting) -> Findings:
    """Natural scores, and those under l2 attack at 2.0, as bars."""
    triplets = find_triplets(setting)
    more = [catalog_judge(name, paper, setting) for paper, name in ATTACKED.items()]
    judges = [lipsim_there(setting), dreamsim_there(setting), *(one for one in more if one)]
    rows: list[Compared] = []
    bars: dict[str, tuple[float, float]] = {}
    for judge in judges:
        scores = under_attack(setting, judge, triplets, autoattack(setting), "l2", (EPS,))
        bars[judge.title] = (100 * scores.natural, 100 * scores.attacked[0].worst)
        natural, attacked = LIPSIM_TABLE_1.get(judge.paper, (None, {}))
        if natural is None and judge.paper in LIPSIM_TABLE_4:
            natural = LIPSIM_TABLE_4[judge.paper][0]
        rows += [
            Compared(f"{judge.name}: natural score", natural, bars[judge.title][0], "%"),
            Compared(
                f"{judge.name}: under attack, l2 {EPS:g}",
                attacked.get(EPS),
                bars[judge.title][1],
                "%",
            ),
        ]
    figure = Figure(
        _bars(bars),
        f"2AFC scores of {len(triplets.items)} triplets, natural (wide, pale) and under l2 attack "
        f"at {EPS:g} on the reference (narrow, dark).",
        "Bars of natural scores and of scores under attack, by metric",
    )
    words = (
        *(judge.words for judge in judges if judge.words),
        "The paper draws bars; the numbers beside them are those of its Tables 1 and 4.",
    )
    return Findings(tuple(rows), words, (figure,), _stands(triplets, judges, attack_stand(setting)))


def _judges(setting: Setting) -> list[Judge]:
    known = [catalog_judge(name, paper, setting) for paper, name in KNOWN.items()]
    more = [catalog_judge(name, "", setting) for name in MORE]
    return [
        *(one for one in known if one is not None),
        dreamsim_there(setting),
        lipsim_there(setting),
        *(one for one in more if one is not None),
    ]


def _bars(bars: dict[str, tuple[float, float]]) -> bytes:
    figure, axis = new_figure(7.0, 0.9 + 0.62 * len(bars))
    at = np.arange(len(bars))[::-1]
    natural, attacked = zip(*bars.values(), strict=True)
    axis.barh(at, natural, 0.72, color=COLOURS[0], alpha=0.35, label="natural")
    axis.barh(at, attacked, 0.34, color=COLOURS[1], label=f"under l2 attack at {EPS:g}")
    for place, values in zip(at, bars.values(), strict=True):
        axis.text(values[0] + 1, place + 0.2, f"{values[0]:.0f}", fontsize=8)
        axis.text(values[1] + 1, place - 0.22, f"{values[1]:.0f}", fontsize=8, color=COLOURS[1])
    axis.set_yticks(at, list(bars), parse_math=False)
    axis.set(xlim=(0, 108), xlabel="2AFC score, %")
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=2)
    return figure_png(figure)
