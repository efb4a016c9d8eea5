"""The proven interval as a bar: where its ends lie on a scale that fits everything shown."""

from dataclasses import dataclass

from percert.app.pair_answer import PairAnswer

#: Length of the scale, in units of the drawing.
LENGTH = 1000.0


@dataclass(frozen=True)
class Bar:
    """Places on the scale from 0 to ``most``, in drawing units; ``None`` where there is nothing.

    ``spans`` are (start, length) for each position of the slider, of which ``position`` is the one
    that is nearest to the eps asked for.
    """

    most: float
    distance: float
    threshold: float | None
    spans: list[tuple[float, float]]
    position: int


def bar_of(answer: PairAnswer) -> Bar | None:
    """The bar of an answer, if it has an interval.

    The scale ends a little above the largest distance that is shown, and never above 2.
    """
    if not answer.intervals:
        return None
    largest = max(answer.intervals[-1].upper, answer.distance, answer.threshold or 0.0, 0.01)
    most = min(2.0, 1.05 * largest)
    place = LENGTH / most
    gaps = [abs(one.eps - answer.eps) for one in answer.intervals]
    return Bar(
        most=most,
        distance=round(place * answer.distance, 1),
        threshold=None if answer.threshold is None else round(place * answer.threshold, 1),
        spans=[
            (round(place * one.lower, 1), round(place * (one.upper - one.lower), 1))
            for one in answer.intervals
        ],
        position=gaps.index(min(gaps)),
    )
