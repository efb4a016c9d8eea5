"""Results of evaluations in which no two numbers are the same: what changes places, shows."""

from tests.reports.tables import made

from percert.evaluation.attack_runs.compare import AttackEvaluation, AttackNumbers, Spread
from percert.evaluation.attack_runs.read import Ablation
from percert.evaluation.copies.attack import AttackedRate, AttackedRates
from percert.evaluation.copies.evaluate import DetectorResult, EditResult
from percert.evaluation.copies.rates import CertifiedRate, OperatingPoint
from percert.evaluation.twoafc.scores import AttackedScore, CertifiedScore, TwoAFCScores


def spread(start):
    """Numbers that all differ: count, mean, least, lower, median, upper, most."""
    return Spread(9, start + 2, start, start + 1, start + 3, start + 5, start + 8)


def attack(name, start):
    return made(
        AttackNumbers,
        attack=name,
        attacked=int(start),
        success=start / 1000,
        success_8bit=start / 2000,
        distances={"l2": spread(start), "dists": spread(start + 100)},
        effort={"seconds": start + 10, "cpu_seconds": start + 20, "model_calls": start + 30},
        seconds=start + 400,
    )


def evaluation():
    """Two attacks, one of them the baseline, and one setting in which they differ."""
    ours, theirs = attack("ours", 210.0), attack("theirs", 620.0)
    ratios = {"images": 7.0, "l2": 0.11, "dists": 0.22}
    return AttackEvaluation(
        rows=[],
        distances=("l2", "dists"),
        over="success_8bit",
        own=[ours, theirs],
        shared_on=["a.png"],
        shared=[attack("ours", 30.0)],
        baseline="theirs",
        ratios={"ours": ratios | {"seconds": 0.33, "cpu_seconds": 0.44, "model_calls": 0.55}},
        ablations=[Ablation("pgd", "steps", ((10, "ours"), (40, "theirs")))],
    )


def detector(name, more, *, proven):
    certified = [CertifiedRate(1.0, 48.2, 0.301), CertifiedRate(2.0, None, 0.201)]
    return DetectorResult(
        name=name,
        certifiable=proven,
        threshold=0.401 + more,
        auto=None,
        fpr_found=0.0021,
        natural=0.501 + more,
        certified=certified if proven else [],
        points=[
            OperatingPoint(fpr=0.001, threshold=0.1, fpr_found=0.0005, tpr=0.701),
            OperatingPoint(fpr=0.01, threshold=0.2, fpr_found=0.005, tpr=0.801),
        ],
        micro_average_precision=0.601,
        edits=[
            EditResult("crop", "geometry", False, 0.151 + more, []),
            EditResult("swirl", "geometry", True, 0.251 + more, []),
        ],
        evasion=attacked(0.01),
        collision=attacked(0.02),
        roc=[(0.0, 0.0), (1.0, 1.0)],
        copies=40,
        negatives=50,
        seconds=1.0,
    )


def attacked(more):
    return AttackedRates(
        photographs=3,
        pairs=4,
        edits=["crop"],
        steps=5,
        threshold=0.4,
        natural=0.901 + more,
        budgets=[
            AttackedRate(1.0, 48.2, 0.801 + more, 0.601 + more, 1.1, 0.701 + more),
            AttackedRate(2.0, None, 0.501 + more, 0.301 + more, 2.1, 0.401 + more),
        ],
    )


def scores(name, start):
    return TwoAFCScores(
        name=name,
        triplets=int(start),
        natural=start / 100,
        ties=3,
        radius_median=start + 0.5,
        certified=[
            CertifiedScore(0.5, start / 101, start / 102),
            CertifiedScore(1.0, start / 103, start / 104),
        ],
        attacked=[
            AttackedScore("l2", 1.0, {"pgd": start / 105, "apgd": start / 106}, start / 107, 0.01),
            AttackedScore("linf", 8 / 255, {"pgd": start / 108}, start / 109, 0.02),
        ],
    )
