"""What a slope generalises to: other trainings, other images, other groups, or all of these.

Models, images and groups are each a draw. A test over models alone says what training again on the
same data would show; nothing of it holds for other images. So each is drawn again by itself, and
then all together: images within their groups and groups with their images by the bootstrap, models
by their own spread. A new draw of groups brings new images, so that its variance holds theirs; all
together add those of groups and models (as Owen's pigeonhole bootstrap of 2007 does, which errs to
the safe side).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from percert.fairness.conclusions import interval_column
from percert.fairness.least_squares import Array
from percert.reports.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # it ships no types

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reach:
    """What is drawn again (``of``), and the slope's standard error and interval for that."""

    of: str
    error: float
    interval: tuple[float, float]

    @property
    def holds(self) -> bool:
        """Whether the slope differs from 0 for what is drawn again."""
        return self.interval[0] > 0 or self.interval[1] < 0


@dataclass(frozen=True)
class Generality:
    """The mean slope ``value`` of the models of a set, or of one set less that of another.

    ``reaches`` has a row for other trainings (where there are several models), other images of the
    same groups, other groups, and all of these.
    """

    of: str
    attribute: str
    value: float
    reaches: tuple[Reach, ...]

    @property
    def words(self) -> str:
        """What it generalises to, in a sentence."""
        held = [reach.of for reach in self.reaches if reach.holds]
        rest = [reach.of for reach in self.reaches if not reach.holds]
        said = f"The slope of {self.of} on {self.attribute}, {self.value:+.4g},"
        if not held:
            return f"{said} is not shown to differ from 0 for {_or(rest)}."
        also = f"; for {_or(rest)} that is not shown" if rest else ""
        return f"{said} differs from 0 for {_or(held)}{also}."


@dataclass(frozen=True)
class SetShares:
    """The models of one set: their ``slopes`` ``(models,)``, and the groups' ``weights``.

    ``right`` ``(images,)`` is the share of the models that have an image right.
    """

    slopes: Array
    weights: Array
    right: Array


def generalise(
    sets: Sequence[SetShares],
    group: Codes,
    attribute: Array,
    *,
    of: str,
    attribute_name: str,
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    paired: bool = False,
) -> Generality:
    """Draw again what may be drawn again, for the slope of one set or of the first less the second.

    ``group`` ``(images,)`` is each image's group as a number, ``attribute`` ``(groups,)``. Weights
    of the groups stay those of the lines. ``paired``: models of both sets belong together.
    """
    rng = np.random.default_rng(seed)
    values = np.stack([entry.right for entry in sets], 1)
    groups = len(attribute)
    signs = (1.0, -1.0)[: len(sets)]
    n = np.bincount(group, minlength=groups)
    sums = np.stack([np.bincount(group, column, groups) for column in values.T], 1)
    shares = sums / n[:, None]
    drawn_images = np.empty((draws, groups, len(sets)))
    for place in range(groups):
        patterns, counts = np.unique(values[group == place], axis=0, return_counts=True)
        again = rng.multinomial(n[place], counts / n[place], draws)
        drawn_images[:, place] = again @ patterns / n[place]
    times = rng.multinomial(groups, np.full(groups, 1 / groups), draws).astype(float)

    def slope(share: Array, counts: Array) -> Array:
        found = np.zeros(len(counts))
        for place, (entry, sign) in enumerate(zip(sets, signs, strict=True)):
            found = found + sign * _slopes(share[..., place], attribute, counts * entry.weights)
        return found

    value = sum(sign * float(entry.slopes.mean()) for entry, sign in zip(sets, signs, strict=True))
    t = float(stats.t.isf((1 - confidence) / 2, groups - 2))
    z = float(stats.norm.isf((1 - confidence) / 2))

    def reach(name: str, error: float, times: float) -> Reach:
        return Reach(name, error, (value - times * error, value + times * error))

    reaches = []
    models = 0.0
    if all(len(entry.slopes) > 1 for entry in sets):
        models, freedom = _spread_of_models(sets, paired)
        by_models = float(stats.t.isf((1 - confidence) / 2, freedom))
        reaches.append(reach("other trainings", models, by_models))
    images = float(np.std(slope(drawn_images, np.ones((draws, groups))), ddof=1))
    reaches.append(reach("other images of these groups", images, z))
    by_groups = slope(np.broadcast_to(shares, (draws, *shares.shape)), times)
    error = float(np.nanstd(by_groups, ddof=1))
    reaches.append(reach("other groups", error, t))
    if models:
        reaches.append(
            reach("other trainings, images and groups", float(np.hypot(error, models)), t)
        )
    return Generality(of, attribute_name, value, tuple(reaches))


def _slopes(share: Array, attribute: Array, weights: Array) -> Array:
    """Weighted slopes of every draw, NaN where it has one value of the attribute alone."""
    x = attribute - attribute.mean()
    total = weights.sum(1, keepdims=True)
    centre = (weights * x).sum(1, keepdims=True) / total
    squares = (weights * (x - centre) ** 2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = (weights * (x - centre) * share).sum(1) / squares
    return np.where(squares > 1e-9 * float((x**2).mean()), found, np.nan)


def _spread_of_models(sets: Sequence[SetShares], paired: bool) -> tuple[float, float]:
    """The standard error of the mean slope, or of the difference, over models; and its df."""
    if len(sets) == 2 and paired:
        gaps = sets[0].slopes - sets[1].slopes
        return float(gaps.std(ddof=1) / np.sqrt(len(gaps))), len(gaps) - 1.0
    parts = [float(entry.slopes.var(ddof=1)) / len(entry.slopes) for entry in sets]
    total = sum(parts)
    below = sum(part**2 / (len(entry.slopes) - 1) for part, entry in zip(parts, sets, strict=True))
    return float(np.sqrt(total)), total**2 / below if below else 1.0


def image_shares(
    everything: "pd.DataFrame", models: Mapping[str, list[str]], groups: "pd.Index"
) -> tuple[dict[str, Array], Codes]:
    """Of each set the share of its models that have an image right; and each image's group.

    Images ``(images,)`` are those of ``groups``, which are numbered in their order.
    """
    import pandas as pd

    rows = everything[everything["group"].isin(groups)]
    code, names = pd.factorize(rows["image"])
    place = groups.get_indexer(rows["group"])
    of_image = np.empty(len(names), np.int64)
    of_image[code] = place
    right = rows["correct"].to_numpy(float)
    model = rows["model"].to_numpy()
    shares = {}
    for name, members in models.items():
        chosen = np.isin(model, members)
        sums = np.bincount(code[chosen], right[chosen], len(names))
        shares[name] = sums / len(members)
    return shares, of_image


def _or(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def generality_table(
    found: Sequence[Generality], confidence: float, *, short: bool = False
) -> Table:
    """Standard errors and intervals by what is drawn again."""
    columns: list[Column[tuple[Generality, Reach]]] = [
        Column("slope of", lambda row: row[0].of),
        Column("on", lambda row: row[0].attribute),
        Column("value", lambda row: row[0].value, "+.4g"),
        Column("for", lambda row: row[1].of),
        Column("standard error", lambda row: row[1].error, ".4g", short="error"),
        interval_column(confidence, lambda row: row[1].interval, "+.4g"),
    ]
    return Table.of(
        [(entry, reach) for entry in found for reach in entry.reaches],
        columns,
        "Models, images and groups are each a draw, and each line draws one of them again (images "
        "and groups by the bootstrap, models by their spread); groups bring their images along. "
        "Where the groups are all that there are, such as all countries, read the line of images.",
        short=short,
    )
