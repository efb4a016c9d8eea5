"""An attack never beats a certificate: what every evaluation holds its own results to."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from percert.certify.certificate import Certificate

Flags = npt.NDArray[np.bool_]


class BrokenCertificate(ValueError):
    """Something was certified that does not hold: a defect of a proof, of weights or of percert."""


def check_attack(name: str, attack: str, radius: float | None, outcome: Mapping[str, Any]) -> None:
    """Raise :class:`BrokenCertificate` where an attack succeeded inside of the certified radius.

    ``outcome`` has ``success`` and ``l2``, the longest way of an image that moved, in pixels.

    >>> check_attack("t1", "pgd", 1.0, {"success": True, "l2": 1.01})
    >>> check_attack("t1", "pgd", 1.0, {"success": True, "l2": 0.99})
    Traceback (most recent call last):
    percert.runs.certified.BrokenCertificate: triplet t1: certified up to l2 = 1, but ...
    """
    if radius is not None and outcome["success"] and outcome["l2"] < radius:
        raise BrokenCertificate(
            f"triplet {name}: certified up to l2 = {radius:.6g}, but attack {attack} turned it "
            f"round at {outcome['l2']:.6g}: the certificate does not hold; report this, and trust "
            "no result of this metric"
        )


def check_decision(names: Sequence[str], proven: Certificate, choice: Tensor) -> None:
    """Raise :class:`BrokenCertificate` where what is certified is not what the metric says."""
    known = proven.radius > 0
    odd = (known & (proven.decision.to(choice) != choice)).nonzero()[:, 0].tolist()
    if odd:
        raise BrokenCertificate(
            f"triplet {names[odd[0]]}: the certificate is for the choice "
            f"{int(proven.decision[odd[0]])}, but the metric chooses {int(choice[odd[0]])}"
        )


def check_order(
    name: str, what: str, natural: float, empirical: Mapping[str, float], certified: float
) -> None:
    """Raise :class:`BrokenCertificate` unless certified <= empirical <= natural for a triplet.

    The three are what the triplet counts for: 1 where it is right (or stays so), 0 where it is not.
    """
    for attack, score in {"no attack": natural, **empirical}.items():
        if not certified <= score <= natural:
            raise BrokenCertificate(
                f"triplet {name}, {what}: expected certified <= empirical <= natural, found "
                f"{certified:g}, {score:g} under {attack}, {natural:g}"
            )


def check_flags(name: str, eps: float, natural: Flags, right: Flags, proven: Flags | None) -> None:
    """Raise :class:`BrokenCertificate` unless what is ``proven`` is ``right`` under attack, and
    that without (``natural``), pair by pair.

    >>> yes, no = np.array([True]), np.array([False])
    >>> check_flags("thumbnail", 1.0, natural=yes, right=no, proven=yes)
    Traceback (most recent call last):
    percert.runs.certified.BrokenCertificate: thumbnail: an attack broke a certificate at l2 = 1
    """
    if proven is not None and (proven & ~right).any():
        raise BrokenCertificate(f"{name}: an attack broke a certificate at l2 = {eps:g}")
    if (right & ~natural).any():
        raise BrokenCertificate(f"{name}: right under attack at l2 = {eps:g}, but wrong without")


def check_interval(row: Mapping[str, Any]) -> None:
    """Raise :class:`BrokenCertificate` where an attack took a distance above its ``upper`` bound.

    >>> check_interval({"image": "a", "attack": "pgd", "l2": 1.0, "distance": 0.1, "upper": 0.2})
    """
    if row["upper"] is not None and row["distance"] > row["upper"]:
        raise BrokenCertificate(
            f"image {row['image']}: within l2 = {row['l2']:.6g} the distance is certified to stay "
            f"below {row['upper']:.6g}, but {row['attack']} took it to {row['distance']:.6g}"
        )


def check_unchanged(name: str, radius: float | None, moved: float, unchanged: bool) -> None:
    """Raise :class:`BrokenCertificate` where a change of length ``moved`` below the certified
    ``radius`` changed the answer.

    >>> check_unchanged("phash: a.png", None, 1.0, unchanged=False)
    """
    if radius is not None and moved < radius and not unchanged:
        raise BrokenCertificate(f"{name}: an attack broke a certificate")
