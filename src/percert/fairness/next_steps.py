"""The audit on one page: what was found, and what to do now.

What to collect, what to try and what not to conclude follow from the numbers of the audit at hand;
nothing is said that these do not call for.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from percert.fairness.audit_result import GroupAudit
from percert.fairness.conclusions import FEW, LEVEL
from percert.fairness.equivalence import Resolution
from percert.fairness.intervals import extremes
from percert.fairness.planning import PlanSettings, groups_for_line, images_for_gap, images_for_line
from percert.fairness.regression import FEWEST_GROUPS
from percert.fairness.report_sections import line_figure, shares_figure, shown_set
from percert.fairness.report_tables import is_influential
from percert.reports.page import Block, Points, Section
from percert.reports.table import Column, Table, text_of

#: The difference that is planned for where no margin was chosen.
USUAL = 0.05


def summary_section(audit: GroupAudit, folder: Path | None = None) -> Section:
    """One sheet: key numbers, figures, and what to do now."""
    blocks: list[Block] = [numbers_table(audit)]
    if audit.attributes:
        blocks.append(line_figure(audit, audit.attributes[0], folder, half=True))
    blocks.append(shares_figure(audit, folder, half=True))
    steps = (
        Points("What to collect", tuple(to_collect(audit))),
        Points("What to try", tuple(to_try(audit))),
        Points("What not to conclude", tuple(not_to_conclude(audit))),
    )
    blocks += [entry for entry in steps if entry.points]
    return Section("At a glance, and now?", tuple(blocks), sheet=True)


def _model(audit: GroupAudit) -> str:
    return audit.models[shown_set(audit)][0]


def numbers_table(audit: GroupAudit) -> Table:
    """The few numbers that the answer rests on, of the model that is drawn."""
    model = _model(audit)
    rows: list[tuple[str, str, str, str]] = []
    for attribute in audit.attributes:
        entry = audit.headline(shown_set(audit), attribute)[0]
        rows.append(
            (
                f"slope on {attribute}",
                f"{entry.line.slope:+.4g}",
                text_of(entry.line.interval, "+.4g"),
                f"{entry.p_holm:.4g}",
            )
        )
    for measure in audit.measures[model][:2]:
        group = f" ({measure.group})" if measure.group else ""
        name = measure.name.replace("_", " ") + group
        rows.append((name, f"{measure.value:.4f}", text_of(measure.interval, ".4f"), ""))
    test = audit.estimates[model].heterogeneity
    if test is not None:
        rows.append(
            ("do groups differ at all?", f"{test.statistic:.4g}", "", f"{test.p_value:.4g}")
        )
    for found in _resolutions(audit):
        over = "all groups" if found.attribute is None else f"the line on {found.attribute}"
        p_value = "" if found.test is None else f"{found.test.p_adjusted:.4g}"
        rows.append((f"{over}: shown fair within", f"{found.within:.4f}", "", p_value))
    return Table.of(
        rows,
        [
            Column(f"{audit.outcome.short} of {model}", lambda row: row[0]),
            Column("value", lambda row: row[1], side="right"),
            Column(f"{audit.settings.confidence:.0%} interval", lambda row: row[2], side="right"),
            Column("p that decides", lambda row: row[3], side="right"),
        ],
        f"{int(audit.table.n.sum()):,} images in {len(audit.table.n)} groups"
        + (f", {len(audit.table.left_out)} groups left out" if audit.table.left_out else "")
        + ".",
    )


def _resolutions(audit: GroupAudit) -> list[Resolution]:
    return [entry for entry in audit.resolutions if entry.model == _model(audit)]


def to_collect(audit: GroupAudit) -> list[str]:
    """Which images, and how many, would make the answer clearer."""
    model = _model(audit)
    share = audit.table.accuracy[model].to_numpy(float)
    n = audit.table.n.to_numpy(float)
    groups = len(n)
    rate = float(np.clip(share @ n / n.sum(), 0.02, 0.98))
    gap = min(audit.settings.margin or USUAL, 2 * min(rate, 1 - rate))
    points = []
    whole = next(entry for entry in _resolutions(audit) if entry.attribute is None)
    needed = images_for_gap(groups, rate, gap)
    small = [str(group) for group, images in audit.table.n.items() if images < needed]
    if whole.detectable > gap and small:
        points.append(
            f"To find that two groups differ by {gap:g} four times in five takes {needed:,} images "
            f"a group. {len(small)} of {groups} have fewer, so far {whole.detectable:.2g} could be "
            f"found; the smallest: {_few(sorted(small, key=lambda name: audit.table.n[name]))}."
        )
    left = [entry for entry in audit.table.left_out if entry.n]
    if left:
        points.append(
            f"{len(left)} groups are in no test, for they have too few images or no attribute: "
            f"{_few([entry.group for entry in sorted(left, key=lambda entry: -entry.n)])}."
        )
    for attribute in audit.attributes:
        entry = audit.headline(shown_set(audit), attribute)[0]
        spread = entry.line.between or 0.0
        if entry.line.test.significant:
            continue
        if images_for_line(groups, rate, gap, spread) is None:
            more = groups_for_line(
                PlanSettings(max(groups, FEWEST_GROUPS), rate, gap, spread=spread)
            )
            points.append(
                f"No number of images finds a change of {gap:g} along {attribute}: groups differ "
                f"by {spread:.2g} of their own. "
                + (f"It takes about {more} groups." if more else "Nor do more groups.")
            )
    return points


def to_try(audit: GroupAudit) -> list[str]:
    """Further analyses and steps that this audit calls for."""
    model, settings = _model(audit), audit.settings
    points = []
    test = audit.estimates[model].heterogeneity
    differ = test is not None and test.p_value < LEVEL
    names = {measure.name for measure in audit.measures[model]}
    if not settings.strata and "equalized_odds_difference" in names:
        points.append("Compare within classes, whose mix may differ.")
    if len(audit.attributes) == 1 and not settings.covariates:
        points.append(
            f"Allow for what goes with {audit.attributes[0]} (camera, size, light, year)."
        )
    if not differ and settings.margin is None:
        points.append("Ask what was not shown: is it fair within a margin that you choose?")
    if differ:
        worst = _few(_candidates(audit, model))
        points.append(
            f"Look at the mistakes in the groups that may be the lowest ({worst}): wrong labels, "
            "other objects, other framing? Then compare with this on the same images."
        )
    for attribute in audit.attributes[:1]:
        entry = audit.headline(shown_set(audit), attribute)[0]
        pull = [
            str(group)
            for group, distance in zip(audit.table.n.index, entry.line.cooks, strict=True)
            if is_influential(distance, len(audit.table.n))
        ]
        if pull:
            points.append(f"Repeat without the groups that pull the line: {_few(pull)}.")
    if len(audit.models[audit.sets[0]]) == 1:
        points.append("Train again from other seeds: one model is one draw of its training.")
    return points


def not_to_conclude(audit: GroupAudit) -> list[str]:
    """What a reader in a hurry would wrongly take away from this audit."""
    model = _model(audit)
    points = []
    if audit.attributes:
        points.append(
            f"That {audit.attributes[0]} is the cause: groups also differ in what is pictured, "
            "how, and by whom."
        )
        if len(audit.table.n) < FEW:
            points.append(
                f"That the line holds for other groups: {len(audit.table.n)} are few, and one can "
                "make or unmake it."
            )
        if not any(
            audit.headline(shown_set(audit), name)[0].line.test.significant
            for name in audit.attributes
        ):
            points.append("That there is no dependence: not found is not shown to be absent.")
    candidates = _candidates(audit, model)
    if len(candidates) > 1:
        points.append(
            f"That {audit.measures[model][0].group} is the lowest group: {len(candidates)} may be."
        )
    by_chance = audit.measures[model][1].by_chance
    if by_chance is not None:
        points.append(
            f"That the whole gap is real: groups of these sizes that are all alike show "
            f"{by_chance:.3f}."
        )
    points.append("Anything of other images, classes, uses or models than these.")
    return points


def _candidates(audit: GroupAudit, model: str) -> list[str]:
    """Groups that may have the lowest true share, the lowest seen first."""
    share = audit.table.accuracy[model]
    may = extremes(
        share.to_numpy(float), audit.table.n.to_numpy(float), audit.settings.confidence
    ).candidates
    return [str(group) for group in share[may].sort_values(kind="stable").index]


def _few(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
