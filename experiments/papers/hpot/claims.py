"""What Human Imperceptible Attacks claims of its attack, each beside what is found."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from experiments.papers.hpot.rivals import LITERAL
from experiments.papers.printed import HPOT_TABLE_1_PERCEPTUAL
from percert.reports.table import Column, Table, number


def claims(found: Mapping[str, Any]) -> str:
    """The paper's claims on its attack, each beside the numbers of this run."""
    entries = {entry["attack"]: entry for entry in found["table_1"]}
    ours = entries[LITERAL.format(0)]
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
    survive = {(entry["attack"], entry["defence"]): entry["share"] for entry in found["figure_7"]}
    high = LITERAL.format(5)
    said = []
    for name in dict.fromkeys(defence for _, defence in survive):
        rivals_of_it = [(v, a) for (a, d), v in survive.items() if d == name and a != high]
        share, attack = max(rivals_of_it)
        said.append(
            f"behind {name} {100 * survive[high, name]:.0f} % of it survive, and of the others "
            f"most of {attack}, {100 * share:.0f} %"
        )
    return (
        "## What the paper claims, and what is found\n\n"
        "**Smaller perceptual distances than its rivals'.** Its distance over the rival's, means "
        "over the photographs on which both succeed as files; below 1 it is the less visible "
        "one:\n\n" + table + "\n"
        f"**Success of 100 %.** Here {share_words(ours['success'])} as floats and "
        f"{share_words(ours['success_8bit'])} as files.\n\n"
        f"**With a = 5 the most robust to defences.** Here {'; '.join(said)}."
    )


def share_words(share: float) -> str:
    """A share in per cent.

    >>> share_words(0.9474)
    '94.7 %'
    """
    return f"{100 * share:.1f} %"
