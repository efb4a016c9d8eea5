"""Tables 1 and 3 and Figure 3a of LipSim: scores on triplets under attack on the reference."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.papers.item import AutoAttackKind, Compared, Findings, Setting, StandIn
from experiments.papers.lipsim.judges import attacked_judges, lipsim_there
from experiments.papers.lipsim.triplets import Triplets, find_triplets, judged_rows
from experiments.papers.lipsim.twoafc import judged_stands, missing_of
from experiments.papers.networks import Judge, catalog_judge, dreamsim_there
from experiments.papers.printed import LIPSIM_TABLE_1, LIPSIM_TABLE_3, LIPSIM_TABLE_4
from percert.evaluation.twoafc.attacks import AttackBudget, BudgetNorm, plan_attacks
from percert.evaluation.twoafc.evaluate import CLEAN
from percert.evaluation.twoafc.scores import AttackedScore, TwoAFCScores, score_twoafc
from percert.reports.page import Figure
from percert.reports.plots import COLOURS, figure_png, new_figure

#: What is run for the paper's AutoAttack, and for its PGD.
AUTOATTACK: dict[AutoAttackKind, tuple[str, ...]] = {
    "short": ("apgd-ce:steps=20", "apgd-margin:steps=20"),
    "authors": ("apgd-ce",),
    "standard": ("aa",),
}
PGD: dict[AutoAttackKind, tuple[str, ...]] = {
    "short": ("pgd:steps=20",),
    "authors": ("pgd",),
    "standard": ("pgd",),
}
_HERE: dict[AutoAttackKind, str] = {
    "short": "Auto-PGD with cross-entropy and with the margin, 20 steps each, of a triplet the "
    "worst",
    "standard": "all four parts of AutoAttack (Auto-PGD with cross-entropy and with the margin, as "
    "two logits have no DLR, FAB and Square), of a triplet the worst",
}
#: What Figure 3a attacks beside LipSim and DreamSim, and how far.
ATTACKED = {"SSIM": "ssim", "": "thumbnail"}
EPS = 2.0


def table_1(setting: Setting) -> Findings:
    """The score under l2 attacks on the reference, by metric."""
    triplets, judges = find_triplets(setting), attacked_judges(setting)
    rows: list[Compared] = []
    for judge in judges:
        natural, printed = LIPSIM_TABLE_1[judge.paper]
        own = judge.own and triplets.whole
        scores = under_attack(setting, judge, triplets, autoattack(setting), "l2", tuple(printed))
        rows.append(_natural(judge, natural, scores, own))
        for entry in scores.attacked:
            what = f"{judge.name}: under attack, l2 {entry.eps:g}"
            same = own and attack_stand(setting) is None
            rows.append(Compared(what, printed[entry.eps], 100 * entry.worst, "%", same))
            rows += proven(judge, entry)
    missing = missing_of(LIPSIM_TABLE_1, judges)
    rows += _others(missing, {name: found[1] for name, found in LIPSIM_TABLE_1.items()}, "l2")
    stands = judged_stands(triplets, judges, missing, attack_stand(setting))
    return Findings(tuple(rows), _words(judges), stands=stands)


def table_3(setting: Setting) -> Findings:
    """The score under linf attacks on the reference, by metric."""
    triplets, judges = find_triplets(setting), attacked_judges(setting)
    rows: list[Compared] = []
    for judge in judges:
        natural, by_aa, by_pgd = LIPSIM_TABLE_3[judge.paper]
        own = judge.own and triplets.whole
        budgets = tuple(by_aa)
        scores = under_attack(setting, judge, triplets, autoattack(setting), "linf", budgets)
        rows.append(_natural(judge, natural, scores, own))
        same = own and attack_stand(setting) is None
        for entry in scores.attacked:
            what = f"{judge.name}: under AutoAttack, linf {entry.eps:g}"
            rows.append(Compared(what, by_aa[entry.eps], 100 * entry.worst, "%", same))
        scores = under_attack(setting, judge, triplets, PGD[setting.autoattack], "linf", budgets)
        for entry in scores.attacked:
            what = f"{judge.name}: under PGD, linf {entry.eps:g}"
            rows.append(Compared(what, None, 100 * entry.worst, "%"))
        for eps, score in own_choice_scores(setting, judge, triplets, budgets).items():
            what = f"{judge.name}: under PGD on its own choice, linf {eps:g}"
            rows.append(Compared(what, by_pgd[eps], score, "%"))
    missing = missing_of(LIPSIM_TABLE_3, judges)
    for place, called in ((1, "AutoAttack, linf"), (2, "PGD on its own choice, linf")):
        printed = {name: found[place] for name, found in LIPSIM_TABLE_3.items()}
        rows += _others(missing, printed, called)  # type: ignore[arg-type]  # places 1 and 2 are tables
    pgd = StandIn(
        "PGD whose labels, in the authors' code, are the logits; it does not say how many steps",
        f"PGD of {_steps(setting)} steps on the metric's own choice, which has the same slope",
    )
    stands = judged_stands(triplets, judges, missing, attack_stand(setting), pgd)
    return Findings(tuple(rows), (*_words(judges), PGD_WORDS), stands=stands)


#: Why the paper's PGD leaves so much more than its AutoAttack does.
PGD_WORDS = (
    "PGD leaves LipSim 75.27 at 0.03 in the paper where AutoAttack leaves 7.07. The authors' code "
    "hands PGD the logits as labels: cross-entropy takes them as soft targets, and as long as the "
    "two distances add up to less than 2 its slope is that against the metric's own choice. So it "
    "turns triplets that the metric gets wrong into right ones. That explains a part of the gap; "
    "the rest is in the number and length of its steps, which are not printed."
)


def own_choice_scores(
    setting: Setting, judge: Judge, triplets: Triplets, budgets: tuple[float, ...]
) -> dict[float, float]:
    """The scores that PGD leaves which attacks what the metric says, not what people do, by eps.

    As the authors' code has it: a triplet that the metric gets wrong counts once it is turned.
    """
    attacks = plan_attacks(PGD[setting.autoattack], linf=budgets)
    rows = judged_rows(setting, judge, triplets, attacks, own_choice=True)
    right = {one.name: one.choice for one in triplets.items}
    found: dict[float, list[float]] = {eps: [] for eps in budgets}
    for row in rows:
        if row["attack"] == CLEAN:
            continue
        said = row["prediction"] if row["attacked"] else row["clean_prediction"]
        half = said is None or right[row["image"]] is None
        found[row["eps"]].append(50.0 if half else 100.0 * (said == right[row["image"]]))
    return {eps: float(np.mean(scores)) for eps, scores in found.items()}


def autoattack(setting: Setting) -> tuple[str, ...]:
    """What stands for AutoAttack."""
    return AUTOATTACK[setting.autoattack]


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
    (scores, *_) = score_twoafc(rows, [], budgets=[AttackBudget(norm, eps) for eps in budgets])
    return scores


def proven(judge: Judge, entry: AttackedScore) -> list[Compared]:
    """What is proven of the same triplets, of a metric with certificates."""
    if entry.certified is None:
        return []
    what = f"{judge.name}: proven, {entry.norm} {entry.eps:g}"
    return [Compared(what, None, 100 * entry.certified, "%")]


def attack_stand(setting: Setting) -> StandIn | None:
    """What was run for the paper's AutoAttack; ``None`` where it is what its authors ran."""
    if setting.autoattack == "authors":
        return None
    paper = "AutoAttack, which in the authors' code is its first part alone, APGD-CE of 100 steps"
    return StandIn(paper, _HERE[setting.autoattack])


