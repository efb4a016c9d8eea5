"""What the pages say first, before any number: the meaning of an answer in plain sentences."""

from percert.app.pair_answer import PairAnswer
from percert.app.scale import Scale, closeness
from percert.app.triplet_answer import TripletAnswer
from percert.metrics.usual import usual
from percert.reports.lengths import levels, rounded_down
from percert.reports.visible import visibility, whole_pixels


def pair_title(answer: PairAnswer) -> str:
    """One line that answers the question that was asked."""
    if answer.copy is None and answer.radius is not None:
        return f"Whether {answer.candidate} is a copy of {answer.reference} cannot be said"
    if answer.copy is None:
        return f"{answer.candidate} beside {answer.reference}"
    return f"{answer.candidate} is {'' if answer.copy else 'not '}a copy of {answer.reference}"


def pair_words(answer: PairAnswer) -> list[str]:
    """How close the two are, and what somebody who tampers with them could make of that."""
    said = [_close(answer.metric, answer.distance)]
    if answer.radius == 0:
        said.append(
            "Nothing is proven: the two are too close to the threshold, or one is too plain (one "
            "colour, a page of text), and a change that nobody sees may turn this round."
        )
    elif answer.stands_always:
        said.append(f"Proven: no change of {whose(answer)} turns this round.")
    elif answer.radius is not None:
        said.append(_stands(whose(answer), answer.radius, answer.resolution))
    return said


def whose(answer: PairAnswer) -> str:
    """What somebody may tamper with, by its name."""
    names = {"candidate": answer.candidate, "reference": answer.reference}
    return names.get(answer.perturbed, "either image")


def triplet_title(answer: TripletAnswer) -> str:
    """Which one is closer, by their names."""
    left_first = answer.closer == "left"
    near, far = (answer.left, answer.right) if left_first else (answer.right, answer.left)
    return f"{near} is closer to {answer.reference} than {far}"


def triplet_words(answer: TripletAnswer) -> list[str]:
    """How close each candidate is, and how far that stands."""
    known = usual(answer.metric)
    said = [
        f"{name} and {answer.reference} are {closeness(distance, known)}."
        for name, distance in (
            (answer.left, answer.distance_left),
            (answer.right, answer.distance_right),
        )
    ]
    first = answer.standings[0]
    if first.radius:
        said.append(_stands(answer.reference, first.radius, answer.resolution))
    elif first.radius == 0:
        said.append("Nothing is proven: the two are too close, or too plain.")
    return said


def scale_words(scale: Scale, metric: str) -> str:
    """What the ends of the scale are."""
    ends = f"0 is the same, {scale.most:.3g} the far end"
    return f"Distance by {metric}: {ends}; near 0 the scale is stretched."


def _close(metric: str, distance: float) -> str:
    known = usual(metric)
    said = f"The two are {closeness(distance, known)}: they score {distance:.4f}"
    if known is None:
        return f"{said} by {metric}, where 0 is the same."
    low, high = known.unrelated_low, known.unrelated_high
    return f"{said}, nine of ten pairs of unrelated photographs {low:.2g} to {high:.2g}."


def _stands(name: str, radius: float, size: tuple[int, int]) -> str:
    level = rounded_down(levels(radius, size), 2)
    said = (
        f"Proven: nobody can turn this round by changing {name} by less than {level} of 255 "
        f"levels on every value, which is {visibility(radius, size)}"
    )
    pixels = whole_pixels(radius * (1 - 1e-9), size)  # less than the radius, not all of it
    if pixels:
        said += f", nor by turning {'a pixel' if pixels == 1 else f'{pixels:,} pixels'} "
        said += "from black to white"
    return f"{said}."
