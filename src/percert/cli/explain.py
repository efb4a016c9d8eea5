"""The answer of ``percert compare`` for people: a table, then what it means in sentences."""

import math
from collections.abc import Sequence
from typing import Literal

from percert.certify.answers import Comparison
from percert.certify.sentences import comparison_sentences, outward
from percert.cli.output import say, show_table
from percert.reports.budgets import describe, rounded_down, rounded_up_db

_STYLES = {"yes": "bold green", "no": "bold yellow", "plain": ""}


def explain(
    reference: str,
    results: Sequence[Comparison],
    metric: str,
    threshold: float | None,
    perturbed: str,
) -> None:
    """Show ``results`` (at least one) on stdout."""
    columns: list[tuple[str, Literal["left", "right"]]] = [
        ("candidate", "left"),
        ("distance", "right"),
    ]
    if results[0].lower is not None:
        columns.append(("stays within", "right"))
    if results[0].radius is not None:
        columns += [("copy", "left"), ("radius l2", "right"), ("PSNR", "right")]
    show_table(columns, [_row(result) for result in results])
    say("")
    candidate = results[0].candidate if len(results) == 1 else "a candidate"
    whose = {"candidate": candidate, "reference": reference}.get(
        perturbed, f"{reference} and {candidate} each"
    )
    if len(results) == 1:
        for said in comparison_sentences(reference, results[0], metric, threshold, whose):
            say(said.text, style=_STYLES[said.tone])
    else:
        _many(reference, results, metric, threshold, whose)
    if results[0].lower is None:
        say(f"{metric} has no proven bound: it says nothing about tampering.")


def _row(result: Comparison) -> list[str]:
    row = [result.candidate, f"{result.distance:.4f}"]
    if result.lower is not None and result.upper is not None:
        row.append(" - ".join(outward(result.lower, result.upper)))
    if result.radius is not None:
        row += [_VERDICTS[result.copy], rounded_down(result.radius, 3), _least_db(result)]
    return row


#: What is said of a pair; ``None`` where one of the two is plain.
_VERDICTS = {True: "yes", False: "no", None: "undecided"}


def _least_db(result: Comparison) -> str:
    if not result.radius:
        return "-"
    if math.isinf(result.radius):
        return "any"
    return f">= {rounded_up_db(result.radius, result.resolution)} dB"


def _many(
    reference: str,
    results: Sequence[Comparison],
    metric: str,
    threshold: float | None,
    whose: str,
) -> None:
    if results[0].radius is None:
        say(f"Distances from {reference} by {metric}; 0: equal.", style="bold")
    else:
        copies = sum(bool(result.copy) for result in results)
        say(
            f"{copies} of {len(results)} are copies of {reference}: distance <= {threshold:g} "
            f"({metric}).",
            style="bold",
        )
        say(
            f"Proven: a verdict stands for every change of {whose} of less than its radius, an l2 "
            "length in pixels from 0 to 1, and so for every change of more than that PSNR."
        )
    if results[0].lower is not None:
        say(
            f"Proven: for every change of {whose} up to {_budget(results)} the distance stays "
            "within its bounds."
        )


def _budget(results: Sequence[Comparison]) -> str:
    """The eps of all rows, in one phrase: by default it grows with the size of the image."""
    one = results[0]
    if len({(result.eps, result.resolution) for result in results}) == 1:
        return describe(one.eps, one.resolution)
    lengths = {result.eps for result in results}
    if len(lengths) == 1:
        return f"l2 {one.eps:g}"
    return f"1/255 on every value (l2 {min(lengths):.3g} to {max(lengths):.3g} by size)"
