"""What views of the stored images are worth, and what they cost.

    python -m experiments search.views --data ../shared/data --limit 200 --out docs/results

Crops at random places, centre crops, noise and brightness of photographs that nothing was trained
on, against the originals stored in each set of views. One threshold a set, at which a share of 1e-3
of all pairs of strangers pass; the true-positive rate of each edit at it; and how many strangers
pass the threshold that the metric recommends for whole images. Writes ``index-views.json``.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.photographs import DEFAULT_DATA, as_tensor, compatible
from percert.metrics.catalog import CATALOG, create_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search.ingest.views import VIEW_SETS, find_view

SETS = ("whole", "standard", "thorough")
FPR = 1e-3


@dataclass(frozen=True)
class SetResult:
    """One set of views: rates at ``threshold``, and ``fpr_of_recommended`` at the metric's own."""

    name: str
    views: int
    threshold: float
    fpr_of_recommended: float | None
    rates: dict[str, float]


@dataclass(frozen=True)
class ViewsResult:
    benchmark: str
    metric: str
    photographs: int
    fpr: float
    sets: list[SetResult]
    conditions: Conditions


def crops(images: Tensor, keep: float, chance: random.Random | None) -> Tensor:
    """A part that keeps ``keep`` of each side, at random places or in the centre."""
    side = round(images.shape[-1] * keep)
    spare = images.shape[-1] - side
    parts = []
    for image in images:
        top, left = (
            (spare // 2, spare // 2)
            if chance is None
            else (chance.randint(0, spare), chance.randint(0, spare))
        )
        parts.append(image[:, top : top + side, left : left + side])
    return torch.stack(parts)


def edits(images: Tensor, seed: int) -> dict[str, Tensor]:
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator)
    return {
        "crop 90 %": crops(images, 0.9, chance),
        "crop 80 %": crops(images, 0.8, chance),
        "crop 70 %": crops(images, 0.7, chance),
        "centre 80 %": crops(images, 0.8, None),
        "centre 60 %": crops(images, 0.6, None),
        "noise 0.05": (images + 0.05 * noise).clamp(0, 1),
        "brighter 25 %": (1.25 * images).clamp(0, 1),
    }


def directions(metric: EmbeddingMetric, images: Tensor) -> Tensor:
    with torch.inference_mode():
        h = torch.cat([metric.embed(part) for part in torch.split(images, 32)]).double()
    directions: Tensor = h / h.norm(dim=1, keepdim=True)
    return directions


def measure(metric: EmbeddingMetric, images: Tensor, name: str, seed: int) -> SetResult:
    """One set of views against all edits."""
    views = VIEW_SETS[name]
    stored = torch.stack([directions(metric, find_view(view)(images)) for view in views], 1)
    distances = {
        edit: (1 - torch.einsum("qk,nvk->qnv", directions(metric, edited), stored)).amin(2)
        for edit, edited in edits(images, seed).items()
    }
    off = ~torch.eye(len(images), dtype=torch.bool)
    strangers = torch.cat([one[off] for one in distances.values()]).sort().values
    threshold = float(strangers[int(FPR * len(strangers))])
    own = CATALOG[metric.name].copy_threshold
    return SetResult(
        name,
        len(views),
        threshold,
        None if own is None else float((strangers <= own).double().mean()),
        {k: float((one.diagonal() < threshold).double().mean()) for k, one in distances.items()},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What views of stored images are worth.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    metric = create_metric(options.metric, device="cpu")
    if not isinstance(metric, EmbeddingMetric):
        raise SystemExit(f"{options.metric}: expected a metric with embeddings")
    images = as_tensor(compatible(options.data, options.limit))
    sets = [measure(metric, images, name, options.seed) for name in SETS]
    result = ViewsResult(
        "index-views", metric.name, len(images), FPR, sets, conditions(options.seed)
    )
    write_result(options.out / "index-views.json", result)
    for one in sets:
        print(one)


if __name__ == "__main__":
    main()
