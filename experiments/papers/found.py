"""What the papers claim, and what is found here: words, with numbers from the items' rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from experiments.papers.item import PAPERS, Compared, PaperName
from experiments.papers.report import number, printed
from experiments.papers.run import PaperOutcome
from percert.reports.table import Column, Table


@dataclass(frozen=True)
class Claim:
    """A claim of ``paper``, ``printed`` as it says it and ``here`` as it is found.

    In both, ``{item|row}`` is a number of an item: in ``printed`` the paper's, in ``here`` the
    measured one. ``row`` is a pattern, so that whatever stands for a network may be in its name.
    """

    paper: PaperName
    says: str
    printed: str
    here: str


#: Numbers that both columns say.
LARGER_LAMBDA = ", ".join(f"{{hpot-table3|lambda {value}: mean L2}}" for value in ("0.5", "1", "2"))
LONGER_STEPS = ", ".join(
    f"{{hpot-table4|step {value}: mean L2}}" for value in ("0.05", "0.1", "0.2")
)
CLAIMS = (
    Claim(
        "lipsim",
        "Attacks of l2 2 take the score of a metric without a bound, and leave LipSim most of its",
        "DreamSim {lipsim-table1|DreamSim*: natural score} to "
        "{lipsim-table1|DreamSim*: under attack, l2 2}, LipSim "
        "{lipsim-table1|LipSim*: natural score} to {lipsim-table1|LipSim*: under attack, l2 2}",
        "the same: without a bound {lipsim-table1|DreamSim*: natural score} to "
        "{lipsim-table1|DreamSim*: under attack, l2 2}, with one "
        "{lipsim-table1|LipSim*: natural score} to {lipsim-table1|LipSim*: under attack, l2 2}, "
        "of which {lipsim-table1|LipSim*: proven, l2 2} is proven",
    ),
    Claim(
        "lipsim",
        "Under linf 0.03 LipSim keeps more than DreamSim",
        "{lipsim-table3|LipSim*: under AutoAttack, linf 0.03} beside "
        "{lipsim-table3|DreamSim*: under AutoAttack, linf 0.03}",
        "{lipsim-table3|LipSim*: under AutoAttack, linf 0.03} beside "
        "{lipsim-table3|DreamSim*: under AutoAttack, linf 0.03}",
    ),
    Claim(
        "lipsim",
        "Certified scores at 36, 72 and 108/255",
        ", ".join(
            f"{{lipsim-table2|LipSim of DreamSim, margin 0.5*: certified by Eq. 8, {n}/255}}"
            for n in (36, 72, 108)
        ),
        "by the paper's radius "
        + ", ".join(
            f"{{lipsim-table2|LipSim of DreamSim, margin 0.5*: certified by Eq. 8, {n}/255}}"
            for n in (36, 72, 108)
        )
        + "; by the exact one, of the same network and triplets, "
        + ", ".join(
            "{lipsim-table2|LipSim of DreamSim, margin 0.5*: certified by the exact radius, "
            f"{n}/255}}"
            for n in (36, 72, 108)
        ),
    ),
    Claim(
        "lipsim",
        "l2-PGD of 1 moves DreamSim's distance far and LipSim's hardly",
        "{lipsim-figure3b|DreamSim*: mean d(x, x + delta)} of DreamSim, LipSim close to 0",
        "{lipsim-figure3b|DreamSim*: mean d(x, x + delta)} without a bound, "
        "{lipsim-figure3b|LipSim*: mean d(x, x + delta)} with one (at most "
        "{lipsim-figure3b|LipSim*: mean of the largest d possible, proven} is possible); the two "
        "have different scales",
    ),
    Claim(
        "lipsim",
        "Search finds the same nearest image after an attack of l2 2 on the query",
        "shown in pictures",
        "of {lipsim-figure4|LipSim*: nearest image unchanged under attack} of the queries with a "
        "bound (proven of {lipsim-figure4|LipSim*: proven to stay within l2 2}), of "
        "{lipsim-figure4|DreamSim*: nearest image unchanged under attack} without",
    ),
    Claim(
        "hpot",
        "Human_Perc_OT succeeds always",
        "{hpot-table1|Human_Perc_OT (a = 0): success}",
        "{hpot-table1|Human_Perc_OT (a = 0): success} as floats; as files less "
        "(`human-perc-ot.md`)",
    ),
    Claim(
        "hpot",
        "Its changes are the least visible (LPIPS x 1000)",
        "{hpot-table1|Human_Perc_OT (a = 0): mean LPIPS*}; PGD (L2) "
        "{hpot-table1|PGD (L2): mean LPIPS*}, PerC_AL {hpot-table1|PerC_AL: mean LPIPS*}, LPA "
        "{hpot-table1|NPTM (LPA): mean LPIPS*}, PPGD {hpot-table1|NPTM (PPGD): mean LPIPS*}",
        "less than LPA's and PPGD's, more than the others': "
        "{hpot-table1|Human_Perc_OT (a = 0): mean LPIPS*}; PGD (L2) scaled to the least that a "
        "file survives {hpot-table1|PGD (L2), the least multiple*: mean LPIPS*}, PerC_AL "
        "{hpot-table1|PerC_AL: mean LPIPS*}, LPA {hpot-table1|NPTM (LPA): mean LPIPS*}, PPGD "
        "{hpot-table1|NPTM (PPGD): mean LPIPS*}",
    ),
    Claim(
        "hpot",
        "A larger lambda makes larger changes (mean L2 at 0.5, 1 and 2)",
        LARGER_LAMBDA,
        f"so with a cost that has a slope at the photograph: {LARGER_LAMBDA}",
    ),
    Claim(
        "hpot",
        "Shorter steps make smaller changes (mean L2 at 0.05, 0.1 and 0.2)",
        LONGER_STEPS,
        f"so, and by more: {LONGER_STEPS}",
    ),
    Claim(
        "hpot",
        "With a = 5 it is the most robust behind JPEG and fewer bits",
        "drawn in bars",
        "{hpot-figure7|Human_Perc_OT (a = 5) through jpeg-75} and "
        "{hpot-figure7|Human_Perc_OT (a = 5) through bits-5} of it survive, and as much of LPA: "
        "{hpot-figure7|NPTM (LPA) through jpeg-75} and {hpot-figure7|NPTM (LPA) through bits-5}",
    ),
    Claim(
        "hpot",
        "A step under 1 - SSIM keeps the structure of MNIST's digits",
        "shown in pictures",
        "a mean 1 - SSIM of {hpot-figure9|SSIM step, eps 10: mean 1 - SSIM where both succeed}, "
        "beside {hpot-figure9|gradient step, eps 10: mean 1 - SSIM where both succeed} under l2",
    ),
    Claim(
        "hpot",
        "Accuracy depends on a country's income",
        "p = {hpot-figure8|deepface: its p-value}",
        "other questions: of faces by age p = {hpot-figure8|deepface: its p-value} and "
        "{hpot-figure8|fairface: its p-value} with the paper's covariance, "
        "{hpot-figure8|deepface: p-value, covariance between groups} and "
        "{hpot-figure8|fairface: p-value, covariance between groups} with one that is estimated",
    ),
    Claim(
        "hpot",
        "Training by Algorithms 2 and 3 makes models fairer than training on PGD",
        "p = {hpot-section4|p of t = *, paired and one-sided*}",
        "nothing of the kind is shown, with as many models a set as the paper's, of another data "
        "set (`dro-fairness.md`)",
    ),
)

_NUMBER = re.compile(r"\{([^|}]+)\|([^}]+)\}")


def filled(text: str, rows: Mapping[str, Sequence[Compared]], *, paper: bool) -> str | None:
    """``text`` with its numbers; ``None`` where one of them is not there.

    >>> rows = {"a-table": [Compared("X, here Y: mean", 2.5, 3.25)]}
    >>> filled("of {a-table|X*: mean}", rows, paper=True)
    'of 2.5'
    >>> filled("of {a-table|X*: mean}", rows, paper=False), filled("{b|c}", rows, paper=True)
    ('of 3.25', None)
    """
    missing = []

    def told(found: re.Match[str]) -> str:
        name, pattern = found.groups()
        for row in rows.get(name, ()):
            if (
                fnmatchcase(row.what, pattern)
                and (row.paper if paper else row.measured) is not None
            ):
                return printed(row) or "" if paper else number(row.measured, row.unit, digits=3)
        missing.append(found.group())
        return ""

    text = _NUMBER.sub(told, text)
    return None if missing else text


def claims(outcomes: Sequence[PaperOutcome]) -> str:
    """A table a paper of what it claims and what is found, of as much as is made; maybe nothing."""
    rows = {o.item.name: o.findings.rows for o in outcomes if o.findings is not None}
    parts = []
    for paper, title in PAPERS.items():
        told = [
            (claim.says, said, here)
            for claim in CLAIMS
            if claim.paper == paper
            and (said := filled(claim.printed, rows, paper=True)) is not None
            and (here := filled(claim.here, rows, paper=False)) is not None
        ]
        columns: list[Column[tuple[str, str, str]]] = [
            Column("it claims", lambda one: one[0]),
            Column("in the paper", lambda one: one[1]),
            Column("here", lambda one: one[2]),
        ]
        if told:
            parts.append(f"### {title}\n\n{Table.of(told, columns).markdown().strip()}")
    return "\n\n".join(parts)
