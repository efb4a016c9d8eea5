"""The bounds of 2AFC beside each other: Tsuzuku et al., LipSim's Eq. 8, and the exact distance.

    python -m experiments triplets.bounds --data ../shared/data --out docs/results

Triplets of the ImageNet-Compatible photographs under distortions of known severity, as in
``triplets.distortions``; the reference moves. Tsuzuku's radius is (d_1 - d_0) / (2 L): a classifier
with the constant M keeps its decision while its margin is at least sqrt(2) M eps (Eq. 9), and that
of the two distances is sqrt(2) L (Eq. 10 of LipSim). Writes ``twoafc-bounds.json`` and ``.md``.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.photographs import DEFAULT_DATA, as_tensor, compatible
from percert import create_metric
from percert.certify import twoafc
from percert.data.distortions import DISTORTIONS, distortion_triplet
from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.table import Column, Table

NAMES = ("lipsim-tiny", "thumbnail-8")
EPS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
BOUNDS = {
    "tsuzuku": "Tsuzuku et al., Eq. 9 and 10",
    "eq8": "LipSim, Eq. 8",
    "exact": "exact",
}


@dataclass(frozen=True)
class Bound:
    """One bound of one metric, over all triplets; a radius of a wrong answer counts as 0.

    ``of_exact`` is the median of the radius over the exact one, where that is above 0.
    """

    metric: str
    bound: str
    median: float
    of_exact: float
    eps: list[float]
    certified: list[float]


@dataclass(frozen=True)
class TwoafcBounds:
    benchmark: str
    photographs: int
    triplets: int
    weights: dict[str, str]
    natural: dict[str, float]
    bounds: list[Bound]
    conditions: Conditions


def radii(metric: EmbeddingMetric, data: Path, limit: int | None, seed: int) -> dict[str, Tensor]:
    """The radii of all triplets by every bound, 0 where the answer is wrong or nothing is proven.

    ``right`` says where it is right.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in (*BOUNDS, "right")}
    for index, image in enumerate(compatible(data, limit)):
        made = [distortion_triplet(image, one, seed, index) for one in DISTORTIONS]
        reference, milder, stronger = (
            as_tensor([getattr(one, part) for one in made])
            for part in ("reference", "milder", "stronger")
        )
        found = twoafc(metric, reference, milder, stronger)
        assert found.radius_tsuzuku is not None
        # A tie has radius 0, and says left.
        right = (found.decision == 0) & (found.radius > 0)
        by = {"tsuzuku": found.radius_tsuzuku, "eq8": found.radius_paper, "exact": found.radius}
        for name, radius in by.items():
            parts[name].append(torch.where(right, radius.nan_to_num(0.0), 0.0))
        parts["right"].append(right.double())
    return {name: torch.cat(some) for name, some in parts.items()}


def bounds(metric: str, found: dict[str, Tensor]) -> list[Bound]:
    """The three of one metric."""
    exact = found["exact"]
    return [
        Bound(
            metric,
            name,
            float(found[name].median()),
            float((found[name] / exact)[exact > 0].median()),
            list(EPS),
            [float((found[name] > eps).double().mean()) for eps in EPS],
        )
        for name in BOUNDS
    ]


def report(result: TwoafcBounds) -> str:
    """The table, and what was measured."""

    def certified(eps: float) -> Callable[[Bound], float]:
        return lambda one: one.certified[one.eps.index(eps)]

    columns: list[Column[Bound]] = [
        Column("metric", attrgetter("metric")),
        Column("bound", lambda one: BOUNDS[one.bound], side="right"),
        Column("median radius", attrgetter("median"), ".3f"),
        Column("of the exact one", attrgetter("of_exact"), ".3f"),
        *(Column(f"certified at {eps:g}", certified(eps), ".3f") for eps in EPS),
    ]
    natural = ", ".join(f"{name} {share:.3f}" for name, share in result.natural.items())
    lines = [
        "# Bounds of 2AFC",
        "",
        f"By `python -m experiments triplets.bounds`, {result.conditions.machine}: "
        f"{result.triplets:,} triplets of {result.photographs} ImageNet-Compatible photographs "
        f"(299 x 299), none of them trained on: of two versions under one distortion the milder is "
        f"the closer. The reference moves. Answered rightly: {natural}.",
        "",
        Table.of(result.bounds, columns).markdown(),
        "Radii are l2 lengths in pixels of the reference, of right answers; certified is the share "
        "of all triplets answered rightly and proven within that length. All three hold for the "
        "same embeddings: [certificates](../concepts/certificates.md) derives why each is at most "
        "the next. The first two are of normalised embeddings, and so of lengths of 1; the last "
        "counts with the lengths that embeddings have.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    found, weights = {}, {}
    for name in NAMES:
        metric = create_metric(name, device="cpu")
        assert isinstance(metric, EmbeddingMetric)
        weights[name] = weights_hash(metric.network)
        found[name] = radii(metric, options.data, options.limit, options.seed)
    triplets = len(found[NAMES[0]]["exact"])
    result = TwoafcBounds(
        "twoafc-bounds",
        triplets // len(DISTORTIONS),
        triplets,
        weights,
        {name: float(one["right"].mean()) for name, one in found.items()},
        [bound for name, one in found.items() for bound in bounds(name, one)],
        conditions(options.seed),
    )
    write_result(options.out / "twoafc-bounds.json", result)
    (options.out / "twoafc-bounds.md").write_text(report(result), encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=None, help="photographs")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
