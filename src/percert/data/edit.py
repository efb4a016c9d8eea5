"""One edit of a photograph, as a copy has it: its name, what it does, and its own chance."""

import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

RGB = Image.Image


class Operation(Protocol):
    """What an edit does: only a collage looks at ``other``, the photograph that it pastes onto."""

    def __call__(
        self, image: RGB, generator: np.random.Generator, other: RGB | None = None
    ) -> RGB: ...


@dataclass(frozen=True)
class Edit:
    """One edit. ``hard`` tells the hard edits from the usual; ``family`` groups severities.

    ``apply(image, generator, other=None)`` takes an RGB pillow image and returns a new RGB image,
    whose size depends on the edit and on the size of the image alone, never on the generator.
    """

    name: str
    family: str
    hard: bool
    apply: Operation
    needs_other: bool = False


def edit_generator(edit: Edit, seed: int, index: int) -> np.random.Generator:
    """The generator of image ``index`` under ``edit``: the same whatever else is edited, and when.

    >>> from percert.data.copy_edits import find_edit
    >>> edit = find_edit("noise-8")
    >>> float(edit_generator(edit, 0, 3).random()) == float(edit_generator(edit, 0, 3).random())
    True
    """
    return np.random.default_rng([seed, zlib.crc32(edit.name.encode()), index])


def apply_edit(edit: Edit, image: RGB, seed: int, index: int, other: RGB | None = None) -> RGB:
    """``edit`` of an RGB ``image``, deterministic in ``seed`` and ``index``.

    Raises ``ValueError`` when the image is not RGB, or a collage is given no ``other`` image.

    >>> from percert.data.copy_edits import find_edit
    >>> apply_edit(find_edit("crop-80-random"), Image.new("RGB", (100, 60)), 0, 0).size
    (80, 48)
    """
    if image.mode != "RGB":
        raise ValueError(f"image: expected mode RGB, found {image.mode}")
    if edit.needs_other and other is None:
        raise ValueError(f"{edit.name}: needs another photograph to paste onto, found none")
    return edit.apply(image, edit_generator(edit, seed, index), other)
