"""How far an attack on the embedding moves a metric: d(x, x + delta), LipSim Eq. 14.

Figures 3b and 6 of the paper are the distributions of these distances, Figure 7 those of them that
are longer than delta itself, against Proposition 1.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from percert.attacks.attack import Attack
from percert.attacks.collection.batch import seed_of
from percert.attacks.goal import MoveEmbedding
from percert.attacks.run import CountedModel
from percert.attacks.threat import length
from percert.certify.distance import distance_of_features
from percert.certify.embed import embed
from percert.certify.features import PixelFeatures
from percert.evaluation.twoafc import Evaluated, resized
from percert.evaluation.twoafc_attacks import Budget, stability_attack
from percert.evaluation.twoafc_check import BrokenCertificate
from percert.images import ImageError, load_image, round_to_8bit
from percert.metrics.embedding import EmbeddingMetric
from percert.metrics.metric import Metric
from percert.tensors import Images

COLUMNS: dict[str, type] = {
    "image": str,
    "attack": str,
    "metric": str,
    "norm": str,
    "eps": float,
    "distance": float,
    "distance_8bit": float,
    "upper": float,
    "l1": float,
    "l2": float,
    "linf": float,
    "violates": bool,
    "success": bool,
    "seconds": float,
    "model_calls": float,
    "height": int,
    "width": int,
    "seed": int,
}

#: What a metric's rows are called after, with the attack.
Named: TypeAlias = Mapping[str, Metric]


@dataclass(frozen=True)
class StabilityRun:
    """``steps`` of projected ascent, ``restarts`` times, at each of ``budgets``, for each metric.

    ``climbs`` is what grows: the squared distance of embeddings, as in the paper, or the metric's
    own distance (that of a metric without embeddings in either case).
    """

    metrics: Named
    budgets: tuple[Budget, ...]
    climbs: Literal["embedding", "distance"] = "embedding"
    steps: int = 40
    restarts: int = 1
    size: tuple[int, int] | None = None
    batch_size: int = 16
    seed: int = 0
    device: str = "cpu"


def attack_name(metric: str, budget: Budget, run: StabilityRun) -> str:
    """What the records call an attack: the metric is part of it."""
    return (
        f"{metric} {run.climbs} pgd:norm={budget.norm},eps={budget.eps:.10g},steps={run.steps},"
        f"restarts={run.restarts}"
    )


def evaluate_stability(
    run: StabilityRun,
    paths: Iterable[tuple[str, Path]],
    done: frozenset[tuple[str, str]] = frozenset(),
) -> Iterator[Evaluated]:
    """Attack the images ``(name, path)``; yields rows of :data:`COLUMNS`, batch by batch.

    ``distance`` is d(x, x + delta), and ``upper`` what it cannot exceed within the length of delta
    by the metric's certificate; ``violates`` says that Proposition 1 does not hold there, for the
    distance is longer than delta. Raises ``BrokenCertificate`` where a distance exceeds ``upper``.
    """
    attacks = {
        (name, budget): attack_name(name, budget, run)
        for name in run.metrics
        for budget in run.budgets
    }
    for names, images in _batches(run, paths, list(attacks.values()), done):
        if isinstance(images, str):
            yield Evaluated(bad=names[0], reason=images)
            continue
        for (name, budget), called in attacks.items():
            some = [i for i, image in enumerate(names) if (image, called) not in done]
            if some:
                batch = torch.stack([images[i] for i in some]).to(run.device)
                chosen = [names[i] for i in some]
                seeds = torch.tensor([seed_of(run.seed, one) for one in chosen])
                metric = run.metrics[name]
                attack = stability_attack(budget.norm, budget.eps, run.steps, run.restarts)
                rows = attacked_rows(metric, attack, batch, seeds, run.climbs == "distance")
                known = {"attack": called, "metric": name, "norm": budget.norm, "eps": budget.eps}
                for image, row in zip(chosen, rows, strict=True):
                    row.update(known, image=image)
                    check_interval(row)
                yield Evaluated(rows)


def attacked_rows(
    metric: Metric, attack: Attack, images: Images, seeds: Tensor, by_distance: bool = False
) -> list[dict[str, Any]]:
    """Attack the embeddings of ``images`` ``(n, 3, h, w)``: rows, but for the names in them."""
    counted = CountedModel(metric)
    if by_distance:
        counted.embed = None
    began = time.perf_counter()
    moved = attack(counted, images, MoveEmbedding(images), seeds=seeds)
    if moved.is_cuda:
        torch.cuda.synchronize(moved.device)
    seconds = (time.perf_counter() - began) / len(images)
    with torch.no_grad():
        distance = metric(images, moved).double()
        rounded = metric(images, round_to_8bit(moved)).double()
    change = moved.double() - images.double()
    lengths = {norm: length(change, norm) for norm in ("l1", "l2", "linf")}
    upper: list[float | None] = [None] * len(images)
    if isinstance(metric, EmbeddingMetric):
        upper = [
            distance_of_features(features, features, far).upper.item()
            for features, far in zip(_singly(metric, images), lengths["l2"].tolist(), strict=True)
        ]
    rows = []
    for i in range(len(images)):
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row.update(
            distance=distance[i].item(),
            distance_8bit=rounded[i].item(),
            upper=upper[i],
            **{norm: values[i].item() for norm, values in lengths.items()},
            violates=bool(distance[i] > lengths["l2"][i]),
            success=bool(distance[i] > lengths["l2"][i]),
            seconds=seconds,
            model_calls=counted.calls / len(images),
            height=images.shape[2],
            width=images.shape[3],
            seed=int(seeds[i]),
        )
        rows.append(row)
    return rows


def check_interval(row: Mapping[str, Any]) -> None:
    """Raise ``BrokenCertificate`` where an attack moved a distance out of its certified interval.

    >>> check_interval({"image": "a", "attack": "pgd", "l2": 1.0, "distance": 0.1, "upper": 0.2})
    """
    if row["upper"] is not None and row["distance"] > row["upper"]:
        raise BrokenCertificate(
            f"image {row['image']}: within l2 = {row['l2']:.6g} the distance is certified to stay "
            f"below {row['upper']:.6g}, but {row['attack']} took it to {row['distance']:.6g}"
        )


def _singly(metric: EmbeddingMetric, images: Images) -> Iterator[PixelFeatures]:
    for image in images:
        yield embed(metric, image[None])


def _batches(
    run: StabilityRun,
    paths: Iterable[tuple[str, Path]],
    wanted: Sequence[str],
    done: frozenset[tuple[str, str]],
) -> Iterator[tuple[list[str], list[Tensor] | str]]:
    """Images of one size, or the name of one that cannot be read, and why."""
    waiting: dict[torch.Size, list[tuple[str, Tensor]]] = {}
    for name, path in paths:
        if all((name, attack) in done for attack in wanted):
            continue
        try:
            image = resized(load_image(path), run.size)
        except ImageError as error:
            yield [name], str(error)
            continue
        some = waiting.setdefault(image.shape, [])
        some.append((name, image))
        if len(some) >= run.batch_size:
            yield _apart(waiting.pop(image.shape))
        elif sum(map(len, waiting.values())) >= 8 * run.batch_size:
            yield _apart(waiting.pop(max(waiting, key=lambda shape: len(waiting[shape]))))
    yield from map(_apart, waiting.values())


def _apart(some: list[tuple[str, Tensor]]) -> tuple[list[str], list[Tensor]]:
    return [name for name, _ in some], [image for _, image in some]
