"""The class of an image by its name, and which part of the data it is in."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

#: Of training, validation and test, as in the paper.
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
#: ImageNet calls an image after its class: n02123045_1234.
_CLASS = re.compile(r"(n\d{8})_\d+")


def labels_of(images: Iterable[str], classes: Sequence[str] = ()) -> dict[str, int | None]:
    """The class index of each image that is called after its class, as ImageNet's are.

    Its place among ``classes``; without them, among the classes of all ``images`` in order.
    ``None`` for other images.

    >>> labels_of(["n02_1", "n02123045_7", "n01440764_3"])
    {'n02_1': None, 'n02123045_7': 1, 'n01440764_3': 0}
    """
    found = {image: _CLASS.match(image.rpartition("/")[2]) for image in images}
    names = classes or sorted({match[1] for match in found.values() if match})
    place = {name: number for number, name in enumerate(names)}
    return {image: place.get(match[1]) if match else None for image, match in found.items()}


def assign_splits(photos: Sequence[str], seed: int) -> dict[str, str]:
    """60 % training, 20 % validation, 20 % test, by chance: whatever the order of ``photos``.

    >>> found = list(assign_splits([str(n) for n in range(10)], seed=0).values())
    >>> found.count("train"), found.count("val"), found.count("test")
    (6, 2, 2)
    """
    ordered = sorted(set(photos))
    shuffled = np.random.default_rng(seed).permutation(len(ordered))
    train = round(SHARES["train"] * len(ordered))
    val = train + round(SHARES["val"] * len(ordered))
    return {
        ordered[place]: "train" if rank < train else "val" if rank < val else "test"
        for rank, place in enumerate(shuffled)
    }
