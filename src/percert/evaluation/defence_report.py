"""The report of ``percert eval defences``: what survives, and what that costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from percert.evaluation.attack_words import number, title
from percert.evaluation.attacked_files import CLEAN
from percert.evaluation.defence_survival import Point, Survival
from percert.reports.attack_plots import frontier, share_bars
from percert.reports.page import Block, Paragraph, Section, Table, kept_figure


def defence_sections(
    entries: Sequence[Survival],
    points: Mapping[str, Sequence[Point]],
    folder: Path | None = None,
) -> list[Section]:
    """The report's sections; ``points`` by distance. With ``folder`` figures are written there."""
    sections = [_survival(entries, folder)]
    for distance, some in points.items():
        if some:
            sections.append(_frontier(distance, some, entries, folder))
    return sections


def _survival(entries: Sequence[Survival], folder: Path | None) -> Section:
    defences = list(dict.fromkeys(entry.defence for entry in entries))
    attacks = list(dict.fromkeys(entry.attack for entry in entries))
    by_key = {(entry.attack, entry.defence): entry for entry in entries}
    rows = []
    for attack in attacks:
        first = by_key[attack, defences[0]]
        cells = []
        for defence in defences:
            entry = by_key[attack, defence]
            low, high = entry.interval
            cells.append(f"{entry.share:.2f} ({low:.2f} to {high:.2f})")
        succeeded = "-" if attack == CLEAN else f"{first.succeeded / first.attacked:.2f}"
        rows.append((attack, str(first.attacked), succeeded, *cells))
    table = Table(
        (
            ("attack", "left"),
            ("images", "right"),
            ("8-bit success", "right"),
            *((defence, "right") for defence in defences),
        ),
        tuple(rows),
        "The share of the attacked images that succeed as files and still do behind the defence, "
        f"with its 95 % interval. {CLEAN}: the share of the same images, before any attack, that "
        "the defence alone spoils: an attack at that level owes its survival to the defence.",
    )
    png = share_bars(
        {a: {d: by_key[a, d].share for d in defences} for a in attacks},
        value_label="share of the attacked images",
    )
    return Section(
        "What survives",
        (table, kept_figure(folder, "survival.png", png, "The same shares.", _shares(entries))),
    )


def _frontier(
    distance: str, points: Sequence[Point], entries: Sequence[Survival], folder: Path | None
) -> Section:
    several = {
        point.family
        for point in points
        if len({p.attack for p in points if p.family == point.family}) > 1
    }
    panels: dict[str, dict[str, list[tuple[float, float, str]]]] = {}
    for point in points:
        note = f"a = {point.confidence:g}" if point.family in several else ""
        panels.setdefault(point.defence, {}).setdefault(point.family, []).append(
            (point.survival, point.cost, note)
        )
    png = frontier(
        panels,
        value_label=f"median {title(distance)}",
        chance={entry.defence: entry.share for entry in entries if entry.attack == CLEAN},
    )
    blocks: list[Block] = [
        Paragraph(
            "Attacks with the same confidence are not comparable: what overshoots survives. This "
            "compares their cost at equal survival. Better is to the right and below; the grey "
            "staircase is what no attack beats, the dotted line what the defence spoils by itself."
        ),
        kept_figure(
            folder,
            f"frontier-{distance}.png",
            png,
            f"Median {title(distance)} of each attack's successes, against the share of its images "
            "that survives. Attacks that differ in their confidence a are joined.",
            f"Cost in {title(distance)} against survival, a panel for each defence",
        ),
    ]
    for defence in panels:
        mine = sorted((p for p in points if p.defence == defence), key=lambda p: -p.survival)
        blocks.append(
            Table(
                (
                    ("attack", "left"),
                    ("survival", "right"),
                    (f"median {title(distance)}", "right"),
                    ("cheapest that survives as often", "left"),
                    ("times its cost", "right"),
                ),
                tuple(
                    (
                        p.attack,
                        f"{p.survival:.2f}",
                        number(p.cost),
                        "(none is cheaper)" if p.least == p.attack else p.least,
                        f"{p.cost / p.least_cost:.2f}" if p.least_cost > 0 else "-",
                    )
                    for p in mine
                ),
                f"Behind {defence}.",
            )
        )
    return Section(f"Cost at equal survival: {title(distance)}", tuple(blocks))


def _shares(entries: Sequence[Survival]) -> str:
    return "; ".join(f"{e.attack} through {e.defence}: {e.share:.2f}" for e in entries)
