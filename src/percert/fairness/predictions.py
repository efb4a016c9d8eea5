"""Tables of predictions and of attributes, read and checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from percert.check import Argument, ArgumentError
from percert.fairness.calibration import with_probabilities
from percert.fairness.groups import RATES, numbers_first

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

#: What a table of predictions holds, one row an image and model.
PREDICTION_COLUMNS = ("model", "image", "group", "label", "prediction", "probability", "correct")
#: Between the parts of a group or stratum that several columns make.
JOIN = " / "
_TRUTH = {"1": 1, "0": 0, "true": 1, "false": 0, "1.0": 1, "0.0": 0}


def read_table(path: Path) -> "pd.DataFrame":
    """A CSV or parquet file as a table. Raises ``ValueError`` for anything else, or no rows.

    Text stays text in a CSV: the country code NA is Namibia, not a missing value; only an empty
    field is one.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
        elif suffix in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
        else:
            raise ValueError(f"expected a file named .csv or .parquet, found {path.suffix!r}")
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  # each reader has exceptions of its own
        raise ValueError(f"{path}: cannot be read as a table: {error}") from None
    if frame.empty:
        raise ValueError(f"{path}: holds no rows")
    return frame


def read_predictions(
    path: Path,
    columns: Mapping[str, str] | None = None,
    *,
    outcome: str = "accuracy",
    positive: str | None = None,
    threshold: float = 0.5,
    by: Sequence[str] = (),
    strata: Sequence[str] = (),
) -> "pd.DataFrame":
    """The predictions in ``path``, checked: see ``check_predictions``.

    ``columns`` maps a name of ``PREDICTION_COLUMNS`` to the file's own name for it. Without a
    column ``model`` the one model is called after the file.
    """
    frame = read_table(path)
    renamed = {theirs: ours for ours, theirs in (columns or {}).items()}
    missing = sorted(set(renamed) - set(frame.columns))
    if missing:
        raise ValueError(f"{path}: no column {missing[0]!r}; it has {', '.join(frame.columns)}")
    frame = frame.drop(columns=[c for c in renamed.values() if c not in renamed and c in frame])
    frame = frame.rename(columns=renamed)
    if "model" not in frame:
        frame["model"] = path.stem
    return check_predictions(
        frame,
        str(path),
        outcome=outcome,
        positive=positive,
        threshold=threshold,
        by=by,
        strata=strata,
    )


def check_predictions(
    frame: "pd.DataFrame",
    name: str = "predictions",
    *,
    outcome: str = "accuracy",
    positive: str | None = None,
    threshold: float = 0.5,
    by: Sequence[str] = (),
    strata: Sequence[str] = (),
) -> "pd.DataFrame":
    """``frame`` with text ``model``, ``image`` and ``group``, and ``correct`` as 0 or 1.

    ``correct`` is taken from the column of that name, or from ``label`` and ``prediction``. Without
    a ``prediction`` a ``probability`` in [0, 1] of the class ``positive`` (of two labels, the
    second in order) makes one: that class from ``threshold`` on. An ``outcome`` that is a column of
    its own needs neither, the selection rate no label. Columns ``by`` make the group (race and age:
    ``White / 40``), and columns ``strata`` a column ``stratum``, within which groups are compared
    besides. Raises ``ValueError`` for a missing column
    or value, a ``correct`` that is neither true nor false or contradicts label and prediction, and
    an image that one model has twice.

    >>> import pandas as pd
    >>> rows = {"model": "a", "image": ["x", "y"], "group": ["FR", "NA"], "correct": [1, 0]}
    >>> check_predictions(pd.DataFrame(rows))["correct"].tolist()
    [1, 0]
    """
    needed = ["model", "image", "group"]
    for made, parts in (("group", by), ("stratum", strata)):
        if parts:
            frame = frame.assign(**{made: _joined(frame, parts, name)})
            needed = list(dict.fromkeys([*needed, made]))
    if "probability" in frame and "prediction" not in frame:
        frame = _decided(frame, name, positive, threshold)
    given = _made_of(frame, outcome)
    for column in needed + given:
        if column not in frame:
            raise ValueError(
                f"{name}: no column {column!r}; expected image, group, and {_expected(outcome)} "
                f"(model is optional), found {', '.join(map(str, frame.columns))}"
            )
    both = [column for column in ("label", "prediction") if column in frame]
    if outcome == "selection-rate":  # of which labels are often known in part
        both = both if "label" in both and frame["label"].notna().all() else ["prediction"]
    elif len(both) < 2 or given == [outcome]:
        both = []
    kept = frame[[*needed, *dict.fromkeys(given + both)]].copy()
    for column in kept:
        empty = np.flatnonzero(kept[column].isna())
        if len(empty):
            raise ValueError(
                f"{name}: {len(empty)} rows have no {column}, the first is row {empty[0] + 1}"
            )
    for column in needed:
        kept[column] = kept[column].astype(str)
    for column in both:
        kept[column] = _as_written(kept[column])
    if outcome in kept and outcome not in needed:
        kept[outcome] = _truth(kept[outcome], name, outcome)
    if "correct" in kept:
        kept["correct"] = _truth(kept["correct"], name)
        if "label" in kept:
            _check_agreement(kept, name)
    elif "label" in kept:
        kept["correct"] = (kept["label"] == kept["prediction"]).astype(int)
    twice = kept.duplicated(["model", "image"])
    if twice.any():
        row = kept[twice].iloc[0]
        raise ValueError(
            f"{name}: duplicate images: {row['image']!r} occurs more than once for model "
            f"{row['model']!r} ({int(twice.sum())} such rows)"
        )
    if "probability" in frame and "label" in frame:
        kept = with_probabilities(frame, kept, positive)
    return kept.reset_index(drop=True)


