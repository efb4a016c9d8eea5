"""``--threshold`` of ``percert index``: a distance, the metric's own, or one by the images."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percert.cli.failure import complain

if TYPE_CHECKING:
    from percert.search import Store

AutoThresholdOption = Annotated[
    str | None,
    typer.Option(
        "--threshold",
        metavar="T|auto|auto:RATE",
        help="Images up to this distance are copies. auto chooses it by the stored images, so that "
        "RATE (1e-3) of unrelated pairs pass. By default what the metric recommends.",
        show_default=False,
    ),
]


def find_threshold(store: "Store", text: str | None) -> tuple[float, dict[str, Any]]:
    """The threshold that is meant, and how it was chosen for the JSON answer."""
    if text is None:
        return _recommended(store), {}
    word, _, rate = text.partition(":")
    try:
        if word != "auto":
            value = float(text)
            if not 0 <= value <= 2:
                raise ValueError(value)
            return value, {}
        fpr = float(rate) if rate else 1e-3
        if not 0 < fpr < 1:
            raise ValueError(fpr)
    except ValueError:
        raise typer.BadParameter(
            f"expected a distance in [0, 2], auto, or auto:RATE, found {text!r}",
            param_hint="--threshold",
        ) from None
    from percert.search.queries import choose_threshold

    chosen = choose_threshold(store, fpr)
    complain(
        f"threshold {chosen.threshold:.4g}: at most {chosen.fpr:g} of unrelated pairs pass, with "
        f"{math.floor(1000 * chosen.confidence) / 10:g} % confidence by {chosen.pairs} independent "
        f"pairs (with {100 * chosen.wanted:g} %: at most {chosen.fpr_bound:.2g})"
    )
    return chosen.threshold, {"threshold_choice": asdict(chosen)}


def _recommended(store: "Store") -> float:
    from percert.search.recommended import recommended_threshold

    found = recommended_threshold(store)
    if not found.measured:
        views = len(store.views)
        complain(
            f"threshold {found.threshold:g} was measured on whole images; {views} views let up "
            f"to {views} times as many strangers pass; --threshold auto measures it here"
        )
    return found.threshold
