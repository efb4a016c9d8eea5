"""Tables 1 and 3 to 6 of Human Imperceptible Attacks, and the p-values of its section 4."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from experiments.papers.hpot.attacks import (
    PERCEPTUAL,
    all_attacks,
    attacks_there,
    differs,
    judges,
    mean_of,
    measured_rows,
    named_rows,
    own_cost,
    paper_attacks,
    stands,
)
from experiments.papers.hpot.rivals import LITERAL, WEIGHED
from experiments.papers.item import Compared, Findings, Setting, StandIn
from experiments.papers.networks import Judge
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
from percert.training.dro.recipe import DROSettings, RoundSettings


def table_1(setting: Setting) -> Findings:
    """Success and distances of the five attacks, and of those beside them."""
    attacks, some = all_attacks(setting), judges(setting, tuple(PERCEPTUAL))
    runs = attack_photographs(setting, list(attacks.values()))
    measured = named_rows(measured_rows(setting, runs, some), attacks)
    keys = (*runs.own_distances, "seen", *(judge.key for judge in some))
    numbers = _numbers(evaluate_attacks(runs, measured, keys))
    whole = own_cost(setting, attacks)
    rows: list[Compared] = []
    for name in attacks:
        entry = numbers.get(name)
        own = whole and name == LITERAL.format(0)
        rows += _rows(name, entry, HPOT_TABLE_1.get(name), own=own)
        printed = HPOT_TABLE_1_PERCEPTUAL.get(name, (None, None))
        for called, paper in zip(PERCEPTUAL, printed, strict=True):
            judge = next((one for one in some if one.paper == called), None)
            mean = None if judge is None else mean_of(entry, judge.key)
            what = f"{name}: mean {called if judge is None else judge.name} x 1000"
            mine = own and judge is not None and judge.own
            rows.append(Compared(what, paper, None if mean is None else 1000 * mean, own=mine))
        rows.append(Compared(f"{name}: mean 1 - SSIM", None, mean_of(entry, "ssim")))
        seen = mean_of(entry, "seen")
        share = None if seen is None else 100 * seen
        rows.append(Compared(f"{name}: observers who would notice", None, share, "%"))
        if name == PGD:
            rows += _as_returned(name, measured)
    metrics = [*(one.stand for one in some), *_missing(some)]
    return Findings(tuple(rows), differs(), stands=stands(setting, attacks, *metrics))


#: The rival whose files rounding undoes.
PGD = "PGD (L2)"


def _as_returned(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Compared]:
    """The lengths of the change before rounding, over the photographs on which that succeeds."""
    won = [row for row in rows if row["attack"] == name and row["success"]]
    return [
        Compared(
            f"{name}: mean {title} of the floats, before rounding",
            paper,
            fmean(row[f"{key}_returned"] for row in won) if won else None,
        )
        for key, title, paper in zip(
            ("l1", "l2", "linf"), ("L1", "L2", "Linf"), HPOT_TABLE_1[name][1:], strict=True
        )
    ]


def _missing(some: Sequence[Judge]) -> list[StandIn]:
    there = {judge.paper for judge in some}
    missing = [name for name in PERCEPTUAL if name not in there]
    return [StandIn(f"{name} with its weights", "nothing") for name in missing]


def table_3(setting: Setting) -> Findings:
    """The literal attack at lambda 0.5, 1 and 2, by a cost with a gradient at the photograph."""
    return _ablation(setting, "lambda", HPOT_TABLE_3, WEIGHED)


def table_4(setting: Setting) -> Findings:
    """The literal attack at steps of 0.05, 0.1 and 0.2."""
    specs = {f"step {value:g}": f"human-perc-ot-literal:step={value:g}" for value in HPOT_TABLE_4}
    return _ablation(setting, "step", HPOT_TABLE_4, specs)


def table_6(setting: Setting) -> Findings:
    """Seconds for 1,000 images, from those for the images here."""
    attacks = paper_attacks(setting)
    runs = attack_photographs(setting, list(attacks.values()))
    numbers = _numbers(evaluate_attacks(runs, runs.rows, runs.own_distances))
    rows = [
        Compared(_TIME.format(name), HPOT_TABLE_6[name], _seconds(numbers.get(spec)), "s")
        for name, spec in attacks.items()
    ]
    return Findings(tuple(rows), (TIMES, *differs()), stands=stands(setting, attacks, V100))


#: On what the paper's times were taken.
V100 = StandIn("seconds of an NVIDIA V100", "the processor time of this machine, of one thread")
_TIME = "{}: seconds for 1,000 images"
TIMES = (
    "Times are those that the processor spent on the attack, whatever else ran beside it, times "
    "1,000 by the number of photographs."
)


def _ablation(
    setting: Setting,
    called: str,
    printed: Mapping[float, tuple[float, float, float, float, float]],
    named: Mapping[str, str],
) -> Findings:
    """``named`` are the attacks, by ``called`` and the value."""
    specs = _with_pieapp(setting, named)
    runs = attack_photographs(setting, list(specs.values()))
    numbers = _numbers(evaluate_attacks(runs, runs.rows, runs.own_distances))
    own = own_cost(setting, specs)
    rows: list[Compared] = []
    for value, (success, seconds, l1, l2, linf) in printed.items():
        name = f"{called} {value:g}"
        entry = numbers.get(specs[name])
        rows += _rows(name, entry, (success, l1, l2, linf), own=own)
        rows.append(Compared(_TIME.format(name), seconds, _seconds(entry), "s"))
    return Findings(tuple(rows), (TIMES, *differs()), stands=stands(setting, specs, V100))


def _with_pieapp(setting: Setting, named: Mapping[str, str]) -> dict[str, str]:
    """The attacks with PieAPP as their cost where its weights are there, as they are otherwise."""
    plain = {name: spec.replace("cost=pieapp-untrained,", "") for name, spec in named.items()}
    plain = {name: spec.replace(":cost=pieapp-untrained", "") for name, spec in plain.items()}
    found = attacks_there(setting, plain)
    return dict(named) if found == plain else found


def _numbers(evaluation: AttackEvaluation) -> dict[str, AttackNumbers]:
    return {entry.attack: entry for entry in evaluation.own}


def _rows(
    name: str,
    entry: AttackNumbers | None,
    printed: tuple[float, float, float, float] | None,
    *,
    own: bool = False,
) -> list[Compared]:
    success, *distances = printed or (None, None, None, None)
    found = None if entry is None else 100 * entry.success
    files = None if entry is None else 100 * entry.success_8bit
    return [
        Compared(f"{name}: photographs attacked", None, None if entry is None else entry.attacked),
        Compared(f"{name}: success", success, found, "%", own),
        Compared(f"{name}: success as files", None, files, "%"),
        *(
            Compared(f"{name}: mean {title}", paper, mean_of(entry, key), own=own)
            for key, title, paper in zip(
                ("l1", "l2", "linf"), ("L1", "L2", "Linf"), distances, strict=True
            )
        ),
    ]


def _seconds(entry: AttackNumbers | None) -> float | None:
    taken = None if entry is None else entry.effort["cpu_seconds"]
    return None if taken is None else 1000 * taken


def table_5(setting: Setting) -> Findings:
    """Table 5's settings, and section 3.2's, beside the defaults; ``setting`` changes nothing."""
    del setting
    attack, rounds, models = HumanPercOTLiteral(), RoundSettings(), DROSettings()
    here = {
        "learning rate alpha of Algorithm 2": rounds.learning_rate,
        "learning rate alpha of Algorithm 3": models.learning_rate,
        "momentum": models.momentum,
        "T1, rounds of Algorithm 2": rounds.rounds,
        "T2, passes of Algorithm 3": models.passes,
        "step size of Algorithm 1": attack.step,
        "lambda": attack.lam,
        "steps N of Algorithm 1 (section 3.2)": attack.steps,
        "steps between gradients of the cost (appendix D)": attack.refresh,
        "confidence a (section 3.2: 0, 1 and 5)": attack.confidence,
    }
    rows = [Compared(what, HPOT_TABLE_5[what], value) for what, value in here.items()]
    printed = StandIn(
        "a momentum of 5e-4, as Table 5 prints it",
        f"a momentum of {models.momentum:g} and a weight decay of {models.weight_decay:g}, which "
        "the number usually is; percert train adversarial-dataset and dro run what is printed "
        "with --momentum 5e-4 --weight-decay 0",
    )
    words = (
        f"The loss is {attack.loss} and the optimiser SGD, as in the paper. The cost is "
        f"{attack.cost} by default, PieAPP in the paper, whose weights have to be had first.",
    )
    return Findings(tuple(rows), words, stands=(printed,))


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
