"""The certificates: a decision or a distance, and the radius or interval that is proven for it.

Made by the functions of ``percert.certify`` alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from percert.lipschitz.bound import LipschitzBound
from percert.tensors import Labels, Vector


@dataclass(frozen=True)
class Certificate:
    """A decision per image, and how far the images may be perturbed without changing it.

    ``decision`` ``(n,)`` cannot change while the ``perturbed`` images each move by less than
    ``radius`` ``(n,)``, float64: an l2 length in the pixels of the images as given, in [0, 1]
    units. A radius of 0 abstains: nothing is certified. An infinite one means that no perturbation
    of these images changes the decision. ``radius_paper`` is the smaller radius that LipSim's
    theorem gives, NaN where its proof does not hold (``docs/concepts/certificates.md``), and
    ``radius_tsuzuku`` that of Tsuzuku et al. (2018), of 2AFC where the reference moves.
    ``bounds`` are the Lipschitz bounds of the images that move, by role. ``plain`` ``(n,)``, of
    copies, is True where one of the images, as given, holds too little for "copy" to mean anything:
    the radius of that is 0.
    """

    decision: Tensor
    radius: Vector
    radius_paper: Vector
    perturbed: str
    bounds: Mapping[str, LipschitzBound]
    plain: Tensor | None = None
    radius_tsuzuku: Vector | None = None

    @property
    def bound(self) -> LipschitzBound:
        """The largest of ``bounds``, and the size of image that it holds for."""
        return max(self.bounds.values(), key=lambda bound: bound.value)


@dataclass(frozen=True)
class Interval:
    """Between which values a distance stays while the ``perturbed`` images move by at most ``eps``.

    ``lower <= distance <= upper``, all ``(n,)`` float64 in [0, 2]. ``lower_paper`` and
    ``upper_paper`` are what LipSim's Proposition 1 gives, NaN where its proof does not hold.
    """

    lower: Vector
    upper: Vector
    distance: Vector
    eps: float
    lower_paper: Vector
    upper_paper: Vector
    perturbed: str
    bounds: Mapping[str, LipschitzBound]


@dataclass(frozen=True)
class NearestCertificate:
    """The nearest of a gallery to each query, and how far the query may move without changing it.

    ``index`` ``(n,)`` is the row of the gallery, ``distance`` ``(n,)`` its distance, ``ids`` the
    names of these rows where the gallery has names. It stays the nearest while the query moves by
    less than ``radius``, and among the nearest ``k`` while by less than ``radius_top_k`` (both
    ``(n,)``, pixel l2, 0 abstains, infinite where the gallery holds no rival that could matter).
    ``radius_paper`` is LipSim's Eq. 8 against every rival, NaN where its proof does not hold.
    ``scanned`` ``(n,)`` counts the rows whose radius had to be computed.
    """

    index: Labels
    distance: Vector
    radius: Vector
    radius_top_k: Vector
    radius_paper: Vector
    k: int
    ids: tuple[str, ...] | None
    scanned: Labels
    bound: LipschitzBound
