"""Triplets of images in a CSV file, as things to attack."""

from pathlib import Path

from percert.attacks.collection.items import Item
from percert.data.triplets_csv import csv_triplets


def read_triplets(path: Path, images: Path | None = None) -> list[Item]:
    """The triplets of :func:`~percert.data.triplets_csv.csv_triplets` in ``path``, as items.

    An item's label is 0 where the majority calls the left one closer, 1 for the right one, and
    ``None`` for a draw or where nobody says.
    """
    return [
        Item(one.name, one.reference, None, one.choice, None, (one.left, one.right))
        for one in csv_triplets(path, images=images)
    ]
