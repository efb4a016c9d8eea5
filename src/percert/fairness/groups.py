"""The outcome that is asked of each image, and the shares of it that groups have.

An outcome is 0 or 1 an image: right or wrong, found or missed, chosen or not, or a column of one's
own. Groups that are too small, or of which something is missing, are left out and listed.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from percert.check import Argument, ArgumentError

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

#: The outcomes that labels and predictions give; any other name is a column of 0 and 1.
RATES = ("true-positive-rate", "false-positive-rate", "selection-rate")


@dataclass(frozen=True)
class Outcome:
    """A 0/1 outcome of which groups have shares. ``words`` stand where "accuracy" would.

    ``positive`` is the class that counts as positive, ``None`` where none does. ``short`` is for
    the heads of tables, ``key`` for JSON.
    """

    name: str
    words: str
    meaning: str
    positive: str | None = None

    @property
    def key(self) -> str:
        """The name as JSON and records have it."""
        return self.name.replace("-", "_")

    @property
    def short(self) -> str:
        """The words without their article."""
        return self.words.removeprefix("the ")

    @property
    def title(self) -> str:
        """The words at the start of a sentence."""
        return self.words[0].upper() + self.words[1:]


ACCURACY = Outcome("accuracy", "accuracy", "the share of images whose answer is right")


def choose_outcome(
    frame: "pd.DataFrame", name: str = "accuracy", positive: str | None = None
) -> Outcome:
    """The outcome ``name`` of checked predictions, with the class that counts as positive.

    Of two classes that is the second in order (1 of 0 and 1) unless ``positive`` names the other;
    of more it has to be named. Raises ``ValueError`` for a class that does not occur, and for a
    table that lacks what the outcome is made of.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"label": ["cat", "dog"], "prediction": ["dog", "dog"], "correct": 0})
    >>> choose_outcome(rows, "selection-rate").positive
    'dog'
    """
    chosen = _positive(frame, positive, name in RATES)
    if name in RATES:
        verb = f"are predicted to be {chosen}"
        means = {
            "true-positive-rate": f"the share of images labelled {chosen} that {verb}",
            "false-positive-rate": f"the share of images not labelled {chosen} that {verb}",
            "selection-rate": f"the share of all images that {verb}",
        }
        return Outcome(name, f"the {name.replace('-rate', ' rate')}", means[name], chosen)
    if name == "accuracy":
        return Outcome(name, ACCURACY.words, ACCURACY.meaning, chosen)
    if name not in frame:
        raise ValueError(
            f"outcome: expected accuracy, {', '.join(RATES)} or a column of 0 and 1, found {name!r}"
        )
    return Outcome(name, f"the share of {name}", f"the share of images with {name} = 1", chosen)


def _positive(frame: "pd.DataFrame", given: str | None, needed: bool) -> str | None:
    if "prediction" not in frame:
        if needed or given is not None:
            raise ValueError(
                "outcome: which class is positive takes a column prediction (or probability)"
                + ("" if "label" in frame else " and, for all but the selection rate, label")
            )
        return None
    found = {*frame["prediction"].unique()}
    if "label" in frame:
        found |= {*frame["label"].unique()}
    classes = sorted(map(str, found), key=numbers_first)
    if given is not None:
        if given not in classes:
            raise ValueError(
                f"positive: expected one of the classes {_few(classes)}, found {given!r}"
            )
        return given
    if len(classes) <= 2:
        return classes[-1]
    if needed:
        raise ValueError(
            f"positive: {len(classes)} classes ({_few(classes)}): name the one that counts as "
            "positive"
        )
    return None


def _few(classes: list[str]) -> str:
    return ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")


def with_outcome(frame: "pd.DataFrame", outcome: Outcome) -> "pd.DataFrame":
    """The images that the outcome is asked of, with ``correct`` as the outcome's 0 or 1.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"label": ["1", "1", "0"], "prediction": ["1", "0", "0"]})
    >>> with_outcome(rows, choose_outcome(rows, "true-positive-rate"))["correct"].tolist()
    [1, 0]
    """
    if outcome.name == "accuracy":
        return frame
    if outcome.name not in RATES:
        return frame.assign(correct=frame[outcome.name])
    if outcome.name != "selection-rate":
        if "label" not in frame:
            raise ValueError(f"outcome: the {outcome.name} takes a column label")
        is_positive = frame["label"] == outcome.positive
        frame = frame[is_positive if outcome.name == "true-positive-rate" else ~is_positive]
        if frame.empty:
            raise ValueError(f"outcome: no image is left that the {outcome.name} is asked of")
    return frame.assign(correct=(frame["prediction"] == outcome.positive).astype(int))


def numbers_first(name: str) -> tuple[int, float, str]:
    """Classes in order: numbers by their size, then words.

    >>> sorted(["b", "10", "9"], key=numbers_first)
    ['9', '10', 'b']
    """
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


#: Section 4 and appendix E of Human Imperceptible Attacks leave smaller groups out.
SMALLEST = 50


@dataclass(frozen=True)
class OmittedGroup:
    """A group that is not in the regression, and why."""

    group: str
    n: int
    reason: str


@dataclass(frozen=True)
class GroupTable:
    """What the regressions run on, for every model of every set on the same groups.

    ``n`` is images a group (index: group, sorted), ``accuracy`` one row a group and one column a
    model, ``attributes`` one column an attribute that is a number. ``others`` has covariates, and
    attributes that are categories.
    """

    n: "pd.Series"
    accuracy: "pd.DataFrame"
    attributes: "pd.DataFrame"
    left_out: tuple[OmittedGroup, ...]
    others: "pd.DataFrame | None" = None


def group_table(
    predictions: "pd.DataFrame",
    attributes: "pd.DataFrame | None" = None,
    *,
    covariates: tuple[str, ...] = (),
    smallest: int = SMALLEST,
    drop_missing: bool = False,
) -> GroupTable:
    """Accuracies by group, of checked ``predictions`` (``percert.fairness.predictions``).

    Without ``attributes`` the table has none; ``covariates`` are those that are only allowed for.
    ``drop_missing`` leaves groups without an attribute
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
    numbers = known.select_dtypes("number")
    bad = np.isinf(numbers).any(axis=1)
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
        OmittedGroup(str(group), int(n), f"fewer than {smallest} images")
        for group, n in sizes[small].items()
    ]
    left_out += [
        OmittedGroup(str(group), int(n), "no attribute") for group, n in sizes[without].items()
    ]
    keep = ~small & ~without
    if not keep.any():
        raise ValueError(
            f"no group is left: of {len(sizes)}, {int(small.sum())} have fewer than {smallest} "
            f"images and {int(without.sum())} no attribute"
        )
    tested = [column for column in numbers if column not in covariates]
    return GroupTable(
        sizes[keep],
        accuracy[keep],
        known.loc[keep, tested].astype(float),
        tuple(left_out),
        known.loc[keep, [column for column in known if column not in tested]],
    )


def outcome_table(
    everything: "pd.DataFrame",
    attributes: "pd.DataFrame | None",
    outcome: Outcome,
    *,
    covariates: tuple[str, ...] = (),
    smallest: int = SMALLEST,
    drop_missing: bool = False,
) -> GroupTable:
    """The groups' shares of ``outcome``; a group that it is asked of nowhere is left out, too."""
    check_same_images(everything)
    asked = with_outcome(everything, outcome)
    table = group_table(
        asked, attributes, covariates=covariates, smallest=smallest, drop_missing=drop_missing
    )
    without = sorted(set(everything["group"]) - set(asked["group"]))
    why = f"no image that the {outcome.short} is asked of"
    left_out = (*table.left_out, *(OmittedGroup(str(group), 0, why) for group in without))
    return replace(table, left_out=left_out)


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
    columns = [column for column in ("group", "label", "stratum") if column in predictions]
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