def _steps(setting: Setting) -> int:
    (planned, *_) = plan_attacks(PGD[setting.autoattack], linf=(1.0,)).values()
    steps: int = planned.attack.steps  # type: ignore[attr-defined]  # PGD has them
    return steps


def _natural(judge: Judge, paper: float, scores: TwoAFCScores, own: bool = False) -> Compared:
    return Compared(f"{judge.name}: natural score", paper, 100 * scores.natural, "%", own)


def _others(
    missing: Sequence[str], printed: Mapping[str, Mapping[float, float]], called: str
) -> list[Compared]:
    """The paper's other metrics, whose weights are not there: nothing is measured of them."""
    return [
        Compared(f"{name}: under attack, {called} {eps:g}", value, None, "%")
        for name in missing
        for eps, value in printed[name].items()
    ]


def _words(judges: Sequence[Judge]) -> tuple[str, ...]:
    return tuple(judge.words for judge in judges if judge.words)


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
        own = judge.own and triplets.whole
        same = own and attack_stand(setting) is None
        under = f"{judge.name}: under attack, l2 {EPS:g}"
        rows += [
            Compared(f"{judge.name}: natural score", natural, bars[judge.title][0], "%", own),
            Compared(under, attacked.get(EPS), bars[judge.title][1], "%", same),
        ]
    figure = Figure(
        _bars(bars),
        f"2AFC scores of {len(triplets.items)} triplets, natural (wide, pale) and under l2 attack "
        f"at {EPS:g} on the reference (narrow, dark).",
        "Bars of natural scores and of scores under attack, by metric",
    )
    words = (
        *_words(judges),
        "The paper draws bars; the numbers beside them are those of its Tables 1 and 4.",
    )
    stands = judged_stands(triplets, judges, (), attack_stand(setting))
    return Findings(tuple(rows), words, (figure,), stands)


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
