"""Survival of adversarial images behind defences, and their transfer to other classifiers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import nn

from percert.binomial import share_interval
from percert.defences import create_defence
from percert.evaluation.attack_runs.distances import (
    CLEAN,
    MeasuredFiles,
    Progress,
    Row,
    measure_files,
    open_store,
)
from percert.reports.attack_plots import share_bars, share_matrix
from percert.reports.page import Section, kept_figure
from percert.reports.table import Column, Table
from percert.runs.tasks import device_of, predictions
from percert.tensors import Images

#: The class that something gives each image.
Classify: TypeAlias = Callable[[Images], list[int]]


@dataclass(frozen=True)
class Survival:
    """One attack through one defence.

    Of ``attacked`` images ``succeeded`` as files, and ``survived`` still do when the defence has
    been at them: ``share`` of those attacked, with its 95 % ``interval`` (Wilson's).
    """

    attack: str
    defence: str
    attacked: int
    succeeded: int
    survived: int

    @property
    def share(self) -> float:
        return self.survived / self.attacked

    @property
    def interval(self) -> tuple[float, float]:
        return share_interval(self.survived, self.attacked)

    def answer(self) -> dict[str, Any]:
        """All of it as what JSON can hold."""
        return {**asdict(self), "share": self.share, "interval": list(self.interval)}


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
        interval = list(share_interval(self.fooled, self.right)) if self.right else None
        return {**asdict(self), "share": self.share, "interval": interval}


def defended_predictions(
    rows: Sequence[Row],
    originals: Path,
    model: nn.Module,
    weights: str,
    defences: Sequence[str],
    out: Path,
    *,
    progress: Progress | None = None,
) -> MeasuredFiles:
    """What ``model`` says of every successful file and of its original behind each defence.

    By (attack, image, defence), the originals as the attack
    :data:`~percert.evaluation.attack_runs.distances.CLEAN`. ``weights`` is a hash of the model's:
    what ``out`` holds of others is not used.
    """

    def behind(name: str) -> Classify:
        defence = create_defence(name)
        return lambda images: predictions(model, defence(images.to(device_of(model))))

    asked = {name: (behind(name), weights) for name in defences}
    return _predictions(rows, originals, asked, "defence", out, progress)


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

    By (attack, image, model), all else as :func:`defended_predictions`.
    """

    def of(model: nn.Module) -> Classify:
        return lambda images: predictions(model, images.to(device_of(model)))

    asked = {name: (of(model), weights.get(name, "")) for name, model in models.items()}
    return _predictions(rows, originals, asked, "model", out, progress)


def _predictions(
    rows: Sequence[Row],
    originals: Path,
    asked: Mapping[str, tuple[Classify, str]],
    what: str,
    out: Path,
    progress: Progress | None,
) -> MeasuredFiles:
    """The classes that all of ``asked`` give, each kept under the hash beside it."""

    @torch.no_grad()
    def measure(original: Images, others: Images, name: str) -> list[dict[str, int]]:
        return [{"prediction": prediction} for prediction in asked[name][0](others)]

    return measure_files(
        [row for some in succeeded(rows).values() for row in some],
        originals,
        {name: how for name, (_, how) in asked.items()},
        open_store(out, what, {"prediction": int}),
        measure,
        clean=True,
        progress=progress,
    )


def succeeded(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows whose attack succeeded as a file, by attack."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["attacked"] and row["success_8bit"]:
            found.setdefault(row["attack"], []).append(row)
    return found


def survivals(rows: Sequence[Row], found: MeasuredFiles, defences: Sequence[str]) -> list[Survival]:
    """Every attack through every defence, and how many originals the defence alone spoils.

    The latter as the attack ``"(clean)"``, on all images that any attack succeeded on: there a
    success is a wrong class. An attack towards a class survives where that class does.

    >>> row = {"attack": "a", "image": "x", "attacked": True, "success_8bit": True, "label": 3,
    ...        "towards": False, "target": None}
    >>> said = {("a", "x", "bits-4"): {"prediction": 7}, ("(clean)", "x", "bits-4"): {"prediction": 3}}
    >>> [(entry.attack, entry.share) for entry in survivals([row], said, ["bits-4"])]
    [('(clean)', 0.0), ('a', 1.0)]
    """  # noqa: E501
    tried: dict[str, int] = {}
    for row in rows:
        if row["attacked"]:
            tried[row["attack"]] = tried.get(row["attack"], 0) + 1
    won = succeeded(rows)
    labels = {row["image"]: row["label"] for some in won.values() for row in some}
    entries = []
    for defence in defences:
        spoilt = sum(found[CLEAN, i, defence]["prediction"] != y for i, y in labels.items())
        if labels:
            entries.append(Survival(CLEAN, defence, len(labels), len(labels), spoilt))
        for attack, count in tried.items():
            some = won.get(attack, [])
            alive = sum(survives(r, found[attack, r["image"], defence]["prediction"]) for r in some)
            entries.append(Survival(attack, defence, count, len(some), alive))
    return entries


def transfers(rows: Sequence[Row], found: MeasuredFiles, models: Sequence[str]) -> list[Transfer]:
    """Every attack's images on every model, in their order.

    >>> row = {"attack": "a", "image": "x", "attacked": True, "success_8bit": True, "label": 3,
    ...        "towards": False, "target": None, "source": "net"}
    >>> said = {("a", "x", "other"): {"prediction": 7}, ("(clean)", "x", "other"): {"prediction": 3}}
    >>> transfers([row], said, ["other"])[0].share
    1.0
    """  # noqa: E501
    entries = []
    for attack, won in succeeded(rows).items():
        for model in models:
            right = [r for r in won if found[CLEAN, r["image"], model]["prediction"] == r["label"]]
            fooled = sum(survives(r, found[attack, r["image"], model]["prediction"]) for r in right)
            entries.append(
                Transfer(attack, str(won[0]["source"]), model, len(won), len(right), fooled)
            )
    return entries


def survives(row: Row, prediction: int) -> bool:
    """Whether ``prediction`` is what the attack on this row was after."""
    if row["towards"]:
        return bool(prediction == row["target"])
    return bool(prediction != row["label"])


def survival_section(entries: Sequence[Survival], folder: Path | None = None) -> Section:
    """What survives each defence; with ``folder`` the figure is written there."""
    table = survival_table(
        entries,
        lambda entry: "{:.2f} ({:.2f} to {:.2f})".format(entry.share, *entry.interval),
        "The share of the attacked images that succeed as files and still do behind the defence, "
        f"with its 95 % interval. {CLEAN}: the share of the same images, before any attack, that "
        "the defence alone spoils: an attack at that level owes its survival to the defence.",
        Column(
            "8-bit success",
            lambda one: None if one.attack == CLEAN else one.succeeded / one.attacked,
            ".2f",
        ),
    )
    shares: dict[str, dict[str, float]] = {}
    for entry in entries:
        shares.setdefault(entry.attack, {})[entry.defence] = entry.share
    png = share_bars(shares, value_label="share of the attacked images")
    alt = "; ".join(f"{e.attack} through {e.defence}: {e.share:.2f}" for e in entries)
    figure = kept_figure(folder, "survival.png", png, "The same shares.", alt)
    return Section("What survives", (table, figure))


def transfer_section(
    entries: Sequence[Transfer], accuracy: Mapping[str, float], folder: Path | None = None
) -> Section:
    """Who is fooled; ``accuracy`` is that of each model on the originals. Figures to ``folder``."""
    models = list(dict.fromkeys(entry.model for entry in entries))
    shares: dict[str, dict[str, float]] = {}
    for entry in entries:
        made = f"{entry.attack}  (on {entry.source})"
        shares.setdefault(made, {})[entry.model] = np.nan if entry.share is None else entry.share
    png = share_matrix(
        list(shares),
        models,
        np.array([[by_model[model] for model in models] for by_model in shares.values()]),
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
        [Column("classifier", str), Column("right before any attack", accuracy.__getitem__, ".2f")],
        "Of the originals of those images. Near 0: are classes numbered alike?",
    )
    alt = "; ".join(f"{e.attack} on {e.model}: {e.share}" for e in entries)
    figure = kept_figure(folder, "transfer.png", png, caption, alt)
    return Section("Transfer", (figure, table, before))


def _with_interval(entry: Transfer) -> str:
    if entry.share is None:
        return "- (0)"
    low, high = share_interval(entry.fooled, entry.right)
    return f"{entry.share:.2f} ({low:.2f} to {high:.2f}, {entry.right})"


def survival_table(
    entries: Sequence[Survival],
    cell: Callable[[Survival], str] = lambda entry: f"{entry.share:.2f}",
    caption: str = "",
    *more: Column[Survival],
) -> Table:
    """A row an attack, a column a defence: the share of its images that survives."""
    first = (Column[Survival]("images", lambda one: one.attacked, "d"), *more)
    return _by_attack(entries, lambda one: one.defence, cell, first, caption)


def transfer_table(
    entries: Sequence[Transfer],
    cell: Callable[[Transfer], str] = lambda entry: (
        "-" if entry.share is None else f"{entry.share:.2f} of {entry.right}"
    ),
    caption: str = "",
) -> Table:
    """A row an attack, a column a model: the share that it has right before and wrong after."""
    first = (Column[Transfer]("made against", lambda one: one.source),)
    return _by_attack(entries, lambda one: one.model, cell, first, caption)


Entry = TypeVar("Entry", bound=Survival | Transfer)


def _by_attack(
    entries: Sequence[Entry],
    shown_to: Callable[[Entry], str],
    cell: Callable[[Entry], str],
    first: Sequence[Column[Entry]],
    caption: str,
) -> Table:
    """A row an attack: what ``first`` says of its first entry, then a cell of each of them."""
    by_key = {(entry.attack, shown_to(entry)): entry for entry in entries}
    rows: dict[str, Entry] = {}
    for entry in entries:
        rows.setdefault(entry.attack, entry)

    def of(name: str) -> Column[Entry]:
        return Column(name, lambda row: by_key[row.attack, name], cell)

    columns: list[Column[Entry]] = [Column("attack", lambda row: row.attack), *first]
    columns += [of(name) for name in dict.fromkeys(shown_to(entry) for entry in entries)]
    return Table.of(rows.values(), columns, caption)
