"""Triplets of images in a CSV file of one's own, and reading CSV files row by row."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from percert.check import one_line
from percert.data.triplet import Triplet

#: What the columns may be called, in lower case.
COLUMNS: dict[str, tuple[str, ...]] = {
    "reference": ("reference", "ref", "ref_path"),
    "left": ("left", "left_path", "p0"),
    "right": ("right", "right_path", "p1"),
    "choice": ("choice", "right_vote", "judge", "share"),
    "name": ("name", "id"),
    "split": ("split",),
    "group": ("group", "kind", "category"),
}
NEEDED = ("reference", "left", "right")


def csv_triplets(
    path: Path, *, images: Path | None = None, split: str | None = None
) -> Iterator[Triplet]:
    """The triplets in the CSV file ``path``, in its order, one by one.

    It has the columns ``reference,left,right``, and may have ``choice``, ``name``, ``split`` and
    ``group`` (other names: :data:`COLUMNS`). Paths count from the folder ``images``, or from that
    of the file. A choice is ``left``, ``right``, or the share of judges in [0, 1] who call the
    right one closer; empty where nobody says. ``split`` keeps the rows of that split.
    Raises ``ValueError``, with the row, for a file that is something else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = Path(folder, "t.csv")
    ...     _ = table.write_text("reference,left,right,choice\\na.png,b.png,c.png,right\\n")
    ...     [triplet.choice for triplet in csv_triplets(table)]
    [1]
    """
    folder = path.parent if images is None else images
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    seen: dict[str, int] = {}
    names: dict[str, str | None] | None = None
    for number, row in enumerate(csv_rows(path), 1):
        if names is None:
            names = {what: find_column(list(row), usual) for what, usual in COLUMNS.items()}
            for needed in NEEDED:
                if names[needed] is None:
                    raise ValueError(
                        f"{path}: expected a column {needed}, found {', '.join(row) or 'none'}"
                    )
        known = {what: "" if name is None else row[name] for what, name in names.items()}
        if not all(known[needed] for needed in NEEDED):
            raise ValueError(f"{path}: row {number} does not name three images")
        if split is not None and names["split"] is not None and known["split"] != split:
            continue
        name = known["name"] or known["reference"]
        seen[name] = seen.get(name, 0) + 1
        yield Triplet(
            name=name if seen[name] == 1 else f"{name}#{seen[name]}",
            reference=folder / known["reference"],
            left=folder / known["left"],
            right=folder / known["right"],
            share=_share(known["choice"], f"{path}: row {number}"),
            split=known["split"],
            group=known["group"],
        )


def csv_rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file with a header, stripped of white space, one by one.

    Raises ``ValueError`` for a file that is missing, no text, or empty.
    """
    count = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            for row in reader:
                count += 1
                yield {key: value.strip() for key, value in row.items() if key is not None}
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file that can be read ({one_line(error)})") from None
    if not count:
        raise ValueError(f"{path}: expected a CSV file with a header and rows, found no rows")


def find_column(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The first of the ``usual`` names, in any case, that is among ``names``.

    >>> find_column(["Ref", "left"], ("reference", "ref"))
    'Ref'
    """
    for wanted in usual:
        for name in names:
            if name.lower() == wanted:
                return name
    return None


def _share(text: str, what: str) -> float | None:
    if not text:
        return None
    if text.lower() in ("left", "right"):
        return float(text.lower() == "right")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"{what}: expected a choice of left, right or 0 to 1, found {text!r}")
    return value
