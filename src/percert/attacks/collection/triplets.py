"""Triplets of images in a CSV file: a reference and two candidates."""

from collections.abc import Sequence
from pathlib import Path

from percert.attacks.collection.items import Item
from percert.attacks.collection.labels import find_column, read_table

#: What columns are called, lower case.
REFERENCE = ("reference", "ref", "ref_path")
LEFT = ("left", "left_path")
RIGHT = ("right", "right_path")
CHOICE = ("choice", "right_vote", "judge")


def read_triplets(path: Path, images: Path | None = None) -> list[Item]:
    """The rows ``reference,left,right`` of the CSV file at ``path``, perhaps with a ``choice``.

    The paths count from the folder ``images``, or else from that of the file. ``choice`` is 0 or
    ``left`` where the left one is closer, 1 or ``right`` for the right one; empty where nobody
    says. An item is called after its reference, with ``#2`` and so on where that comes again.
    Raises ``ValueError`` for a file that is something else.
    """
    rows = read_table(path)
    columns = [
        find_column(rows, None, usual, path, f"a column called {usual[0]}")
        for usual in (REFERENCE, LEFT, RIGHT)
    ]
    choices = [name for name in rows[0] if name.lower() in CHOICE]
    folder = path.parent if images is None else images
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    seen: dict[str, int] = {}
    items = []
    for number, row in enumerate(rows, 1):
        reference, left, right = (row[column] for column in columns)
        if not (reference and left and right):
            raise ValueError(f"{path}: row {number} does not name three images")
        seen[reference] = seen.get(reference, 0) + 1
        name = reference if seen[reference] == 1 else f"{reference}#{seen[reference]}"
        choice = _choice(row[choices[0]], f"{path}: row {number}") if choices else None
        items.append(
            Item(name, folder / reference, None, choice, None, (folder / left, folder / right))
        )
    return items


def _choice(text: str, what: str, known: Sequence[str] = ("left", "right")) -> int | None:
    if not text:
        return None
    if text.lower() in known:
        return known.index(text.lower())
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value not in (0, 1):
        raise ValueError(f"{what}: expected a choice of 0, 1, left or right, found {text!r}")
    return int(value)
