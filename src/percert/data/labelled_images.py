"""Labelled images in a parquet file, in the convention of Hugging Face ``datasets``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from percert.images.load import decode_image


@dataclass(frozen=True)
class LabelledImages:
    """Encoded images of a file and their labels ``(n,)``; decoded when asked for."""

    encoded: list[bytes]
    labels: npt.NDArray[np.int64]
    source: str = "images"

    def decode(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """``(n, 3, h, w)`` float32 in [0, 1] of the images at ``indices``, which have one size.

        Read as by :func:`percert.images.load_image`, whose error names the row of a bad one.
        """
        return torch.stack(
            [decode_image(self.encoded[index], f"{self.source}: row {index}") for index in indices]
        )


def read_labelled_images(path: Path) -> LabelledImages:
    """Read columns ``image`` (a struct with ``bytes``) and ``label``. Needs pyarrow.

    Raises ``ValueError`` where a column is missing.
    """
    # An optional dependency, and slow to load.
    import pyarrow.parquet  # type: ignore[import-untyped]  # it ships no types

    table = pyarrow.parquet.read_table(path)
    missing = {"image", "label"} - set(table.column_names)
    if missing:
        raise ValueError(f"{path}: expected columns image and label, found {table.column_names}")
    encoded = [row["bytes"] for row in table.column("image").to_pylist()]
    labels = np.asarray(table.column("label").to_pylist(), dtype=np.int64)
    return LabelledImages(encoded, labels, str(path))


def semantic_triplets(
    labels: npt.NDArray[np.int64], count: int, seed: int
) -> npt.NDArray[np.int64]:
    """``(count, 3)`` indices: a reference, another of its class, and one of another class.

    References are drawn without repetition while they last. Raises ``ValueError`` where a class has
    one image only, or there is a single class.

    >>> reference, same, other = semantic_triplets(np.array([0, 0, 1, 1]), 1, 0)[0]
    >>> bool(reference != same), bool(same // 2 == reference // 2), bool(other // 2 == same // 2)
    (True, True, False)
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if len(classes) < 2 or sizes.min() < 2:
        raise ValueError(
            f"labels: expected at least 2 classes of at least 2 images, "
            f"found {len(classes)} and {sizes.min() if len(sizes) else 0}"
        )
    generator = np.random.default_rng(seed)
    rounds = -(-count // len(labels))
    references = np.concatenate([generator.permutation(len(labels)) for _ in range(rounds)])
    triplets = []
    for reference in references[:count]:
        alike = np.flatnonzero(labels == labels[reference])
        same = generator.choice(alike[alike != reference])
        other = generator.choice(np.flatnonzero(labels != labels[reference]))
        triplets.append((reference, same, other))
    return np.array(triplets, dtype=np.int64).reshape(count, 3)
