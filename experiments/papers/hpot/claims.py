"""What Human Imperceptible Attacks claims of its attack, each beside what is found."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from experiments.papers.hpot.detection import LARGEST
from experiments.papers.hpot.rivals import LITERAL
from experiments.papers.printed import HPOT_TABLE_1_PERCEPTUAL
from percert.evaluation.attack_runs.distances import CLEAN
from percert.reports.table import Column, Table, number, percent


def claims(found: Mapping[str, Any]) -> str:
    """The paper's claims on its attack, each beside the numbers of this run."""
    (quick,) = (entry for entry in found["all_quick"] if entry["attack"] == LITERAL.format(0))
    ratios = found["ratios"]
    printed = {name: row[0] for name, row in HPOT_TABLE_1_PERCEPTUAL.items()}
    lpips = printed[LITERAL.format(0)]

    def beside(name: str) -> Callable[[str], float | None]:
        return lambda rival: 1 / ratios[rival][name] if ratios[rival][name] else None

    rivals = {
        "PGD (L2), truncated to 8 bits in each step": lpips / printed["PGD (L2)"],
        "PGD (L2), least multiple as a file": None,
        "PerC_AL (100 steps)": lpips / printed["PerC_AL"],
        "NPTM (PPGD), AlexNet": lpips / printed["NPTM (PPGD)"],
        "NPTM (LPA), AlexNet": lpips / printed["NPTM (LPA)"],
        "human-perc-ot": None,
        "ssim-sqp": None,
    }

    def listed(*, below: bool) -> str:
        """The rivals than which its ST-LPIPS is smaller, or larger."""
        found = [name for name in rivals if name in ratios and beside("st-lpips-alex")(name)]
        some = [name for name in found if ((beside("st-lpips-alex")(name) or 0) < 1) == below]
        return "; ".join(some) or "none of them"

    two = partial(number, digits=2)
    columns: list[Column[str]] = [
        Column("Human_Perc_OT (a = 0) over", str),
        Column("LPIPS, paper", rivals.__getitem__, ".2g"),
        Column("ST-LPIPS", beside("st-lpips-alex"), two),
        Column("1 - SSIM", beside("ssim"), two),
        Column("noticed", beside("seen"), two),
        Column("L2", beside("l2"), two),
    ]
    table = Table.of([rival for rival in rivals if rival in ratios], columns).markdown()
    return (
        "## What the paper claims, and what is found\n\n"
        f"**Success of 100 %.** Of the {quick['images']} photographs that were attacked "
        f"{percent(quick['success'])} as floats, and {percent(quick['success_8bit'])} as "
        "files: rounding to 8 bits undoes the others.\n\n"
        "**Smaller perceptual distances than its rivals'.** By ST-LPIPS smaller than those of "
        f"{listed(below=True)}. Larger than those of {listed(below=False)}. "
        "Below is its distance over the rival's, means over the photographs on which both succeed "
        f"as files: under 1 it is the less visible one.\n\n{table}\n"
        f"{_survival(found)}\n\n"
        f"**Detection**, which the paper leaves for later: {_detected(found)}"
    )


def _survival(found: Mapping[str, Any]) -> str:
    """How robust a = 5 is behind each defence, beside the best of the others, and how visible."""
    survive = {(entry["attack"], entry["defence"]): entry["share"] for entry in found["figure_7"]}
    high, low = LITERAL.format(5), LITERAL.format(0)
    said = []
    for name in dict.fromkeys(defence for _, defence in survive):
        rivals_of_it = [(v, a) for (a, d), v in survive.items() if d == name and a != high]
        share, attack = max(rivals_of_it)
        said.append(
            f"behind {name} {100 * survive[high, name]:.0f} %, and of the others most of {attack}, "
            f"{100 * share:.0f} %"
        )
    seen = {entry["attack"]: entry["mean"]["seen"] for entry in found["table_1"]}
    return (
        f"**With a = 5 the most robust to defences.** Still misclassified are {'; '.join(said)}. "
        f"Of its files {percent(seen[high])} of observers would notice the change, and "
        f"{percent(seen[low])} at a = 0."
    )


def _detected(found: Mapping[str, Any]) -> str:
    """How well the largest change of three squeezers tells attacked files."""
    alarmed = {entry["attack"]: entry["alarmed"][LARGEST] for entry in found["detection"]}
    wanted = (LITERAL.format(0), "ssim-sqp", "ssim-sqp, through JPEG 75 and 4 bits")
    told = [f"{percent(alarmed[name])} of {name}" for name in wanted if name in alarmed]
    return (
        f"a detector of three squeezers finds {', '.join(told)}, with false alarms at "
        f"{percent(alarmed[CLEAN])} of clean photographs."
    )
