"""A first look at a classifier and its labels, before hours are spent on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import nn

from percert.arguments import Wording
from percert.attacks.collection.items import Item, Subject, read_subject
from percert.attacks.collection.labels import chance_warning, label_base
from percert.attacks.collection.tasks import stack
from percert.attacks.goal import Model, logits
from percert.attacks.prepare import evaluating
from percert.images import ImageError
from percert.tensors import Vector


@dataclass(frozen=True)
class Probe:
    """How many ``classes`` a model has, and what it says of the first images, by name."""

    classes: int
    predictions: dict[str, int]


@torch.no_grad()
def probe(model: nn.Module, items: Sequence[Item], count: int = 100, batch_size: int = 32) -> Probe:
    """The model's predictions of those of the first ``count`` images that it can be asked.

    Raises ``ValueError`` where none can be read, and where the model gives no logits of any.
    """
    by_size: dict[tuple[tuple[int, ...], ...], list[Subject]] = {}
    bad: list[ImageError] = []
    for item in items[:count]:
        try:
            subject = read_subject(item)
        except ImageError as error:
            bad.append(error)
        else:
            by_size.setdefault(subject.sizes, []).append(subject)
    if not by_size:
        raise ValueError(f"none of the first {len(bad)} images can be read; the first: {bad[0]}")
    scores: dict[str, Vector] = {}
    refused: list[ValueError] = []
    with evaluating(model):
        for subjects in by_size.values():
            for start in range(0, len(subjects), batch_size):
                _ask(model, subjects[start : start + batch_size], scores, refused)
    if not scores:
        raise refused[0]
    classes = len(next(iter(scores.values())))
    return Probe(classes, {name: int(row.argmax()) for name, row in scores.items()})


def _ask(
    model: nn.Module,
    subjects: Sequence[Subject],
    scores: dict[str, Vector],
    refused: list[ValueError],
) -> None:
    """Add the logits of each subject by name, or why there are none."""
    images = stack(model, subjects).contiguous(memory_format=torch.channels_last)
    try:
        found = logits(cast(Model, model), images)
    except ValueError as error:
        if len(subjects) == 1:
            refused.append(error)
            return
        for subject in subjects:  # to tell them apart
            _ask(model, [subject], scores, refused)
    else:
        scores.update((s.item.name, row) for s, row in zip(subjects, found, strict=True))


@dataclass(frozen=True)
class Numbered:
    """Items whose classes count from 0; ``base`` is what their labels counted from.

    ``base`` is ``None`` where there are no labels. ``warnings`` are for people.
    """

    items: list[Item]
    base: int | None
    warnings: list[Wording]


def number_labels(
    items: Sequence[Item],
    seen: Probe,
    labels_from: Literal["auto", "0", "1"] = "auto",
    path: str = "labels",
) -> Numbered:
    """The items with labels and targets that count from 0, whatever they counted from.

    ``"auto"`` finds out (:func:`~percert.attacks.collection.labels.label_base`). A model that is
    near chance on what was ``seen`` is warned about. Raises ``ValueError`` for labels that the
    model has no class for.

    >>> from pathlib import Path
    >>> item = Item("a.png", Path("a.png"), label=3)
    >>> number_labels([item], Probe(3, {"a.png": 2})).items[0].label
    2
    """
    labels = [item.label for item in items if item.label is not None]
    warnings: list[Wording] = []
    if labels_from != "auto":
        base = int(labels_from)
    elif labels:
        base, guess = _find_base(items, seen, path)
        warnings += [guess] if guess else []
    else:
        base = 0
    if labels and not 0 <= min(labels) - base <= max(labels) - base < seen.classes:
        raise ValueError(
            f"{path}: expected labels from {base} to {seen.classes - 1 + base}, for the model has "
            f"{seen.classes} classes; found {min(labels)} to {max(labels)}"
        )
    moved = [
        replace(
            item,
            label=None if item.label is None else item.label - base,
            target=None if item.target is None else item.target - base,
        )
        for item in items
    ]
    for item in moved:
        if item.target is not None and not 0 <= item.target < seen.classes:
            raise ValueError(f"{path}: {item.name}: no class {item.target + base} to aim at")
    if not labels:
        return Numbered(moved, None, [])
    looked = [item for item in moved if item.name in seen.predictions]
    right = sum(item.label == seen.predictions[item.name] for item in looked)
    poor = chance_warning(right, len(looked), seen.classes)
    warnings += [poor] if poor else []
    return Numbered(moved, base, warnings)


def _find_base(items: Sequence[Item], seen: Probe, path: str) -> tuple[int, Wording | None]:
    """Labels of what was looked at come first, in the order of their predictions."""
    known = [item for item in items if item.label is not None and item.name in seen.predictions]
    others = [item.label for item in items if item.name not in seen.predictions]
    labels = [item.label for item in known] + others
    return label_base(
        [label for label in labels if label is not None],
        [seen.predictions[item.name] for item in known],
        seen.classes,
        path,
    )
