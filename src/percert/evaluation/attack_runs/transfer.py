"""Whether images made against one classifier fool others, and the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from percert.evaluation.attack_runs.defences import survives, wilson
from percert.evaluation.attack_runs.distances import (
    CLEAN,
    MeasuredFiles,
    Progress,
    Row,
    measure_files,
    open_store,
)
from percert.reports.attack_plots import share_matrix
from percert.reports.page import Section, kept_figure
from percert.reports.table import Column, Table
from percert.runs.tasks import device_of, predictions
from percert.tensors import Images


@dataclass(frozen=True)
class Transfer:
    """One attack's images on one ``model``.

    ``images`` succeeded as files against what they were made for (``source``), ``right`` of them
    the model has right before the attack, and ``fooled`` of those it has wrong after it (for an
    attack towards a class: in that class). ``share`` is fooled of right, ``None`` without any.
    """

    attack: str
    source: str
    model: str
    images: int
    right: int
    fooled: int

    @property
    def share(self) -> float | None:
        return self.fooled / self.right if self.right else None

    def answer(self) -> dict[str, Any]:
        """All of it as what JSON can hold."""
        interval = list(wilson(self.fooled, self.right)) if self.right else None
        return {**asdict(self), "share": self.share, "interval": interval}


def transferred_predictions(
    rows: Sequence[Row],
    originals: Path,
    models: Mapping[str, nn.Module],
    weights: Mapping[str, str],
    out: Path,
    *,
    progress: Progress | None = None,
) -> MeasuredFiles:
    """What each of ``models`` says of every successful file and of its original.

    By (attack, image, model), the originals as the attack
    :data:`~percert.evaluation.attack_runs.distances.CLEAN`. ``weights`` are hashes of the models':
    what
    ``out`` holds of others is not used.
    """

    @torch.no_grad()
    def measure(original: Images, others: Images, name: str) -> list[dict[str, int]]:
        model = models[name]
        return [{"prediction": p} for p in predictions(model, others.to(device_of(model)))]

    return measure_files(
        [row for row in rows if row["attacked"] and row["success_8bit"]],
        originals,
        {name: weights.get(name, "") for name in models},
        open_store(out, "model", {"prediction": int}),
        measure,
        clean=True,
        progress=progress,
    )


def transfers(rows: Sequence[Row], found: MeasuredFiles, models: Sequence[str]) -> list[Transfer]:
    """Every attack's images on every model, in their order.

    >>> row = {"attack": "a", "image": "x", "attacked": True, "success_8bit": True, "label": 3,
    ...        "towards": False, "target": None, "source": "net"}
    >>> said = {("a", "x", "other"): {"prediction": 7}, ("(clean)", "x", "other"): {"prediction": 3}}
    >>> transfers([row], said, ["other"])[0].share
    1.0
    """  # noqa: E501
    by_attack: dict[str, list[Row]] = {}
    for row in rows:
        if row["attacked"] and row["success_8bit"]:
            by_attack.setdefault(row["attack"], []).append(row)
    entries = []
    for attack, won in by_attack.items():
        for model in models:
            right = [r for r in won if found[CLEAN, r["image"], model]["prediction"] == r["label"]]
            fooled = sum(survives(r, found[attack, r["image"], model]["prediction"]) for r in right)
            entries.append(
                Transfer(attack, str(won[0]["source"]), model, len(won), len(right), fooled)
            )
    return entries


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
    table = transfer_table(
        entries,
        _with_interval,
        f"{caption} In parentheses the 95 % interval, and of how many images.",
    )
    before = Table.of(
        models,
        [
            Column("classifier", str),
            Column("right before any attack", accuracy.__getitem__, ".2f"),
        ],
        "Of the originals of those images. Near 0: are classes numbered alike?",
    )
    alt = "; ".join(f"{e.attack} on {e.model}: {e.share}" for e in entries)
    figure = kept_figure(folder, "transfer.png", png, caption, alt)
    return [Section("Transfer", (figure, table, before))]


def _with_interval(entry: Transfer) -> str:
    if entry.share is None:
        return "- (0)"
    low, high = wilson(entry.fooled, entry.right)
    return f"{entry.share:.2f} ({low:.2f} to {high:.2f}, {entry.right})"


def _of_how_many(entry: Transfer) -> str:
    return "-" if entry.share is None else f"{entry.share:.2f} of {entry.right}"


def transfer_table(
    entries: Sequence[Transfer],
    cell: Callable[[Transfer], str] = _of_how_many,
    caption: str = "",
) -> Table:
    """A row an attack, a column a model: the share that it has right before and wrong after."""
    by_key = {(entry.attack, entry.model): entry for entry in entries}
    models = list(dict.fromkeys(entry.model for entry in entries))

    def of(model: str) -> Column[str]:
        return Column(model, lambda attack: by_key[attack, model], cell)

    columns: list[Column[str]] = [
        Column("attack", str),
        Column("made against", lambda attack: by_key[attack, models[0]].source),
        *map(of, models),
    ]
    return Table.of(dict.fromkeys(entry.attack for entry in entries), columns, caption)
