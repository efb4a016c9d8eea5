"""Tables 1 to 3 of LipSim on triplets of distorted photographs, or on NIGHT where it is there."""

from collections.abc import Mapping, Sequence

from percert.evaluation.twoafc_attacks import Budget, BudgetNorm, plan_attacks
from percert.evaluation.twoafc_scores import AttackedScore, TwoAFCScores, score_twoafc
from percert.reproduce.item import Compared, Findings, Setting
from percert.reproduce.printed import LIPSIM_TABLE_1, LIPSIM_TABLE_2, LIPSIM_TABLE_3
from percert.reproduce.stand_ins import Judge, dreamsim_there, lipsim_there
from percert.reproduce.triplet_runs import Triplets, find_triplets, judged_rows

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
    return Findings(tuple(rows), _words(setting, triplets, judges), same=_own(setting, judges))


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
        triplets.words,
        judge.words,
        "The paper's numbers are those of LipSim taught by DreamSim, margin 0.5; its table has "
        "eight other settings of training. The exact radius is not the paper's: it is longer.",
    )
    return Findings(tuple(rows), words, same=judge.own and triplets.whole)


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
    return Findings(tuple(rows), _words(setting, triplets, judges), same=_own(setting, judges))


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


def attack_words(setting: Setting) -> str:
    """How the attacks differ from the paper's."""
    if setting.thorough:
        return (
            "Under attack: all four parts of AutoAttack (Auto-PGD with cross-entropy and with the "
            "margin, as two logits have no DLR, FAB and Square), of a triplet the worst."
        )
    return (
        "Under attack: Auto-PGD with cross-entropy and with the margin, 20 steps each, of a "
        "triplet the worst; AutoAttack takes 100 and adds FAB and Square (--thorough, hours on a "
        "CPU). A stronger attack can only lower these scores."
    )


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


def _words(setting: Setting, triplets: Triplets, judges: Sequence[Judge]) -> tuple[str, ...]:
    return (
        triplets.words,
        *(judge.words for judge in judges),
        attack_words(setting),
        "CLIP, OpenCLIP and DINO are not judged here: the paper's numbers stand alone.",
    )


def _own(setting: Setting, judges: Sequence[Judge]) -> bool:
    whole = find_triplets(setting).whole
    return whole and setting.thorough and all(judge.own for judge in judges)
