"""What the command line says of an evaluation of copies, as objects."""

from typing import TYPE_CHECKING

import typer

from percert.reports.budgets import parse_budget

if TYPE_CHECKING:
    from percert.data.copy_edits import Edit


def parse_edits(text: str) -> "tuple[Edit, ...]":
    """A set of edits by its name, or single ones in a list.

    >>> [edit.name for edit in parse_edits("mirror, jpeg-50")]
    ['mirror', 'jpeg-50']
    """
    from percert.data.copy_edits import EDITS, HARD_EDITS, USUAL_EDITS, find_edit

    sets = {"usual": USUAL_EDITS, "hard": HARD_EDITS, "all": EDITS}
    if text in sets:
        return sets[text]
    names = dict.fromkeys(filter(None, (name.strip() for name in text.split(","))))
    if not names:
        raise ValueError("--edits: expected usual, hard, all or names of edits, found none")
    return tuple(find_edit(name) for name in names)


def parse_budgets(text: str, side: int) -> tuple[float, ...]:
    """Lengths above 0, rising; of linf changes and decibels in pictures of ``side`` x ``side``.

    >>> parse_budgets("16,1/2,linf:8/255", 299)
    (0.5, 16.0, 16.247...)
    """
    try:
        budgets = [parse_budget(part) for part in text.split(",")]
    except ValueError:
        budgets = []
    if side == 0 and any(budget.kind != "l2" for budget in budgets):
        raise typer.BadParameter(
            "linf and dB are lengths of pictures of one size, and --side 0 names none",
            param_hint="--eps",
        )
    found = sorted({budget.length((side, side)) for budget in budgets})
    if not found or found[0] <= 0:
        raise typer.BadParameter(
            f"expected lengths above 0 such as 1,4,36/255, or linf:8/255, or 30dB, found {text!r}",
            param_hint="--eps",
        )
    return tuple(found)
