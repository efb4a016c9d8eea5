"""``--threshold`` of ``percert index``: a distance, the metric's own, or one by the images."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percert.cli.command import complain

if TYPE_CHECKING:
    from percert.search import Store

AutoThresholdOption = Annotated[
    str | None,
    typer.Option(
        "--threshold",
        metavar="T|auto|auto:RATE",
        help="Images up to this distance are copies. By default (and auto) one query in a million "
        "that is a copy of nothing gets an answer, however much is stored; with auto:RATE the "
        "share RATE of unrelated pairs passes. Both by the metric's own table of strangers; where "
        "it has none, auto and auto:RATE choose by the stored images.",
        show_default=False,
    ),
]


def find_threshold(store: "Store", text: str | None) -> tuple[float, dict[str, Any]]:
    """The threshold that is meant, and how it was chosen for the JSON answer."""
    if text is None:
        return _by_table(store, None)
    word, _, rate = text.partition(":")
    try:
        if word != "auto":
            value = float(text)
            if not 0 <= value <= 2:
                raise ValueError(value)
            return value, {}
        fpr = float(rate) if rate else None
        if fpr is not None and not 0 < fpr < 1:
            raise ValueError(fpr)
    except ValueError:
        raise typer.BadParameter(
            f"expected a distance in [0, 2], auto, or auto:RATE, found {text!r}",
            param_hint="--threshold",
        ) from None
    from percert.search.query.recommended import PER_QUERY, has_table

    if has_table(store.tables.header, fpr):
        return _by_table(store, fpr)
    return _by_images(store, PER_QUERY / max(1, store.count) if fpr is None else fpr)


def _by_table(store: "Store", rate: float | None) -> tuple[float, dict[str, Any]]:
    """The threshold of the metric's table of strangers."""
    from percert.search.query.recommended import one_in

    found = store.recommended_threshold(rate)
    how = "counted" if found.counted else "extrapolated from what was counted"
    if not found.measured:
        how += f", of whole images, for {len(store.views)} views"
    complain(f"threshold {found.threshold:.4g}: {one_in(found.rate)} lies as close ({how})")
    return found.threshold, {"threshold_choice": asdict(found)}


def _by_images(store: "Store", fpr: float) -> tuple[float, dict[str, Any]]:
    """A threshold by the store's own images."""
    chosen = store.choose_threshold(fpr)
    complain(
        f"threshold {chosen.threshold:.4g}: at most {chosen.fpr:.2g} of unrelated pairs pass, with "
        f"{math.floor(1000 * chosen.confidence) / 10:g} % confidence by {chosen.pairs} independent "
        f"pairs (with {100 * chosen.wanted:g} %: at most {chosen.fpr_bound:.2g})"
    )
    return chosen.threshold, {"threshold_choice": asdict(chosen)}
