"""Groups compared within strata, such as classes: what is left where their mix is allowed for.

A group that photographs harder classes looks badly served by a model that treats every class alike.
Within a stratum groups can be compared fairly; the additive model "share = group + stratum" puts
these comparisons together, by least squares over the images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.least_squares import Array
from percert.fairness.regression import CannotEstimate

Codes = npt.NDArray[np.int64]
#: Eigenvalues below this share of the largest are those of what cannot be compared.
_NONE = 1e-9


@dataclass(frozen=True)
class Adjusted:
    """Shares of ``groups`` as they would be if all had the mix of strata of all images.

    ``share`` ``(groups,)`` may lie a little outside [0, 1]. ``n`` is the number of images that
    would know it as well if there were no strata. ``statistic``, ``df`` and ``p_value`` are of the
    generalised Cochran-Mantel-Haenszel test that no stratum has a difference between groups.
    ``apart`` are groups that share no stratum with these, directly or through others, and cannot
    be compared with them.
    """

    groups: tuple[str, ...]
    share: Array
    n: Array
    statistic: float
    df: int
    p_value: float
    strata: int
    apart: tuple[str, ...]


def adjust_for_mix(group: Sequence[str], stratum: Sequence[str], correct: Array) -> Adjusted:
    """Compare groups within strata; all three have one entry an image.

    Raises :class:`CannotEstimate` where fewer than two groups share a stratum.

    >>> group, stratum = ["a"] * 30 + ["b"] * 30, ["easy"] * 20 + ["hard"] * 20 + ["easy"] * 20
    >>> right = np.array(([1] * 9 + [0]) * 2 + ([1] * 5 + [0] * 5) * 2 + ([1] * 9 + [0]) * 2, float)
    >>> found = adjust_for_mix(group, stratum, right)
    >>> found.share.round(3).tolist(), round(found.p_value, 2)
    ([0.767, 0.767], 1.0)
    """
    names, group_code = np.unique(np.asarray(group, str), return_inverse=True)
    strata, stratum_code = np.unique(np.asarray(stratum, str), return_inverse=True)
    shape = (len(names), len(strata))
    place = group_code.astype(np.int64) * shape[1] + stratum_code
    images = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    right = np.bincount(place, correct, shape[0] * shape[1]).reshape(shape)
    kept = _linked(images)
    apart = tuple(map(str, names[~kept]))
    images, right = images[kept], right[kept]
    there = images.sum(0) > 0
    images, right = images[:, there], right[:, there]
    size, hits = images.sum(0), right.sum(0)
    if len(images) < 2:
        raise CannotEstimate("no two groups share a stratum, so that nothing can be compared")
    # What a group has beyond what its strata have on average; images within strata are compared.
    beyond = (right - images * (hits / size)).sum(1)
    within = np.diag(images.sum(1)) - (images / size) @ images.T
    unit = hits / size * (1 - hits / size)
    spread = np.diag((images * unit).sum(1)) - (images * (unit / size)) @ images.T
    inverse, _ = _inverse(within)
    n = images.sum(1)
    total = float(n.sum())
    centre = np.eye(len(n)) - np.outer(np.ones(len(n)), n / total)
    effect = centre @ inverse @ beyond
    variance = np.diag(centre @ inverse @ spread @ inverse @ centre.T)
    variance = variance + float((size * unit).sum()) / total**2
    pool = float(np.clip(hits.sum() / total, 0.5 / total, 1 - 0.5 / total))
    # Counts drawn without replacement within each stratum (the hypergeometric).
    exact = unit * np.divide(size, size - 1, out=np.zeros_like(size), where=size > 1)
    drawn = np.diag((images * exact).sum(1)) - (images * (exact / size)) @ images.T
    back, df = _inverse(drawn)
    if not df:
        raise CannotEstimate("all images of a stratum are right, or all wrong: nothing to compare")
    statistic = float(beyond @ back @ beyond)
    with np.errstate(divide="ignore"):
        known = np.where(variance > 0, pool * (1 - pool) / variance, n)
    return Adjusted(
        groups=tuple(map(str, names[kept])),
        share=pool + effect,
        n=np.maximum(known, 1.0),
        statistic=statistic,
        df=df,
        p_value=float(stats.chi2.sf(statistic, df)),
        strata=int(there.sum()),
        apart=apart,
    )


def _linked(images: Array) -> npt.NDArray[np.bool_]:
    """The groups of the largest set that strata link together, however indirectly."""
    present = images > 0
    left = np.ones(len(images), bool)
    best = np.zeros(len(images), bool)
    while left.any():
        some: npt.NDArray[np.bool_] = np.zeros(len(images), bool)
        some[int(left.argmax())] = True
        while True:
            wider = np.asarray(present[:, present[some].any(axis=0)].any(axis=1))
            if (wider == some).all():
                break
            some = wider
        if images[some].sum() > images[best].sum():
            best = some
        left &= ~some
    return best


def _inverse(matrix: Array) -> tuple[Array, int]:
    """The pseudo-inverse of a symmetric matrix, and its rank."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > _NONE * max(float(values.max()), 0.0)
    inverse: Array = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    return inverse, int(kept.sum())
