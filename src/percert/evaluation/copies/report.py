"""The report of an evaluation of copy detectors: sections, tables and figures."""

from collections.abc import Callable, Sequence
from typing import Any

from percert.evaluation.copies.attack import AttackedRate, AttackedRates
from percert.evaluation.copies.evaluate import CopiesPlan, DetectorResult
from percert.evaluation.copies.rates import CertifiedRate
from percert.reports.budgets import decibels_up
from percert.reports.page import Block, Figure, Paragraph, Section
from percert.reports.plots import COLOURS, as_written, figure_png, new_figure
from percert.reports.table import Column, Table


def copies_sections(
    results: Sequence[DetectorResult], plan: CopiesPlan, roc: bytes, curve: bytes
) -> list[Section]:
    """The sections of the page; ``roc`` and ``curve`` are the bytes of the two figures."""
    seen: list[Block] = [
        Paragraph(
            f"A copy is an edited picture and its original, found where their distance is within "
            f"the threshold; every other pair of a query and an image of the collection is a "
            f"negative. {_threshold(plan)}"
        ),
        _rates(results),
        Figure(
            roc,
            "True-positive rate against false-positive rate, both of pairs.",
            "One rising line a detector, over a logarithmic axis of false-positive rates.",
        ),
    ]
    proven: list[Block] = [
        Paragraph(
            f"Budgets are l2 lengths in the pixels of the edited picture{_side(plan.side)}. "
            f"Certified: found, and proven to stay so while the picture changes by up to eps, "
            f"whatever the change is."
        ),
        _certified(results),
        Figure(
            curve,
            "Solid: what projected gradient ascent leaves of the attacked subset. Dashed: what is "
            "proven, of all copies on the left, of the same strangers on the right.",
            "Shares between 0 and 1 that fall with the budget, a colour a detector.",
        ),
    ]
    sections = [Section("Copies found", tuple(seen)), Section("Copies certified", tuple(proven))]
    attacked = [one for one in results if one.evasion or one.collision]
    if attacked:
        sections.append(Section("Under attack", tuple(_attacked(attacked))))
    sections.append(Section("Edit by edit", (_edits(results),)))
    return sections