def _joined(frame: "pd.DataFrame", parts: Sequence[str], name: str) -> "pd.Series":
    """The values of several columns as one text a row."""
    joined = None
    for part in parts:
        if part not in frame:
            raise ValueError(
                f"{name}: no column {part!r}; it has {', '.join(map(str, frame.columns))}"
            )
        text = _as_written(frame[part].where(frame[part].notna(), ""))
        bad = (text == "") | text.str.contains(JOIN, regex=False)
        if bad.any():
            raise ValueError(
                f"{name}: {part}: expected a value without {JOIN!r}, found "
                f"{str(text[bad].iloc[0])!r} in row {int(np.flatnonzero(bad)[0]) + 1}"
            )
        joined = text if joined is None else joined + JOIN + text
    assert joined is not None
    return joined


def _made_of(frame: "pd.DataFrame", outcome: str) -> list[str]:
    """The columns that the outcome is made of."""
    if outcome == "accuracy":
        return ["correct"] if "correct" in frame else ["label", "prediction"]
    if outcome == "selection-rate":
        return ["prediction"]
    return ["label", "prediction"] if outcome in RATES else [outcome]


def _expected(outcome: str) -> str:
    if outcome == "accuracy":
        return "either correct or label and prediction (or probability)"
    if outcome == "selection-rate":
        return "prediction (or probability)"
    if outcome in RATES:
        return "label and prediction (or probability)"
    return f"the outcome (accuracy, {', '.join(RATES)}, or a column of 0 and 1)"


def _decided(
    frame: "pd.DataFrame", name: str, positive: str | None, threshold: float
) -> "pd.DataFrame":
    """With the predictions that the probabilities of the positive class make."""
    import pandas as pd

    if not 0 < threshold < 1:
        raise ValueError(f"threshold: expected a probability in (0, 1), found {threshold}")
    sure = pd.to_numeric(frame["probability"], errors="coerce")
    bad = ~((sure >= 0) & (sure <= 1))
    if bad.any():
        raise ValueError(
            f"{name}: probability: expected numbers in [0, 1], found "
            f"{str(frame['probability'][bad].iloc[0])!r}"
        )
    classes = ["0", "1"]
    if "label" in frame:
        classes = sorted(_as_written(frame["label"].dropna()).unique(), key=numbers_first)
        if len(classes) != 2:
            raise ValueError(
                f"{name}: a probability is of one of two classes, and label has {len(classes)}; "
                "give the column prediction instead"
            )
    chosen = classes[1] if positive is None else positive
    if chosen not in classes:
        raise ValueError(f"positive: expected {' or '.join(classes)}, found {positive!r}")
    other = next(entry for entry in classes if entry != chosen)
    return frame.assign(prediction=np.where(sure >= threshold, chosen, other))


