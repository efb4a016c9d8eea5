"""Tables 1 and 3 to 6 of Human Imperceptible Attacks, and the p-values of its section 4."""

from collections.abc import Mapping, Sequence

from experiments.papers.hpot.attacks import (
    PERCEPTUAL,
    all_attacks,
    attacks_there,
    differs,
    measured_rows,
    paper_attacks,
)
from experiments.papers.item import Compared, Findings, Setting
from experiments.papers.photographs import attack_photographs
from experiments.papers.printed import (
    HPOT_SECTION_4,
    HPOT_TABLE_1,
    HPOT_TABLE_1_PERCEPTUAL,
    HPOT_TABLE_3,
    HPOT_TABLE_4,
    HPOT_TABLE_5,
    HPOT_TABLE_6,
)
from percert.attacks.transport.human_perc_ot import HumanPercOTLiteral
from percert.evaluation.attack_runs.compare import AttackEvaluation, AttackNumbers, evaluate_attacks
from percert.fairness.p_values import f_p_value, t_p_value


def table_1(setting: Setting) -> Findings:
    """Success and distances of the five attacks, and of the corrected one."""
    attacks = all_attacks(setting)
    numbers = _numbers(_evaluated(setting, list(attacks.values()), tuple(PERCEPTUAL)))
    rows: list[Compared] = []
    for name, spec in attacks.items():
        entry = numbers.get(spec)
        rows += _rows(name, entry, HPOT_TABLE_1.get(name))
        printed = HPOT_TABLE_1_PERCEPTUAL.get(name, (None, None))
        for (called, metric), paper in zip(PERCEPTUAL.items(), printed, strict=True):
            mean = _mean(entry, metric)
            value = None if mean is None else 1000 * mean
            rows.append(Compared(f"{name}: mean {called} x 1000", paper, value))
        rows.append(Compared(f"{name}: mean 1 - SSIM", None, _mean(entry, "ssim")))
    return Findings(tuple(rows), differs(setting))


def table_3(setting: Setting) -> Findings:
    """The literal attack at lambda 0.5, 1 and 2."""
    return _ablation(setting, "lam", "lambda", HPOT_TABLE_3)


def table_4(setting: Setting) -> Findings:
    """The literal attack at steps of 0.05, 0.1 and 0.2."""
    return _ablation(setting, "step", "step", HPOT_TABLE_4)


def table_6(setting: Setting) -> Findings:
    """Seconds for 1,000 images, from those for the images here."""
    attacks = paper_attacks(setting)
    numbers = _numbers(_evaluated(setting, list(attacks.values())))
    rows = [
        Compared(
            f"{name}: seconds for 1,000 images",
            HPOT_TABLE_6[name],
            _seconds(numbers.get(spec)),
            "s",
        )
        for name, spec in attacks.items()
    ]
    time = (
        "Times are those of this machine, with whatever else ran on it, times 1,000 by the number "
        "of photographs; the paper's are of an NVIDIA V100."
    )
    return Findings(tuple(rows), (time, *differs(setting)))


def _ablation(
    setting: Setting,
    option: str,
    called: str,
    printed: Mapping[float, tuple[float, float, float, float, float]],
) -> Findings:
    named = {str(value): f"human-perc-ot-literal:{option}={value:g}" for value in printed}
    specs = attacks_there(setting, named)
    numbers = _numbers(_evaluated(setting, list(specs.values())))
    rows: list[Compared] = []
    for value, (success, seconds, l1, l2, linf) in printed.items():
        name = f"{called} {value:g}"
        entry = numbers.get(specs[str(value)])
        rows += _rows(name, entry, (success, l1, l2, linf))
        rows.append(Compared(f"{name}: seconds for 1,000 images", seconds, _seconds(entry), "s"))
    return Findings(tuple(rows), differs(setting))


def _evaluated(
    setting: Setting, specs: Sequence[str], perceptual: Sequence[str] = ()
) -> AttackEvaluation:
    """The attacks, with the distances of ``perceptual`` whose weights are there."""
    runs = attack_photographs(setting, specs)
    rows, names = measured_rows(setting, runs, perceptual)
    return evaluate_attacks(runs, rows, (*runs.own_distances, *names))


def _numbers(evaluation: AttackEvaluation) -> dict[str, AttackNumbers]:
    return {entry.attack: entry for entry in evaluation.own}


def _rows(
    name: str, entry: AttackNumbers | None, printed: tuple[float, float, float, float] | None
) -> list[Compared]:
    success, *distances = printed or (None, None, None, None)
    found = None if entry is None else 100 * entry.success
    return [
        Compared(f"{name}: photographs attacked", None, None if entry is None else entry.attacked),
        Compared(f"{name}: success", success, found, "%"),
        *(
            Compared(f"{name}: mean {title}", paper, _mean(entry, key))
            for key, title, paper in zip(
                ("l1", "l2", "linf"), ("L1", "L2", "Linf"), distances, strict=True
            )
        ),
    ]


def _mean(entry: AttackNumbers | None, name: str) -> float | None:
    return None if entry is None or name not in entry.distances else entry.mean(name)


def _seconds(entry: AttackNumbers | None) -> float | None:
    return None if entry is None else 1000 * entry.seconds / entry.attacked


def table_5(setting: Setting) -> Findings:
    """Section 3.2's and Table 5's settings; ``setting`` changes nothing about them."""
    del setting
    attack = HumanPercOTLiteral()
    return Findings(
        (
            Compared("lambda", HPOT_TABLE_5["lambda"], attack.lam),
            Compared("step size of Algorithm 1", HPOT_TABLE_5["step"], attack.step),
            Compared("steps N of Algorithm 1", HPOT_TABLE_5["steps"], attack.steps),
            Compared(
                "steps between gradients of the cost", HPOT_TABLE_5["refresh"], attack.refresh
            ),
            Compared("confidence a", HPOT_TABLE_5["confidence"], attack.confidence),
        ),
        (
            f"The cost is {attack.cost} by default, PieAPP in the paper, whose weights have to be "
            "had first.",
            "Table 5's settings of training (learning rate 0.1, momentum 5e-4, T1 = T2 = 3) are "
            "options of percert train; a momentum of 5e-4 reads like a weight decay.",
        ),
        stands=(),
    )


def p_values(setting: Setting) -> Findings:
    """The F-test's and the t-test's p-value; ``setting`` changes nothing about them."""
    del setting
    paper = HPOT_SECTION_4
    f, (first, second), t, df = paper["f"], paper["f_df"], paper["t"], paper["t_df"]
    two_sided = t_p_value(t, df, "two-sided")
    return Findings(
        (
            Compared(
                f"p of F = {f} with df ({first}, {second})",
                paper["f_p"],
                f_p_value(f, (first, second)),
            ),
            Compared(
                f"p of t = {t}, paired and one-sided, df {df}", paper["t_p"], t_p_value(t, df)
            ),
            Compared(
                f"p of t = {t}, two samples, one-sided, df {2 * df}", None, t_p_value(t, 2 * df)
            ),
            Compared(f"p of t = {t}, paired and two-sided, df {df}", None, two_sided),
        ),
        (
            "The paper speaks of a standard t-test between two means of 50 models each, which has "
            "98 degrees of freedom; the p-value that it prints is that of a paired one, with 49.",
            "The statistics themselves cannot be made again: predictions and models are not "
            "published.",
        ),
        stands=(),
    )
