"""Sentences that say a comparison or a judgement, the same for the terminal and the page."""

import math
from dataclasses import dataclass
from typing import Literal

from percert.certify.answers import Comparison, Judgement
from percert.metrics.seen_study import OBSERVERS, observers_sentence
from percert.reports.budgets import describe, describe_radius, rounded_down


@dataclass(frozen=True)
class Sentence:
    """One sentence. ``tone`` marks a verdict: "yes" or "no"; everything else is "plain"."""

    text: str
    tone: Literal["yes", "no", "plain"] = "plain"


def comparison_sentences(
    reference: str, result: Comparison, metric: str, whose: str
) -> list[Sentence]:
    """The verdict or distance of one pair, its radius, and the interval, as far as there are any.

    A distance in shares of observers is said in people as well.

    ``reference`` is what to call it, ``whose`` what is tampered with.

    >>> plain = Comparison("b.png", 0.25, 1.0, None, None, None, None, (8, 8))
    >>> [said.text for said in comparison_sentences("a.png", plain, "ssim", "b.png")]
    ['The ssim distance of b.png from a.png is 0.2500 (0: equal).']
    """
    said = _verdict(reference, result, metric, whose)
    if metric == OBSERVERS:
        said.append(Sentence(observers_sentence(result.distance)))
    if result.lower is not None and result.upper is not None:
        lower, upper = outward(result.lower, result.upper)
        budget = describe(result.eps, result.resolution)
        said.append(
            Sentence(
                f"Proven: for every change of {whose} up to {budget} the distance stays between "
                f"{lower} and {upper}."
            )
        )
    return said


def _verdict(reference: str, result: Comparison, metric: str, whose: str) -> list[Sentence]:
    if result.radius is None or result.threshold is None or result.view_distance is None:
        return [
            Sentence(
                f"The {metric} distance of {result.candidate} from {reference} is "
                f"{result.distance:.4f} (0: equal)."
            )
        ]
    if result.plain:
        return [
            Sentence(
                f"Undecided: the distance of {result.candidate} from {reference} is "
                f"{result.distance:.4f} ({metric}), but one of the two holds too little to be told "
                "from other images (one colour, a page of text, a night sky): neither a copy nor "
                "none, and nothing is proven."
            )
        ]
    view = "" if result.view == "whole" else f", in the view {result.view}"
    verdict = Sentence(
        f"{result.candidate} is {'' if result.copy else 'not '}a copy of {reference}: distance "
        f"{result.view_distance:.4f} {'<=' if result.copy else '>'} "
        f"{shown(result.threshold)} ({metric}{view}).",
        "yes" if result.copy else "no",
    )
    if result.radius == 0:
        how_far = "That is too close to the threshold, or too plain an image, to prove anything."
    elif math.isinf(result.radius):
        how_far = f"Proven: no change of {whose} turns this round."
    else:
        radius = describe_radius(result.radius, result.resolution)
        how_far = f"Proven: this stands for every change of {whose} of less than {radius}."
    return [verdict, Sentence(how_far)]


def shown(threshold: float) -> str:
    """A threshold to four decimals, or as it was given.

    >>> shown(0.68), shown(0.61234)
    ('0.68', '0.6123')
    """
    return f"{threshold:.4f}".rstrip("0").removesuffix(".") or "0"


def outward(lower: float, upper: float) -> tuple[str, str]:
    """The bounds to four decimals, never tighter than they are.

    >>> outward(0.12345, 0.12345)
    ('0.1234', '0.1235')
    """
    return f"{math.floor(1e4 * lower) / 1e4:.4f}", f"{math.ceil(1e4 * upper) / 1e4:.4f}"


def judgement_sentence(
    judgement: Judgement, whose: str, sizes: set[tuple[int, int]], metric: str
) -> str:
    """The sentence that says how far a judgement stands while ``whose`` pixels change.

    ``sizes`` are those (height, width) of the images that move.

    >>> plain = Judgement("left", 0.1, 0.2, None, None, "reference")
    >>> judgement_sentence(plain, "a.png", {(8, 8)}, "ssim")
    'ssim has no proven bound: it says nothing about tampering.'
    """
    radius, paper = judgement.radius, judgement.radius_paper
    if radius is None:
        return f"{metric} has no proven bound: it says nothing about tampering."
    if radius == 0:
        return "The two are too close, or too plain, to prove anything about tampering."
    said = (
        f"l2 {rounded_down(radius, 3)}"
        if len(sizes) > 1
        else describe_radius(radius, next(iter(sizes)))
    )
    known = "" if paper is None else f"; the LipSim paper's radius is {rounded_down(paper, 3)}"
    return f"Proven: this stands for every change of {whose} of less than {said}{known}."
