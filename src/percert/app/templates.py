"""The page's templates, and the words, the scale and the tables that they show distances with.

What goes into a template is text, and is escaped. The scale on which distances are drawn is the
same in every answer of a metric.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from starlette.responses import HTMLResponse

import percert
from percert.metrics.card import MetricCard
from percert.metrics.catalog import TypicalDistances, typical_distances
from percert.reports.budgets import rounded_down, tampering
from percert.reports.page import TEMPLATES
from percert.reports.table import Column, Table, text_of

if TYPE_CHECKING:
    from percert.app.judge import Standing

#: Length of the scale, in units of the drawing.
LENGTH = 1000.0


@dataclass(frozen=True)
class Scale:
    """From 0 to ``most``, stretched near 0: a distance lies at the square root of its share.

    ``copies`` is where copies end, if the metric gives a verdict; ``usual`` what unrelated
    photographs score, if that was measured.
    """

    most: float
    copies: float | None
    usual: TypicalDistances | None

    def at(self, distance: float) -> float:
        """The place of a distance, in drawing units.

        >>> [Scale(2.0, None, None).at(distance) for distance in (0, 0.5, 2, 9)]
        [0.0, 500.0, 1000.0, 1000.0]
        """
        share = min(max(distance, 0.0) / self.most, 1.0)
        return round(LENGTH * math.sqrt(share), 1)

    def span(self, low: float, high: float) -> tuple[float, float]:
        """Start and length of what lies between two distances, in drawing units."""
        start = self.at(low)
        return start, round(self.at(high) - start, 1)


def scale_of(card: MetricCard, threshold: float | None = None) -> Scale | None:
    """The scale of a metric; ``None`` where its distances have no end, and none is usual.

    >>> from percert.metrics.catalog import metric_card
    >>> scale_of(metric_card("lipsim-tiny"), 0.49).most, scale_of(metric_card("lpips-alex"))
    (2.0, None)
    """
    known = typical_distances(card.name)
    if card.range[1] <= 2:
        return Scale(card.range[1], threshold, known)
    return None if known is None else Scale(1.5 * known.unrelated_high, threshold, known)


def closeness(distance: float, known: TypicalDistances | None) -> str:
    """What a distance is like, in words.

    >>> known = TypicalDistances(0.001, 0.7, 0.9, 1.1)
    >>> closeness(0.0005, known)
    'as close as a photograph and its JPEG file'
    >>> closeness(0.3, known), closeness(1.2, known)
    ('closer than unrelated photographs usually are', 'as far apart as unrelated photographs are')
    """
    if distance == 0:
        return "the same to it"
    if known is None:
        return "different"
    if distance <= known.jpeg:
        return "as close as a photograph and its JPEG file"
    if distance < 0.25 * known.unrelated_low:
        return "much closer than unrelated photographs usually are"
    if distance < known.unrelated_low:
        return "closer than unrelated photographs usually are"
    return "as far apart as unrelated photographs are"


#: Beside this module; a package of that name would hide it. Then those of reports, for tables.
FOLDERS = (Path(__file__).parent / "html", TEMPLATES)


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The templates, with the words for lengths that the command line uses."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDERS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        version=percert.__version__,
        distances_table=distances_table,
        standings_table=standings_table,
    )
    made.filters.update(
        closeness=closeness,
        plain=plain,
        rounded_down=rounded_down,
        tampering=tampering,
    )
    return made


def plain(value: float) -> str:
    """A number without an exponent, to three digits, and no more than four after the point.

    >>> plain(0.20951), plain(7.234e-08), plain(58380.0), plain(0.0)
    ('0.21', 'under 0.0001', '58,380', '0')
    """
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        return "under 0.0001"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 0.01 else f"{value:.3g}"


_SPOKEN = {"mse": "mean squared error"}
_MOVED = {"reference": "the reference", "candidates": "both candidates", "all": "all three"}


def standings_table(standings: "Sequence[Standing]") -> Table:
    """How far the answer to a triplet stands, by which of its images move."""

    def length(value: float) -> str:
        return rounded_down(value, 3)

    return Table.of(
        standings,
        [
            Column("What may move", lambda one: _MOVED[one.perturbed]),
            Column("Proven", lambda one: one.radius, length, missing="any"),
            Column("LipSim paper", lambda one: one.radius_paper, length),
        ],
        "How far the answer stands: the l2 length of a change, of each image that moves",
    )


def distances_table(found: Mapping[str, Any]) -> Table:
    """How far an attack moved an image, ``found`` by it, beside what is usual of each metric."""
    rows = [(one, typical_distances(one["metric"])) for one in found["distances"]]
    if found["psnr"] is not None:
        rows.insert(0, ({"metric": "PSNR", "value": f"{found['psnr']:.1f} dB"}, None))

    def moved(one: Mapping[str, Any]) -> str:
        value = one["value"]
        if value is None:
            return str(one["why_not"])
        return value if isinstance(value, str) else plain(value)

    return Table.of(
        rows,
        [
            Column("Distance", lambda row: _SPOKEN.get(row[0]["metric"], row[0]["metric"])),
            Column("This attack", lambda row: row[0], moved),
            Column("A JPEG file", lambda row: row[1] and row[1].jpeg, plain),
            Column(
                "Unrelated photographs",
                lambda row: row[1] and (row[1].unrelated_low, row[1].unrelated_high),
                lambda ends: text_of(tuple(map(plain, ends))),
            ),
        ],
        "How far the image was moved; 0 is not at all",
    )


def render(
    name: str,
    values: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The template ``name`` as an answer."""
    return HTMLResponse(environment().get_template(name).render(values), status, headers)
