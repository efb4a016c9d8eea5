"""Images per group, accuracies per group and model, and the groups that are left out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from percert.arguments import Argument, ArgumentError

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

#: Section 4 and appendix E of Human Imperceptible Attacks leave smaller groups out.
SMALLEST = 50


@dataclass(frozen=True)
class LeftOut:
    """A group that is not in the regression, and why."""

    group: str
    n: int
    reason: str


@dataclass(frozen=True)
class GroupTable:
    """What the regressions run on, for every model of every set on the same groups.

    ``n`` is images a group (index: group, sorted), ``accuracy`` one row a group and one column a
    model, ``attributes`` one column an attribute.
    """

    n: "pd.Series"
    accuracy: "pd.DataFrame"
    attributes: "pd.DataFrame"
    left_out: tuple[LeftOut, ...]


def group_table(
    predictions: "pd.DataFrame",
    attributes: "pd.DataFrame | None" = None,
    *,
    smallest: int = SMALLEST,
    drop_missing: bool = False,
) -> GroupTable:
    """Accuracies by group, of checked ``predictions`` (``percert.fairness.table``).

    Without ``attributes`` the table has none. ``drop_missing`` leaves groups without an attribute
    out, and lists them, rather than refuse. Raises ``ValueError`` where models were not judged on
    the same images in the same groups, a group of the size asked for has no attribute, or no group
    is left.
    """
    check_same_images(predictions)
    by_model = predictions.groupby(["group", "model"], sort=True)["correct"]
    # unstack would sort the models; their order decides who is paired with whom.
    order = predictions["model"].drop_duplicates().tolist()
    sizes = by_model.size().unstack("model").iloc[:, 0].astype(int)
    accuracy = by_model.mean().unstack("model")[order]
    if attributes is None:
        attributes = accuracy[[]]  # the groups, and no column
    known = attributes.reindex(sizes.index)
    bad = np.isinf(known).any(axis=1)
    if bad.any():
        raise ValueError(f"group {bad[bad].index[0]!r}: its attribute is infinite")
    small = sizes < smallest
    without = known.isna().any(axis=1) & ~small
    if without.any() and not drop_missing:
        names = ", ".join(map(repr, without[without].index[:5]))
        raise ArgumentError(
            f"{int(without.sum())} groups have no attribute: {names}"
            f"{', ...' if without.sum() > 5 else ''}"
            f"{_otherwise_written(list(without[without].index), list(attributes.index))}; complete "
            "the table of attributes, or leave them out with ",
            Argument("drop_missing"),
        )
    left_out = [
        LeftOut(str(group), int(n), f"fewer than {smallest} images")
        for group, n in sizes[small].items()
    ]
    left_out += [LeftOut(str(group), int(n), "no attribute") for group, n in sizes[without].items()]
    keep = ~small & ~without
    if not keep.any():
        raise ValueError(
            f"no group is left: of {len(sizes)}, {int(small.sum())} have fewer than {smallest} "
            f"images and {int(without.sum())} no attribute"
        )
    return GroupTable(sizes[keep], accuracy[keep], known[keep], tuple(left_out))


def _otherwise_written(missing: list[str], known: list[str]) -> str:
    """A hint where a group is there but for zeros, a decimal point, case or blanks."""
    by_form: dict[str, str] = {}
    for group in known:
        by_form.setdefault(_form(str(group)), str(group))
    for group in missing:
        other = by_form.get(_form(str(group)))
        if other is not None and other != str(group):
            return (
                f" (the attributes have {other!r}, which is not {str(group)!r}: write both alike)"
            )
    return ""


def _form(group: str) -> str:
    text = group.strip().casefold()
    try:
        return f"{float(text):g}" if text not in ("nan", "inf", "infinity") else text
    except ValueError:
        return text


def check_same_images(predictions: "pd.DataFrame") -> None:
    """Raise ``ValueError`` unless all models were judged on the same images, groups and labels."""
    models = predictions["model"].drop_duplicates().tolist()
    columns = [column for column in ("group", "label") if column in predictions]
    reference = None
    for model, rows in predictions.groupby("model", sort=False):
        facts = rows.set_index("image")[columns].sort_index()
        if reference is None:
            reference = facts
        elif not facts.index.equals(reference.index):
            raise ValueError(
                f"model {model!r}: judged on other images than {models[0]!r} "
                f"({len(facts)} and {len(reference)}); slopes can be compared on the same ones only"
            )
        elif not facts.equals(reference):
            differ = (facts != reference).any(axis=1)
            image = differ[differ].index[0]
            raise ValueError(
                f"image {image!r}: model {model!r} has {facts.loc[image].tolist()} for its "
                f"{' and '.join(columns)}, {models[0]!r} has {reference.loc[image].tolist()}"
            )
