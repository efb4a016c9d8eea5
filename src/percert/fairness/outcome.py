"""What is asked of each image: right or wrong, found or missed, chosen or not, or a column."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
