"""Attack runs in numbers: success, distances and effort, on the same images, beside a baseline."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, quantiles
from typing import Any, TypeVar

from percert.evaluation.attack_runs.distances import Row
from percert.evaluation.attack_runs.read import Ablation, AttackRuns, ablations
from percert.reports.attack_summary import outside_8bit, rounding_words, undone_8bit
from percert.reports.records import column
from percert.reports.table import Column, number

Entry = TypeVar("Entry")

TITLES = {
    "l1": "L1",
    "l2": "L2",
    "linf": "L∞",
    "psnr": "PSNR (dB)",
    "mse": "MSE",
    "ssim": "1-SSIM",
    "ms-ssim": "1-MS-SSIM",
    "gmsd": "GMSD",
    "mdsi": "MDSI",
    "haarpsi": "1-HaarPSI",
    "fsim": "1-FSIM",
    "ciede2000": "CIEDE2000",
    "features": "LP",
    "lpips-alex": "LPIPS (alex)",
    "lpips-vgg": "LPIPS (vgg)",
    "lpips-squeeze": "LPIPS (squeeze)",
    "dists": "DISTS",
    "pieapp": "PieAPP",
    "dreamsim": "DreamSim",
}
#: Below this a whole column is written in thousandths, but for distances of pixels.
SMALL = 0.1
PIXELS = ("l1", "l2", "linf")
#: What is larger for images that are closer.
HIGHER = ("psnr",)


def title(name: str) -> str:
    """What a distance is called in a heading.

    >>> title("ssim"), title("thumbnail")
    ('1-SSIM', 'thumbnail')
    """
    return TITLES.get(name, name)


def distance_column(
    name: str, value: Callable[[Entry], float | None], rows: Sequence[Entry]
) -> Column[Entry]:
    """The column of a distance: in thousandths where all are small, the closest one marked *.

    That is the least distance, and the greatest PSNR.

    >>> column = distance_column("dists", float, [0.008, 0.034])
    >>> column.name, column.text(0.008), column.text(0.034)
    ('DISTS (x1000)', '8 *', '34')
    """
    there = [found for row in rows if (found := value(row)) is not None]
    small = name not in PIXELS and bool(there) and max(map(abs, there)) < SMALL
    best = (max if name in HIGHER else min)(there, default=None)

    def text(found: float) -> str:
        cell = number(1000 * found if small else found)
        return f"{cell} *" if found == best and len(there) > 1 else cell

    return Column(f"{title(name)} (x1000)" if small else title(name), value, text)


#: What an attack costs, means an attacked image.
EFFORT = ("seconds", "cpu_seconds", "model_calls")


@dataclass(frozen=True)
class Spread:
    """Values in a few numbers; quartiles by linear interpolation between the values."""

    count: int
    mean: float
    least: float
    lower: float
    median: float
    upper: float
    most: float


@dataclass(frozen=True)
class AttackNumbers:
    """What became of one attack.

    ``attacked`` images (misclassified ones are left alone) of which the shares ``success`` and
    ``success_8bit`` succeeded, as returned and as a file; of the others ``outside_8bit`` would as
    files outside of what was allowed, and ``undone_8bit`` did before rounding. ``distances`` by
    name, over the images that succeeded as files; ``None`` where none has one. ``effort`` by name,
    a mean an attacked image, and ``seconds`` for all of them.
    """

    attack: str
    attacked: int
    success: float
    success_8bit: float
    outside_8bit: float
    undone_8bit: float
    distances: dict[str, Spread | None]
    effort: dict[str, float | None]
    seconds: float

    @property
    def rounding(self) -> str | None:
        """What rounding to 8 bits cost, in words, where it cost anything."""
        return rounding_words(self.attack, self.attacked, self.outside_8bit, self.undone_8bit)

    def mean(self, name: str) -> float | None:
        """The mean distance, where there is one."""
        spread = self.distances.get(name)
        return None if spread is None else spread.mean

    def median(self, name: str) -> float | None:
        """The median distance, where there is one."""
        spread = self.distances.get(name)
        return None if spread is None else spread.median


def spread(values: Sequence[float]) -> Spread | None:
    """``values`` in a few numbers, ``None`` where there are none.

    >>> spread([1.0, 2.0, 3.0, 10.0]).upper
    4.75
    """
    if not values:
        return None
    lower, median, upper = (
        quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    )
    return Spread(len(values), fmean(values), min(values), lower, median, upper, max(values))


def number_attacks(
    rows: Sequence[Row],
    distances: Sequence[str],
    *,
    images: Collection[str] | None = None,
    over: str = "success_8bit",
) -> list[AttackNumbers]:
    """One :class:`AttackNumbers` an attack that was tried on ``images`` (default: all).

    Distances are of the rows for which the column ``over`` is true.

    >>> row = {"attack": "a", "image": "x", "attacked": True, "success": True, "success_8bit": True,
    ...        "seconds": 1.0, "cpu_seconds": 0.5, "model_calls": 2.0, "l2": 0.5}
    >>> number_attacks([row, {**row, "image": "y", "l2": 1.5}], ["l2"])[0].mean("l2")
    1.0
    """
    by_attack: dict[str, list[Row]] = {}
    for row in rows:
        if row["attacked"] and (images is None or row["image"] in images):
            by_attack.setdefault(row["attack"], []).append(row)
    return [
        AttackNumbers(
            attack=attack,
            attacked=len(tried),
            success=fmean(bool(row["success"]) for row in tried),
            success_8bit=fmean(bool(row["success_8bit"]) for row in tried),
            outside_8bit=outside_8bit(tried) or 0.0,
            undone_8bit=undone_8bit(tried) or 0.0,
            distances={
                name: spread(column([row for row in tried if row[over]], name))
                for name in distances
            },
            effort={name: _mean(tried, name) for name in EFFORT},
            seconds=sum(row["seconds"] for row in tried),
        )
        for attack, tried in by_attack.items()
    ]


def shared_images(rows: Sequence[Row], over: str = "success_8bit") -> list[str]:
    """The images on which every attack succeeded, in their order.

    >>> rows = [{"attack": a, "image": i, "attacked": True, "success_8bit": i != "y" or a == "p"}
    ...         for a in "pq" for i in "xy"]
    >>> shared_images(rows)
    ['x']
    """
    won: dict[str, set[str]] = {}
    for row in rows:
        if row["attacked"] and row[over]:
            won.setdefault(row["image"], set()).add(row["attack"])
    attacks = {row["attack"] for row in rows}
    return [image for image, by in won.items() if by == attacks]


def ratios_to(
    baseline: str,
    rows: Sequence[Row],
    distances: Sequence[str],
    *,
    images: Collection[str] | None = None,
    over: str = "success_8bit",
) -> dict[str, dict[str, float | None]]:
    """Each attack's mean over the ``baseline``'s, on the same images; below 1 is better.

    Distances are compared on the images on which both succeeded (``images`` in the result), effort
    on those on which both were tried; decibels have no ratio. Raises ``ValueError`` where the
    baseline was not run.

    >>> row = {"attack": "a", "image": "x", "attacked": True, "success": True, "success_8bit": True,
    ...        "seconds": 1.0, "cpu_seconds": 0.5, "model_calls": 2.0, "l2": 0.5}
    >>> ratios_to("a", [row, {**row, "attack": "b", "l2": 0.25}], ["l2"])["b"]["l2"]
    0.5
    """
    tried: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["attacked"] and (images is None or row["image"] in images):
            tried.setdefault(row["attack"], {})[row["image"]] = row
    known = list(dict.fromkeys(row["attack"] for row in rows))
    if baseline not in known:
        raise ValueError(f"baseline: no attack {baseline!r} in the runs, found {', '.join(known)}")
    base = tried.get(baseline, {})
    found: dict[str, dict[str, float | None]] = {}
    for attack, mine in tried.items():
        both = [(row, base[image]) for image, row in mine.items() if image in base]
        won = [(row, other) for row, other in both if row[over] and other[over]]
        found[attack] = {
            "images": float(len(won)),
            **{n: None if n in HIGHER else _ratio(won, n) for n in distances},
            **{name: _ratio(both, name) for name in EFFORT},
        }
    return found


def as_json(numbers: Sequence[AttackNumbers]) -> list[dict[str, Any]]:
    """The numbers as plain dictionaries."""
    return [asdict(entry) for entry in numbers]


def _mean(rows: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return fmean(values) if values else None


def _ratio(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], name: str) -> float | None:
    both = [
        (row[name], other[name])
        for row, other in pairs
        if row.get(name) is not None and other.get(name) is not None
    ]
    below = sum(other for _, other in both)
    return sum(value for value, _ in both) / below if below > 0 else None


#: The attack that others are compared with, unless another one is named.
BASELINE = "ascent"


@dataclass(frozen=True)
class AttackEvaluation:
    """What ``percert eval attacks`` says.

    ``own``: every attack on all the images that it was run on. ``shared``: the same on the images
    ``shared_on``, on which all of them succeeded. ``ratios``: each attack's means over those of the
    ``baseline``, where there is one, on the images that both succeeded on. ``ablations``: which
    attacks differ in one setting.
    """

    rows: Sequence[Row]
    distances: Sequence[str]
    over: str
    own: list[AttackNumbers]
    shared_on: list[str]
    shared: list[AttackNumbers]
    baseline: str | None
    ratios: dict[str, dict[str, float | None]]
    ablations: list[Ablation]

    def answer(self) -> dict[str, Any]:
        """All of it as what JSON can hold."""
        return {
            "distances": list(self.distances),
            "attacks": as_json(self.own),
            "shared": {"images": len(self.shared_on), "attacks": as_json(self.shared)},
            "baseline": self.baseline,
            "ratios": self.ratios,
            "ablations": [asdict(entry) for entry in self.ablations],
        }


def evaluate_attacks(
    runs: AttackRuns, rows: Sequence[Row], distances: Sequence[str], baseline: str | None = None
) -> AttackEvaluation:
    """Compare the attacks of ``runs``; ``rows`` are theirs, with ``distances`` measured.

    ``baseline``: :data:`BASELINE` if not given, where it was run. Raises ``ValueError`` for one
    that was not, and where nothing was attacked.
    """
    own = number_attacks(rows, distances, over=runs.over)
    if not own:
        raise ValueError("runs: nothing was attacked in any of them")
    known = [entry.attack for entry in own]
    if baseline is None and BASELINE in known:
        baseline = BASELINE
    ratios = {} if baseline is None else ratios_to(baseline, rows, distances, over=runs.over)
    tried = [row for row in rows if row["attack"] in known]
    together = shared_images(tried, runs.over)
    return AttackEvaluation(
        rows=rows,
        distances=distances,
        over=runs.over,
        own=own,
        shared_on=together,
        shared=number_attacks(rows, distances, images=set(together), over=runs.over),
        baseline=baseline,
        ratios=ratios,
        ablations=ablations({row["attack"]: row["spec"] for row in rows}),
    )
