"""The edits that can be certified: the parameter of each, its neutral value and its limits."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from percert.certify.editing import colour, enumerated, warps
from percert.certify.editing.blur import LARGEST_SIGMA, Blur
from percert.certify.editing.enumerated import FiniteEdit
from percert.certify.editing.network_input import NetworkInput
from percert.certify.editing.walk import Path
from percert.check import did_you_mean


@dataclass(frozen=True)
class EditFamily:
    """One kind of edit with one parameter.

    ``limits`` (low, high) is how far to look by default, ``bounds`` the values that are allowed.
    ``step`` is the first step of a walk and ``least`` its smallest, 0 for an edit with finitely
    many values. ``standard`` is a range that people expect a copy to survive.
    """

    name: str
    unchanged: float
    limits: tuple[float, float]
    bounds: tuple[float, float]
    step: float
    least: float
    standard: tuple[float, float]
    path: Callable[[Tensor, NetworkInput], Path] | None = None
    finite: Callable[[Tensor], FiniteEdit] | None = None


_FAMILIES = (
    EditFamily("brightness", 1, (0.2, 3), (0, 10), 0.2, 0.005, (0.7, 1.4), path=colour.brightness),
    EditFamily("contrast", 1, (0.2, 3), (0, 10), 0.2, 0.005, (0.6, 1.5), path=colour.contrast),
    EditFamily("gamma", 1, (0.3, 3), (0.05, 10), 0.2, 0.005, (0.7, 1.5), path=colour.gamma),
    EditFamily("saturation", 1, (0, 3), (0, 10), 0.5, 0.01, (0.5, 1.5), path=colour.saturation),
    EditFamily("warmth", 0, (-0.5, 0.5), (-1, 1), 0.2, 0.005, (-0.2, 0.2), path=colour.warmth),
    EditFamily("blur", 0, (0, 10), (0, LARGEST_SIGMA), 0.5, 0.01, (0, 2), path=Blur),
    EditFamily("rotation", 0, (-20, 20), (-180, 180), 0.2, 0.025, (-5, 5), path=warps.rotation),
    EditFamily("crop", 1, (0.5, 1), (0, 1), 0, 0, (0.9, 1), finite=enumerated.centre_crop),
    EditFamily("jpeg", 100, (1, 100), (1, 100), 0, 0, (30, 100), finite=enumerated.jpeg),
    EditFamily("zoom", 1, (0.7, 1.4), (0.25, 4), 0.004, 0.0005, (0.9, 1.1), path=warps.zoom),
    EditFamily("downscale", 1, (0.1, 1), (0, 1), 0, 0, (0.25, 1), finite=enumerated.downscale),
    EditFamily("webp", 100, (0, 100), (0, 100), 0, 0, (30, 100), finite=enumerated.webp),
)
#: By name.
FAMILIES = {family.name: family for family in _FAMILIES}


def find_family(name: str) -> EditFamily:
    """The family called ``name``; ``ValueError`` lists those there are.

    >>> find_family("brightness").standard
    (0.7, 1.4)
    """
    if name not in FAMILIES:
        near = did_you_mean(name, FAMILIES, f"; expected one of {', '.join(FAMILIES)}")
        raise ValueError(f"edit: none is called {name!r}{near}")
    return FAMILIES[name]
