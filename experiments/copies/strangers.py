"""How often pictures get an answer from an index that are copies of nothing in it.

    python -m experiments copies.strangers --pictures imagenette-160/train --pictures \
        tiny-imagenet-64/train --pictures tiny-imagenet-64/test --trained lipsim-tiny \
        --background --drawn 120 --out docs/results --weights src/percert/weights

All pictures are ones on which the metric was never trained (of a folder that the recipe
``--trained`` names, those that it holds out), and none on which percert's results are counted.
With ``--background`` every fourth of them is the background that stored pictures are measured
against for thresholds of their own, with ``--drawn`` so many of each kind of drawn pages, skies and
placeholders besides, which are near one another whatever they show; the others are strangers to
each other. Evenly spread ones of these are stored in all views of the largest set, and every
other picture asks for them as a query does, in collections of several sizes: each a part of what is
stored. Counted is how near the nearest is, as T = distance + weight x likeness. Where ten or more
trials are nearer the share of them is counted; below, a power of T is fitted to the fifty nearest
(Hill's estimator), and called extrapolated: fitted to every other query, and counted on the rest,
it is checked. Pairs that are nearer than 0.05 as a whole are copies, and left out.

Writes ``strangers-METRIC.json``; the table in it and the background, which percert ships with the
metric, also go to the folder ``--weights``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from percert.data.plain_pictures import KINDS, plain_pictures
from percert.images import find_images, load_image
from percert.lipschitz.network import fold
from percert.metrics.catalog import create_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search.background import Background, make_background
from percert.search.ingest.views import VIEW_SETS, asked_views, find_view
from percert.search.query.recommended import Quantiles, StrangerTable, write_table
from percert.search.tables.schema import metric_id
from percert.training.copies import CopiesRecipe, read_copies_recipe

#: Sets of views that get a table of their own.
SETS = ("whole", "small", "standard", "thorough", "exhaustive")
#: Sizes of the collections that are asked, as far as there are pictures for them.
SIZES = (1, 10, 100, 1000, 10_000)
#: Shares of the trials, the largest first; each is counted while so many are within it.
RATES = tuple(float(f"{part}e-{power}") for power in range(2, 9) for part in (10, 5, 2))
COUNTED = 10
#: The tail is fitted to so many of the nearest.
FITTED = 50
#: Of the drawn pictures in a background: what is measured is drawn from others.
DRAWN_SEED = 2
#: What is nearer than this as a whole is the same picture, perhaps saved anew: the sets hold a few.
SAME = 0.05


@dataclass(frozen=True)
class TailCheck:
    """At ``rate``, where half of the trials say T, the share of the other half within it; and
    where what is ``beyond`` was fitted to one half, the share of the other there.
    """

    views: str
    images: int
    rate: float
    counted: float
    beyond: float
    found_beyond: float


@dataclass(frozen=True)
class StrangersResult:
    benchmark: str
    pictures: dict[str, int]
    background: int
    asked: int
    stored: int
    table: StrangerTable
    checks: list[TailCheck]
    conditions: Conditions


def never_trained_on(folder: Path, recipe: CopiesRecipe | None) -> list[Path]:
    """The pictures of ``folder``; where it is a source of ``recipe``, those that this holds out.

    Classes that the recipe leaves out are for measuring, and so neither.
    """
    paths = find_images(folder)
    for source in () if recipe is None else recipe.data:
        if folder.resolve().as_posix().endswith(f"/{source.path}"):
            if not source.hold_out:
                raise SystemExit(f"{folder}: expected one that was not all trained on")
            kept = [p for p in paths if p.relative_to(folder).parts[0] not in source.leave_out]
            return kept[source.hold_out - 1 :: source.hold_out]
    return paths


@torch.inference_mode()
def embeddings(metric: EmbeddingMetric, paths: Sequence[Path], views: Sequence[str]) -> Tensor:
    """``(n, views, k)`` raw embeddings, float32."""
    found = []
    for start in range(0, len(paths), 64):
        small = []
        for path in paths[start : start + 64]:
            image = load_image(path)[None]
            small += [
                metric.resize(find_view(view)(image), dtype=metric.precision) for view in views
            ]
        h = torch.cat([metric.network(part) for part in torch.split(torch.cat(small), 32)])
        found.append(h.float().view(-1, len(views), h.shape[1]))
        if start % 1024 == 0:
            print(f"{start + len(found[-1])} of {len(paths)} in {len(views)} views", flush=True)
    return torch.cat(found)


@torch.inference_mode()
def drawn(metric: EmbeddingMetric, count: int) -> Tensor:
    """Raw embeddings of ``count`` pictures of each kind that code draws."""
    small = [
        metric.resize(
            torch.from_numpy(np.array(one)).permute(2, 0, 1)[None] / 255, dtype=metric.precision
        )
        for kind in KINDS
        for one in plain_pictures(kind, count, DRAWN_SEED)
    ]
    return torch.cat([metric.network(part) for part in torch.split(torch.cat(small), 32)])


def unit(h: Tensor) -> Tensor:
    """Directions, 0 where there is none."""
    length = h.norm(dim=-1, keepdim=True)
    return torch.where(length > 1e-6, h / length.clamp_min(1e-6), 0.0)


def nearest(
    asked: dict[str, Tensor], stored: Tensor, added: Tensor, views: Sequence[str], every: Tensor
) -> Tensor:
    """``(q, m)``: of each query T of each stored picture, in the nearest of ``views``; infinite
    where both are the same.

    ``stored`` ``(m, v, k)`` and ``added`` ``(m, v)`` are in the views ``every`` names.
    """
    names = list(VIEW_SETS[SETS[-1]])
    count = len(next(iter(asked.values())))
    least = torch.full((count, len(stored)), torch.inf)
    for name, places in asked_views(views).items():
        for place in places:
            at = names.index(views[place])
            far = 1 - asked[name] @ stored[:, at].T + added[:, at]
            least = torch.minimum(least, far)
    same = 1 - asked["whole"] @ every.T < SAME
    return least.masked_fill(same, torch.inf)


def quantiles(near: Tensor, images: int) -> Quantiles:
    """T at :data:`RATES` among the least of each trial, ``(t,)``, and the tail's exponent."""
    ordered = near[near.isfinite()].double().sort().values
    points = []
    for rate in RATES:
        rank = int(rate * len(ordered))
        if rank < COUNTED:
            break
        points.append((rate, round(float(ordered[rank - 1]), 6)))
    tail = ordered[: FITTED + 1].clamp_min(1e-9)
    exponent = 1 / float((tail[-1].log() - tail[:-1].log()).mean().clamp_min(1e-9))
    return Quantiles(len(ordered), tuple(points), round(exponent, 3), images)


