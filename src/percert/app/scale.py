"""The scale on which distances are drawn: the same in every answer of a metric."""

import math
from dataclasses import dataclass

from percert.metrics.metric import MetricCard
from percert.metrics.usual import Usual, usual

#: Length of the scale, in units of the drawing.
LENGTH = 1000.0


@dataclass(frozen=True)
class Scale:
    """From 0 to ``most``, stretched near 0: a distance lies at the square root of its share.

    ``copies`` is where copies end, if the metric gives a verdict; ``usual`` what unrelated
    photographs usually score, if that was measured.
    """

    most: float
    copies: float | None
    usual: Usual | None

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
    known = usual(card.name)
    if card.range[1] <= 2:
        return Scale(card.range[1], threshold, known)
    return None if known is None else Scale(1.5 * known.unrelated_high, threshold, known)


def closeness(distance: float, known: Usual | None) -> str:
    """What a distance is like, in words.

    >>> known = Usual(0.001, 0.7, 0.9, 1.1)
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
