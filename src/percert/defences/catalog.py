"""Every defence by name: ``jpeg-75``, ``bits-4``, ``blur-1``, ``median-3``."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from percert.defences.bit_depth import bit_depth
from percert.defences.jpeg import jpeg
from percert.defences.smooth import blur, median
from percert.tensors import Images

#: Images ``(n, 3, h, w)`` in [0, 1] to images of the same shape.
Defence: TypeAlias = Callable[[Images], Images]

#: By family: the function, the name of its setting, its type, and what it may be.
FAMILIES: dict[str, tuple[Callable[..., Images], str, type, float, float]] = {
    "jpeg": (jpeg, "quality", int, 1, 100),
    "bits": (bit_depth, "bits", int, 1, 8),
    "blur": (blur, "sigma", float, 0.1, 20),
    "median": (median, "side", int, 3, 9),
}


def list_defences() -> list[str]:
    """The families that :func:`create_defence` knows, each with an example of a setting.

    >>> list_defences()
    ['jpeg-75', 'bits-4', 'blur-1', 'median-3']
    """
    return ["jpeg-75", "bits-4", "blur-1", "median-3"]


def create_defence(name: str) -> Defence:
    """The defence called ``name``: ``none``, or a family and its setting, as in ``jpeg-75``.

    Raises ``ValueError`` for a family that is not known and a setting that is out of range.

    >>> create_defence("jpeg-0")
    Traceback (most recent call last):
    ValueError: defence 'jpeg-0': expected a quality from 1 to 100, found 0
    """
    if name == "none":
        return lambda images: images
    family, dash, value = name.partition("-")
    if family not in FAMILIES or not dash:
        raise ValueError(
            f"defence {name!r}: not known; known are none and, with their settings, "
            f"{', '.join(list_defences())}"
        )
    function, setting, kind, low, high = FAMILIES[family]
    try:
        number = kind(value)
    except ValueError:
        number = None
    if number is None or not low <= number <= high:
        raise ValueError(
            f"defence {name!r}: expected a {setting} from {low:g} to {high:g}, found {value}"
        )
    return partial(function, **{setting: number})
