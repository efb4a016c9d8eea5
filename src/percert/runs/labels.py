"""The labels of a set: read from a CSV file, and numbered as the model's classes, from 0 or from 1.

A first look at a classifier and its labels, before hours are spent on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from pathlib import Path, PurePosixPath
from typing import Literal, cast

import torch
from torch import nn

from percert.attacks.attack import evaluating
from percert.attacks.goal import Model, logits
from percert.check import Argument, ArgumentError, Wording, did_you_mean
from percert.data.triplets import csv_rows
from percert.data.triplets import find_column as first_column
from percert.images import ImageError
from percert.runs.engine import Step, batches
from percert.runs.items import ImageItem, Sample, read_sample
from percert.runs.tasks import stack
from percert.tensors import Vector

#: What columns are called, lower case, where no option names them.
IMAGE_COLUMNS = ("image", "imageid", "image_id", "filename", "file", "path", "name", "id")
LABEL_COLUMNS = ("label", "truelabel", "true_label", "class", "y")


def find_column(
    rows: Sequence[Mapping[str, str]],
    wanted: str | None,
    usual: Sequence[str],
    path: Path,
    argument: str,
) -> str:
    """The column called ``wanted``, or else the first of the ``usual`` names that is there.

    ``argument`` is what names another one, for the message of the ``ValueError`` where none is.
    """
    names = list(rows[0])
    if wanted is not None:
        if wanted in names:
            return wanted
        hint = did_you_mean(wanted, names, otherwise=".")
        raise ValueError(f"{path}: no column {wanted!r}{hint} Found: {', '.join(names)}")
    if found := first_column(names, usual):
        return found
    raise ArgumentError(
        f"{path}: no column {' or '.join(map(repr, usual[:2]))}; name yours with ",
        argument,
        f". Found: {', '.join(names)}",
    )


def with_labels(
    items: Sequence[ImageItem],
    path: Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    target_column: str | None = None,
) -> list[ImageItem]:
    """The ``items`` that the CSV file at ``path`` has a label for, with it, as it is written there.

    A row belongs to the item whose name it gives, with or without folder and suffix. Raises
    ``ValueError`` where no item has a label, one has two, or one is not an integer.
    """
    rows = list(csv_rows(path))
    image = find_column(rows, image_column, IMAGE_COLUMNS, path, Argument("image_column"))
    label = find_column(rows, label_column, LABEL_COLUMNS, path, Argument("label_column"))
    target = (
        None
        if target_column is None
        else find_column(rows, target_column, (), path, Argument("target_column"))
    )
    by_name: dict[str, dict[str, str]] = {}
    for row in rows:
        if row[image] in by_name and by_name[row[image]] != row:
            raise ValueError(f"{path}: two rows for the image {row[image]!r}")
        by_name[row[image]] = row
    found = []
    for item in items:
        row_of = _row_of(item.name, by_name)
        if row_of is not None:
            found.append(
                replace(
                    item,
                    label=_class(row_of[label], f"{path}: {item.name}"),
                    target=None
                    if target is None
                    else _class(row_of[target], f"{path}: {item.name}"),
                )
            )
    if not found:
        raise ValueError(
            f"{path}: none of its rows is for an image that was found; the rows have names such as "
            f"{rows[0][image]!r} in the column {image!r}, the images such as {items[0].name!r}"
        )
    return found


def _row_of(name: str, by_name: Mapping[str, dict[str, str]]) -> dict[str, str] | None:
    path = PurePosixPath(name)
    for candidate in (name, str(path.with_suffix("")), path.name, path.stem):
        if candidate in by_name:
            return by_name[candidate]
    return None


def _class(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{what}: expected a label that is an integer, found {text!r}") from None


def label_base(
    labels: Sequence[int], predictions: Sequence[int], classes: int, path: str
) -> tuple[int, Wording | None]:
    """Whether labels count from 0 or from 1, and a warning where that is a guess.

    A 0 decides, and so does a label of ``classes``; else the base that agrees with more of the
    ``predictions`` (from 0) on the images of the first ``labels``. Raises ``ValueError`` for labels
    that are neither.

    >>> label_base([1, 3], [0, 2], 3, "labels.csv")
    (1, None)
    """
    low, high = min(labels), max(labels)
    if low < 0 or high > classes or (low == 0 and high == classes):
        raise ValueError(
            f"{path}: expected labels from 0 to {classes - 1} or from 1 to {classes}, for the "
            f"model has {classes} classes; found {low} to {high}"
        )
    if low == 0:
        return 0, None
    if high == classes:
        return 1, None
    pairs = list(zip(labels, predictions, strict=False))
    right = [sum(label - base == prediction for label, prediction in pairs) for base in (0, 1)]
    base = int(right[1] > right[0])
    if right[0] == right[1]:
        return base, Wording(
            f"{path}: cannot tell whether labels count from 0 or from 1, taken to count from "
            f"{base}; ",
            Argument("labels_from"),
            " decides",
        )
    return base, None


def chance_warning(right: int, total: int, classes: int) -> Wording | None:
    """A warning where ``right`` of ``total`` clean images is no better than guessing.

    No better: within three standard deviations of 1 / ``classes``. Silent below 10 images.

    >>> chance_warning(57, 100, 1000) is None, "chance" in chance_warning(0, 100, 1000)
    (True, True)
    """
    chance = 1 / classes
    if total < 10 or right > total * chance + 3 * sqrt(total * chance * (1 - chance)):
        return None
    return Wording(
        f"the model classifies {right} of the first {total} clean images correctly, which is near "
        f"chance ({classes} classes): are the labels those of this model, do they count from 0 or "
        "1 (",
        Argument("labels_from"),
        "), are channel order, mean, std and scale right?",
    )


@dataclass(frozen=True, eq=False)
class Probe:
    """How many ``classes`` a model has, and what it says of the first images, by name.

    ``samples`` are these images, decoded; :meth:`read` hands each out once instead of reading it.
    """

    classes: int
    predictions: dict[str, int]
    samples: dict[str, Sample] = field(default_factory=dict)

    def read(self, item: ImageItem) -> Sample:
        """As :func:`~percert.runs.items.read_sample`, without decoding what was decoded here."""
        known = self.samples.pop(item.name, None)
        return read_sample(item) if known is None else replace(known, item=item)


@torch.no_grad()
def probe(
    model: nn.Module, items: Sequence[ImageItem], count: int = 100, batch_size: int = 32
) -> Probe:
    """The model's predictions of those of the first ``count`` images that it can be asked.

    Raises ``ValueError`` where none can be read, and where the model gives no logits of any.
    """
    bad: list[ImageError] = []
    samples: dict[str, Sample] = {}
    for item in items[:count]:
        try:
            samples[item.name] = read_sample(item)
        except ImageError as error:
            bad.append(error)
    if not samples:
        raise ValueError(f"none of the first {len(bad)} images can be read; the first: {bad[0]}")
    scores: dict[str, Vector] = {}
    refused: list[ValueError] = []
    with evaluating(model):
        for batch in batches(samples.values(), lambda sample: sample.sizes, batch_size):
            if not isinstance(batch, Step):
                _ask(model, batch, scores, refused)
    if not scores:
        raise refused[0]
    classes = len(next(iter(scores.values())))
    return Probe(classes, {name: int(row.argmax()) for name, row in scores.items()}, samples)


def _ask(
    model: nn.Module,
    samples: Sequence[Sample],
    scores: dict[str, Vector],
    refused: list[ValueError],
) -> None:
    """Add the logits of each sample by name, or why there are none."""
    images = stack(model, samples).contiguous(memory_format=torch.channels_last)
    try:
        found = logits(cast(Model, model), images)
    except ValueError as error:
        if len(samples) == 1:
            refused.append(error)
            return
        for sample in samples:  # to tell them apart
            _ask(model, [sample], scores, refused)
    else:
        scores.update((s.item.name, row) for s, row in zip(samples, found, strict=True))


@dataclass(frozen=True)
class Numbered:
    """Items whose classes count from 0; ``base`` is what their labels counted from.

    ``base`` is ``None`` where there are no labels. ``warnings`` are for people.
    """

    items: list[ImageItem]
    base: int | None
    warnings: list[Wording]


def number_labels(
    items: Sequence[ImageItem],
    seen: Probe,
    labels_from: Literal["auto", "0", "1"] = "auto",
    path: str = "labels",
) -> Numbered:
    """The items with labels and targets that count from 0, whatever they counted from.

    ``"auto"`` finds out (:func:`~percert.runs.labels.label_base`). A model that is
    near chance on what was ``seen`` is warned about. Raises ``ValueError`` for labels that the
    model has no class for.

    >>> from pathlib import Path
    >>> item = ImageItem("a.png", Path("a.png"), label=3)
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


def _find_base(items: Sequence[ImageItem], seen: Probe, path: str) -> tuple[int, Wording | None]:
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