def check(near: Tensor, images: int, views: str) -> TailCheck:
    """One half of the queries fitted, the other counted; ``near`` is ``(q, groups)``."""
    half, rest = quantiles(near[::2].flatten(), images), near[1::2].flatten()
    rate, threshold = half.points[-1]
    beyond = rate / 5
    return TailCheck(
        views,
        images,
        rate,
        float((rest <= threshold).double().mean()),
        beyond,
        float((rest <= half.threshold(beyond)).double().mean()),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Answers that strangers get from an index.")
    parser.add_argument("--pictures", type=Path, action="append", required=True)
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--trained", help="the recipe of the metric, by its name or its file")
    parser.add_argument("--background", action="store_true", help="make one, of every fourth")
    parser.add_argument("--drawn", type=int, default=0, help="and so many drawn ones of each kind")
    parser.add_argument("--stored", type=int, default=4000, help="pictures that are stored")
    parser.add_argument("--limit", type=int, help="every so manieth picture only")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--weights", type=Path, help="where to write what ships with the metric")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    metric = create_metric(options.metric, device="cpu")
    if not isinstance(metric, EmbeddingMetric):
        raise SystemExit(f"{options.metric}: expected a metric with embeddings")
    identity, folded = metric_id(metric), fold(metric)
    assert isinstance(folded, EmbeddingMetric)
    folded = folded.float()
    recipe = read_copies_recipe(options.trained) if options.trained else None
    files = {
        folder: never_trained_on(folder, recipe)[:: options.limit or 1]
        for folder in options.pictures
    }
    paths = [path for some in files.values() for path in some]
    fourth = [place % 4 == 0 for place in range(len(paths))]
    background: Background | None = None
    strangers = paths
    if options.background:
        others = [path for path, is_fourth in zip(paths, fourth, strict=True) if is_fourth]
        strangers = [path for path, is_fourth in zip(paths, fourth, strict=True) if not is_fourth]
        wholes = unit(embeddings(folded, others, ("whole",))[:, 0])
        if options.drawn:
            wholes = torch.cat([wholes, unit(drawn(folded, options.drawn))])
        background = make_background(wholes[wholes.norm(dim=1) > 0], identity.weights, "shipped")
    step = max(1, len(strangers) // options.stored)
    names = VIEW_SETS[SETS[-1]]
    h = embeddings(folded, strangers[::step], names)
    constant = identity.constant
    if constant:
        raise SystemExit(f"{options.metric}: expected one without a constant")
    added = torch.zeros(h.shape[:2])
    if background is not None:
        added = background.weight * background.of_rows(h, 0.0).float()
    stored = unit(h)
    asking = embeddings(folded, strangers, tuple(asked_views(names)))
    asked = {name: unit(asking[:, at]) for at, name in enumerate(asked_views(names))}
    order = torch.randperm(len(stored), generator=torch.Generator().manual_seed(0))
    stored, added = stored[order], added[order]
    table: dict[str, tuple[Quantiles, ...]] = {}
    checks = []
    for one in SETS:
        sizes = [size for size in SIZES if size < len(stored)] + [len(stored)]
        least: dict[int, list[Tensor]] = {size: [] for size in sizes}
        for start in range(0, len(strangers), 512):
            some = {name: g[start : start + 512] for name, g in asked.items()}
            near = nearest(some, stored, added, VIEW_SETS[one], stored[:, 0])
            for size in sizes:
                groups = near[:, : len(stored) // size * size].view(len(near), -1, size).amin(2)
                # Of single pictures only those that can matter are kept: there are many.
                least[size].append(groups)
        found = []
        for size in sizes:
            trials = torch.cat(least.pop(size))
            found.append(quantiles(trials.flatten(), size))
            checks.append(check(trials, size, one))
        table[one] = tuple(found)
        print(one, table[one], checks[-len(sizes) :], flush=True)
    # The nearest view is nearer than the whole: no set may have a lighter tail than another.
    heaviest = {
        size: min(one.exponent for some in table.values() for one in some if one.images == size)
        for size in {one.images for one in table["whole"]}
    }
    table = {
        name: tuple(replace(one, exponent=heaviest[one.images]) for one in some)
        for name, some in table.items()
    }
    made = None if background is None else background.id.hash
    shipped = StrangerTable(identity.name, identity.weights, table, made)
    write_result(
        options.out / f"strangers-{options.metric}.json",
        StrangersResult(
            "strangers",
            {f"{one.parent.name}/{one.name}": len(some) for one, some in files.items()},
            0 if background is None else len(background.codes),
            len(strangers),
            len(stored),
            shipped,
            checks,
            conditions(0),
        ),
    )
    if options.weights:
        write_table(shipped, options.weights / f"{options.metric}-strangers.json")
        if background is not None:
            place = options.weights / f"{options.metric}-background.safetensors"
            place.write_bytes(background.to_bytes())


if __name__ == "__main__":
    main()