def _check_agreement(kept: "pd.DataFrame", name: str) -> None:
    wrong = (kept["label"] == kept["prediction"]).astype(int) != kept["correct"]
    if wrong.any():
        row = kept[wrong].iloc[0]
        raise ValueError(
            f"{name}: correct contradicts label and prediction in {int(wrong.sum())} of "
            f"{len(kept)} rows; the first is image {row['image']!r} with label {row['label']}, "
            f"prediction {row['prediction']} and correct {row['correct']}: leave out one of them"
        )


def _as_written(column: "pd.Series") -> "pd.Series":
    # 3, "3" and 3.0 are one label, whichever format a table came in.
    text = column.astype(str).str.strip()
    return text.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def _truth(column: "pd.Series", name: str, called: str = "correct") -> "pd.Series":
    values = column.astype(str).str.strip().str.lower().map(_TRUTH)
    if values.isna().any():
        bad = column[values.isna()].iloc[0]
        raise ValueError(f"{name}: {called}: expected 0 or 1, true or false, found {str(bad)!r}")
    return values.astype(int)


def read_attributes(
    path: Path,
    attribute: tuple[str, ...] = (),
    group: str = "group",
    covariates: tuple[str, ...] = (),
) -> "pd.DataFrame":
    """The attributes in ``path``, one row a group: an index of groups, a column each.

    ``attribute`` names their columns; without, the file must have just one column of numbers
    beside ``group`` and the ``covariates``. A column without any number is one of categories.
    Raises ``ValueError`` for a missing column, a group that is there twice, or text among numbers.
    Groups may lack an attribute here: whether that is an error is known when they are needed.
    """
    import pandas as pd

    frame = read_table(path)
    if group not in frame:
        raise ValueError(
            f"{path}: no column {group!r}; it has {', '.join(map(str, frame.columns))}"
        )
    if frame[group].isna().any():
        raise ValueError(f"{path}: a row has no {group}")
    frame[group] = frame[group].astype(str)
    twice = frame[group].duplicated()
    if twice.any():
        raise ValueError(f"{path}: group {frame[group][twice].iloc[0]!r} occurs more than once")
    table = frame.set_index(group)
    numeric = {column: pd.to_numeric(table[column], errors="coerce") for column in table}
    if not attribute:
        found = [
            column
            for column, values in numeric.items()
            if (values.isna() == table[column].isna()).all() and column not in covariates
        ]
        if len(found) != 1:
            raise ArgumentError(
                f"{path}: expected ",
                Argument("attribute"),
                " to name a column of numbers, one of "
                f"{', '.join(map(str, found)) or 'none there are'}",
            )
        attribute = (str(found[0]),)
    chosen = {}
    for name in dict.fromkeys((*attribute, *covariates)):
        if name not in numeric:
            raise ValueError(
                f"{path}: no attribute {name!r}; it has {', '.join(map(str, table.columns))}"
            )
        text = numeric[name].isna() & table[name].notna()
        if text.any() and numeric[name].notna().any():
            raise ValueError(
                f"{path}: {name} of group {text[text].index[0]!r}: expected a number, "
                f"found {str(table[name][text].iloc[0])!r}"
            )
        chosen[name] = table[name].astype(object) if text.any() else numeric[name].astype(float)
    return pd.DataFrame(chosen)


def attributes_of_parts(
    predictions: "pd.DataFrame", by: Sequence[str], attributes: "pd.DataFrame | None"
) -> "pd.DataFrame":
    """The groups' parts as categories, beside their ``attributes``, where columns ``by`` made them.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"group": ["White / 40", "Asian / 20"]})
    >>> attributes_of_parts(rows, ["race", "age"], None)["age"].tolist()
    ['20', '40']
    """
    import pandas as pd

    groups = sorted(predictions["group"].unique())
    parts = pd.DataFrame(
        [group.split(JOIN) for group in groups], pd.Index(groups, name="group"), list(by), object
    )
    return parts if attributes is None else parts.join(attributes, how="left")
