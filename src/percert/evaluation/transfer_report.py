"""The report of ``percert eval transfer``: a matrix of attacks and classifiers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from percert.evaluation.defence_survival import wilson
from percert.evaluation.transfer import Transfer
from percert.reports.attack_plots import share_matrix
from percert.reports.page import Section, Table, kept_figure


def transfer_sections(
    entries: Sequence[Transfer], accuracy: Mapping[str, float], folder: Path | None = None
) -> list[Section]:
    """The report's sections; ``accuracy`` of each model on the originals. Figures to ``folder``."""
    models = list(dict.fromkeys(entry.model for entry in entries))
    attacks = list(dict.fromkeys(entry.attack for entry in entries))
    by_key = {(entry.attack, entry.model): entry for entry in entries}
    shares = np.array(
        [[np.nan if (s := by_key[a, m].share) is None else s for m in models] for a in attacks]
    )
    png = share_matrix(
        [f"{a}  (on {by_key[a, models[0]].source})" for a in attacks],
        models,
        shares,
        row_label="attack",
        column_label="shown to",
    )
    caption = (
        "The share of the images that a classifier has right before the attack and wrong after it. "
        "Only images that succeed, as files, against what they were made for are shown to others."
    )
    table = Table(
        (("attack", "left"), ("made against", "left"), *((model, "right") for model in models)),
        tuple(
            (attack, by_key[attack, models[0]].source, *(_cell(by_key[attack, m]) for m in models))
            for attack in attacks
        ),
        f"{caption} In parentheses the 95 % interval, and of how many images.",
    )
    before = Table(
        (("classifier", "left"), ("right before any attack", "right")),
        tuple((model, f"{accuracy[model]:.2f}") for model in models),
        "Of the originals of those images. Near 0: are classes numbered alike?",
    )
    alt = "; ".join(f"{e.attack} on {e.model}: {e.share}" for e in entries)
    figure = kept_figure(folder, "transfer.png", png, caption, alt)
    return [Section("Transfer", (figure, table, before))]


def _cell(entry: Transfer) -> str:
    if entry.share is None:
        return "- (0)"
    low, high = wilson(entry.fooled, entry.right)
    return f"{entry.share:.2f} ({low:.2f} to {high:.2f}, {entry.right})"
