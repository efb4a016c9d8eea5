"""How near pictures lie to each other that have nothing to do with each other.

    python -m experiments copies.strangers --stored ../shared/data/imagenet-compatible/images \
        --stored imagenette/val --stored bsds500 --asked tiny-imagenet/val --out docs/results

All pairs of photographs on which the metric was never trained: each as a whole against each other
in every set of views, as a query meets what an index holds. From the distances that a share of the
pairs has at most, down to where :data:`COUNTED` pairs are nearer, the thresholds of an index are
read; below, a power of the distance is fitted to these nearest pairs (Hill's estimator), and called
extrapolated; the heaviest tail of all sets of views is taken for all. Writes
``strangers-METRIC.json``; the table in it, which percert ships with the metric, also goes to
``--table``. Copies among the photographs make the distances smaller, so the thresholds err on the
safe side.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from percert.images import find_images, load_image
from percert.lipschitz.network import fold
from percert.metrics.catalog import create_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search.ingest.views import VIEW_SETS, find_view
from percert.search.query.recommended import Quantiles, StrangerTable, write_table
from percert.search.tables.schema import metric_id

#: Sets of views that get a table of their own; mirrored views change nothing where a metric sees no
#: difference, and have none here.
SETS = ("whole", "standard", "crops")
#: Shares of the pairs, the largest first; each is counted while so many pairs are within it.
RATES = tuple(float(f"{part}e-{power}") for power in range(3, 10) for part in (10, 5, 2))
COUNTED = 100
#: Steps of the histogram of distances in [0, 2].
STEPS = 40_000


@dataclass(frozen=True)
class StrangersResult:
    benchmark: str
    stored: dict[str, int]
    asked: dict[str, int]
    table: StrangerTable
    conditions: Conditions


@torch.inference_mode()
def directions(metric: EmbeddingMetric, paths: Sequence[Path], views: Sequence[str]) -> Tensor:
    """``(n, views, k)`` unit vectors, float32."""
    found = [torch.empty(0, metric_id(metric).width)]
    for start in range(0, len(paths), 64):
        small = []
        for path in paths[start : start + 64]:
            image = load_image(path)[None].to(metric._like)
            small += [metric.resize(find_view(view)(image)) for view in views]
        found.append(torch.cat([metric.network(part) for part in torch.cat(small).split(32)]))
    h = torch.cat(found).double()
    h = (h / h.norm(dim=1, keepdim=True).clamp_min(1e-6)).float()
    return h.view(len(paths), len(views), h.shape[1])


def nearest_shares(asked: Tensor, stored: Tensor, same: int, columns: Sequence[int]) -> Quantiles:
    """The quantiles of all pairs of one asked for and one stored, in the nearest of ``columns``.

    The first ``same`` of both are the same photographs, which are no pairs.
    """
    counts = torch.zeros(STEPS, dtype=torch.long)
    nearest = torch.empty(0, dtype=torch.float64)
    pairs = 0
    for first in range(0, len(asked), 512):
        query = asked[first : first + 512]
        for other in range(0, len(stored), 4096):
            rows = stored[other : other + 4096]
            cosine = torch.stack([query @ rows[:, view].T for view in columns]).amax(0)
            distance = (1 - cosine).clamp(0, 2)
            place = torch.arange(first, first + len(query))[:, None]
            self_pair = (place == torch.arange(other, other + len(rows))) & (place < same)
            kept = distance[~self_pair]
            pairs += len(kept)
            counts += kept.histc(STEPS, 0, 2).long()
            low = kept[kept < 0.3].double()
            nearest = torch.cat([nearest, low]).sort().values[: 50 * COUNTED]
    return quantiles(nearest, counts, pairs)


def quantiles(nearest: Tensor, counts: Tensor, pairs: int) -> Quantiles:
    """Distances at :data:`RATES`: exact among the ``nearest``, else from the histogram."""
    below = counts.cumsum(0)
    edges = torch.arange(1, len(counts) + 1, dtype=torch.float64) * (2 / len(counts))
    points = []
    for rate in RATES:
        rank = int(rate * pairs)
        if rank < COUNTED:
            break
        if rank <= len(nearest):
            points.append((rate, float(nearest[rank - 1])))
        else:  # the step that the rank falls into, from below
            step = int((below < rank).sum())
            points.append((rate, float(edges[step]) - 2 / len(counts)))
    tail = nearest[:COUNTED].clamp_min(1e-9)
    exponent = 1 / float((tail[-1].log() - tail[:-1].log()).mean())
    return Quantiles(pairs, tuple(points), exponent)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Distances of pictures from strangers.")
    parser.add_argument("--stored", type=Path, action="append", required=True)
    parser.add_argument("--asked", type=Path, action="append", default=[])
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--limit", type=int, help="the first pictures of each folder only")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--table", type=Path, help="where to write the table by itself")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    metric = create_metric(options.metric, device="cpu")
    if not isinstance(metric, EmbeddingMetric):
        raise SystemExit(f"{options.metric}: expected a metric with embeddings")
    identity = metric_id(metric)
    folded = fold(metric)
    assert isinstance(folded, EmbeddingMetric)
    files = {folder: find_images(folder)[: options.limit] for folder in options.stored}
    more = {folder: find_images(folder)[: options.limit] for folder in options.asked}
    names = VIEW_SETS["crops"]
    stored = directions(folded, [path for some in files.values() for path in some], names)
    asked = directions(folded, [path for some in more.values() for path in some], ("whole",))
    every = torch.cat([stored[:, 0], asked[:, 0]])
    found: dict[str, Quantiles] = {}
    for one in SETS:
        columns = [names.index(view) for view in VIEW_SETS[one]]
        against = every[:, None] if one == "whole" else stored
        found[one] = nearest_shares(every, against, len(against), columns)
        print(one, found[one], flush=True)
    # The nearest view is nearer than the whole: no set may have a lighter tail than another.
    heaviest = min(one.exponent for one in found.values())
    found = {name: replace(one, exponent=heaviest) for name, one in found.items()}
    table = StrangerTable(identity.name, identity.weights, found)
    write_result(
        options.out / f"strangers-{options.metric}.json",
        StrangersResult(
            "strangers",
            {folder.name: len(some) for folder, some in files.items()},
            {folder.name: len(some) for folder, some in more.items()},
            table,
            conditions(0),
        ),
    )
    if options.table:
        write_table(table, options.table)


if __name__ == "__main__":
    main()