def roc_figure(results: Sequence[DetectorResult]) -> bytes:
    """The ROC of every detector over a logarithmic axis."""
    figure, axis = new_figure()
    least = min(1 / one.negatives for one in results)
    for one, colour in zip(results, COLOURS * 9, strict=False):
        # No false positive at all has no place on a logarithmic axis: left of everything else.
        x = [max(false, least / 2) for false, _ in one.roc]
        axis.step(x, [true for _, true in one.roc], where="post", color=colour, label=one.name)
    axis.set_xscale("log")
    axis.set(xlabel="false-positive rate", ylabel="true-positive rate", ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[0]:
        as_written(axis.legend(frameon=False, fontsize=8))
    return figure_png(figure)


def attack_figure(results: Sequence[DetectorResult]) -> bytes:
    """Certified and attacked rates against eps: of copies, and of strangers where attacked."""
    both = any(one.collision for one in results)
    figure, grid = new_figure(10.5 if both else 7.0, 5.2, ncols=1 + both, squeeze=False)
    for one, colour in zip(results, COLOURS * 9, strict=False):
        if one.certified:
            shares = [one.natural, *(entry.rate for entry in one.certified)]
            eps = [0.0, *(entry.eps for entry in one.certified)]
            # The attack is on few of the copies: what is proven of all is another line then.
            style, what = (":", "certified, all copies") if one.evasion else ("--", "certified")
            grid[0, 0].plot(eps, shares, style, color=colour, label=f"{one.name}, {what}")
        for axis, found in zip(grid[0], (one.evasion, one.collision), strict=False):
            if found is None:
                continue
            _line(axis, found, "rate", "-", colour, one.name)
            if found.budgets[0].certified is not None:
                _line(axis, found, "certified", "--", colour, f"{one.name}, certified")
    budgets = sorted({entry.eps for one in results for entry in _budgets(one)})
    for axis, what in zip(grid[0], ("copies found", "strangers refused"), strict=False):
        axis.set_xscale("symlog", base=2, linthresh=min(budgets, default=1.0))
        axis.set_xticks([0.0, *budgets], [f"{eps:g}" for eps in (0.0, *budgets)], fontsize=8)
        axis.minorticks_off()
        axis.set(xlabel="l2 eps", ylabel=f"share of {what}", ylim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
    # One for both, below: lines are everywhere, and the two have the same ones.
    shown = {
        label: handle
        for axis in grid[0]
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    legend = figure.legend(
        shown.values(), shown, loc="outside lower center", ncols=4, frameon=False, fontsize=8
    )
    as_written(legend)
    return figure_png(figure)


def _budgets(one: DetectorResult) -> list[CertifiedRate | AttackedRate]:
    attacked = [found.budgets for found in (one.evasion, one.collision) if found is not None]
    return [*one.certified, *(entry for some in attacked for entry in some)]


def _line(axis: Any, found: AttackedRates, which: str, style: str, colour: str, name: str) -> None:
    shares = [found.natural, *(getattr(entry, which) for entry in found.budgets)]
    eps = [0.0, *(entry.eps for entry in found.budgets)]
    axis.plot(eps, shares, style, marker="o", ms=3.5, color=colour, label=name)


def _rates(results: Sequence[DetectorResult]) -> Table:
    columns: list[Column[DetectorResult]] = [
        Column("detector", lambda one: one.name),
        *_tpr(results),
        Column("uAP", lambda one: one.micro_average_precision, ".3f"),
        Column("threshold", lambda one: one.threshold, ".4g"),
        Column("FPR there", lambda one: one.fpr_found, ".2g"),
        Column("found there", lambda one: one.natural, ".3f"),
    ]
    return Table.of(
        results,
        columns,
        f"{results[0].copies} copies and {results[0].negatives} negatives a detector. uAP: micro "
        "average precision over all pairs. "
        + " ".join([*own_words(results), confidence_words(results)]),
    )


def _tpr(results: Sequence[DetectorResult]) -> list[Column[DetectorResult]]:
    """The true-positive rate at each false-positive rate."""

    def at(fpr: float) -> Callable[[DetectorResult], float | None]:
        return lambda one: next((point.tpr for point in one.points if point.fpr == fpr), None)

    return [Column(f"TPR at {point.fpr:g}", at(point.fpr), ".3f") for point in results[0].points]


def _certified_rates(
    results: Sequence[DetectorResult], heading: Callable[[CertifiedRate], str]
) -> list[Column[DetectorResult]]:
    """The certified rate at each budget; nothing for detectors without certificates."""

    def at(eps: float) -> Callable[[DetectorResult], float | None]:
        return lambda one: next((entry.rate for entry in one.certified if entry.eps == eps), None)

    budgets = next((one.certified for one in results if one.certified), [])
    return [Column(heading(entry), at(entry.eps), ".3f") for entry in budgets]


def results_shown(results: Sequence[DetectorResult]) -> list[Table | str]:
    """The summary on the terminal: a row a detector, and the rates under attack."""
    columns: list[Column[DetectorResult]] = [
        Column("detector", lambda one: one.name),
        *_tpr(results),
        Column("threshold", lambda one: one.threshold, ".4g"),
        Column("found", lambda one: one.natural, ".3f"),
        *_certified_rates(results, lambda entry: f"certified at {entry.eps:g}"),
    ]
    shown: list[Table | str] = [Table.of(results, columns)]
    for one in results:
        for what, found in (("copies found", one.evasion), ("strangers refused", one.collision)):
            if found is not None:
                left = ", ".join(f"{entry.rate:.3f} at {entry.eps:g}" for entry in found.budgets)
                shown.append(
                    f"{one.name}, {what} under attack: {found.natural:.3f} without, {left}"
                )
    shown += own_words(results)
    if words := confidence_words(results):
        shown.append(words)
    return shown


def own_words(results: Sequence[DetectorResult]) -> list[str]:
    """Of which detectors each stored picture has a threshold of its own; empty without any."""
    return [
        f"{one.name}: each stored picture has a threshold of its own, that in the table less "
        f"{one.rule.weight:g} of its likeness to the background ({one.rule.source})."
        for one in results
        if one.rule is not None and one.rule.weight
    ]


def confidence_words(results: Sequence[DetectorResult]) -> str:
    """How sure the thresholds are that the collection's own pictures chose; empty without any."""
    said = [
        f"{one.name}: at most {one.auto.fpr:g} of unrelated pairs pass with "
        f"{int(1000 * one.auto.confidence) / 10:g} % confidence, by {one.auto.pairs} independent "
        f"pairs (with {100 * one.auto.wanted:g} %: at most {one.auto.fpr_bound:.2g})."
        for one in results
        if one.auto is not None
    ]
    return " ".join(said)


def _certified(results: Sequence[DetectorResult]) -> Table:
    columns: list[Column[DetectorResult]] = [
        Column("detector", lambda one: one.name),
        Column("found", lambda one: one.natural, ".3f"),
        *_certified_rates(results, lambda entry: _budget(entry.eps, entry.psnr)),
    ]
    proven = [one for one in results if one.certified]
    return Table.of(proven, columns, "Shares of all copies at the threshold.")


def _attacked(results: Sequence[DetectorResult]) -> list[Paragraph | Table]:
    blocks: list[Paragraph | Table] = [
        Paragraph(
            "Projected gradient steps in the l2 ball, clipped to [0, 1]; hashes are followed "
            "through the linear maps inside them, before rounding. Each cell: what is left, and in "
            "brackets what is proven of the same pairs; 8 bit: after rounding, which moves the "
            "image by a length of its own. Every run checks certified <= attacked <= natural, pair "
            "by pair."
        )
    ]
    for name, what in (
        ("evasion", "Copies that are still found"),
        ("collision", "Strangers that are still refused"),
    ):
        rows = [(one.name, getattr(one, name)) for one in results if getattr(one, name)]
        if not rows:
            continue
        found: AttackedRates = rows[0][1]
        columns: list[Column[tuple[str, AttackedRates]]] = [
            Column("detector", lambda row: row[0]),
            Column("no attack", lambda row: row[1].natural, ".3f"),
        ]
        for entry in found.budgets:
            heading, at = _budget(entry.eps, entry.psnr), _at(entry.eps)
            columns += [
                Column(heading, at, with_proof),
                Column(f"{heading}, 8 bit", at, lambda entry: f"{entry.rate_8bit:.3f}"),
            ]
        caption = (
            f"{what}: {found.pairs} pairs of {found.photographs} pictures, {found.steps} steps a "
            "budget."
        )
        blocks.append(Table.of(rows, columns, caption))
    return blocks


def _at(eps: float) -> Callable[[tuple[str, AttackedRates]], AttackedRate | None]:
    return lambda row: next((entry for entry in row[1].budgets if entry.eps == eps), None)


def with_proof(entry: AttackedRate) -> str:
    """What is left after an attack, and in brackets what is proven of the same pairs."""
    proven = "" if entry.certified is None else f" ({entry.certified:.3f})"
    return f"{entry.rate:.3f}{proven}"


def _edits(results: Sequence[DetectorResult]) -> Table:
    def found(one: DetectorResult) -> Callable[[int], float]:
        return lambda place: one.edits[place].natural

    def name(place: int) -> str:
        edit = results[0].edits[place]
        return edit.name + (" (hard)" if edit.hard else "")

    columns: list[Column[int]] = [Column("edit", name)]
    columns += [Column(one.name, found(one), ".3f") for one in results]
    return Table.of(range(len(results[0].edits)), columns, "Copies found at the threshold.")


def _threshold(plan: CopiesPlan) -> str:
    rate = f"{plan.threshold.value:g}"
    return {
        "measured": f"Each detector's threshold lets {rate} of these negatives pass.",
        "auto": f"Each detector's threshold is chosen by pairs of unrelated pictures of the "
        f"collection, for a false-positive rate of {rate}.",
        "given": f"The first detector's threshold was given ({rate}); the others have that of the "
        f"same false-positive rate.",
    }[plan.threshold.kind]


def _side(side: int) -> str:
    if side == 0:
        return ""
    return f", for a picture of {side} x {side}; at other sizes the length of the same PSNR"


def _budget(eps: float, psnr: float | None) -> str:
    return f"l2 {eps:g}" + ("" if psnr is None else f" ({decibels_up(psnr)} dB)")
