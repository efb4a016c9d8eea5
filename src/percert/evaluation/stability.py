"""How far an attack on the embedding moves a metric: d(x, x + delta), LipSim Eq. 14.

How far an attack on the embedding moves a metric: d(x, x + delta), LipSim Eq. 14.

Figures 3b and 6 of the paper are the distributions of these distances, Figure 7 those of them that
are longer than delta itself, against Proposition 1.

The distribution of d(x, x + delta) as numbers and pictures, and the page with them.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from percert.attacks.attack import Attack
from percert.attacks.goal import MoveEmbedding
from percert.attacks.run import CountedModel
from percert.attacks.threat import length
from percert.certify.features import PixelFeatures, embed
from percert.certify.pairs import distance_of_features
from percert.evaluation.lipschitz_violations import (
    count_violations,
    violation_figure,
    violations_table,
)
from percert.evaluation.twoafc.attacks import Budget, stability_attack
from percert.evaluation.twoafc.evaluate import Evaluated, resized
from percert.evaluation.twoafc.report import NOTHING, number, shown
from percert.images import ImageError, load_image, round_to_8bit
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.metric import Metric
from percert.reports.page import Figure, Paragraph, Section, Table, write_page, write_whole
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.records import Row
from percert.reports.table import finite
from percert.runs.attack import seed_of
from percert.runs.certified import BrokenCertificate
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


#: Bins of a histogram.
BINS = 40


@dataclass(frozen=True)
class Moved:
    """How far one attack took one metric: quantiles of d(x, x + delta) over the images.

    ``bound_reached`` is the largest share that a distance came to of what it is certified to stay
    below, where there is proof: at most 1.
    """

    metric: str
    norm: str
    eps: float
    images: int
    mean: float
    median: float
    quantile_95: float
    most: float
    bound_reached: float | None


def summarise_stability(rows: Iterable[Row]) -> list[Moved]:
    """One summary for each metric and budget, in the order of ``rows``.

    >>> row = {"metric": "m", "norm": "l2", "eps": 1.0, "distance": 0.2, "upper": None}
    >>> summarise_stability([row, {**row, "distance": 0.4}])[0].most
    0.4
    """
    groups: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["metric"], row["norm"], row["eps"]), []).append(row)
    found = []
    for (metric, norm, eps), some in groups.items():
        distance = np.array([row["distance"] for row in some])
        proven = all(row["upper"] is not None for row in some)
        found.append(
            Moved(
                metric=metric,
                norm=norm,
                eps=eps,
                images=len(some),
                mean=float(distance.mean()),
                median=float(np.median(distance)),
                quantile_95=float(np.quantile(distance, 0.95)),
                most=float(distance.max()),
                bound_reached=max(row["distance"] / row["upper"] for row in some)
                if proven
                else None,
            )
        )
    return found


def moved_table(moved: Sequence[Moved]) -> Table:
    """The summaries as a table."""
    return Table(
        (
            ("metric", "left"),
            ("budget", "left"),
            ("images", "right"),
            ("mean", "right"),
            ("median", "right"),
            ("95 %", "right"),
            ("most", "right"),
            ("of its bound", "right"),
        ),
        tuple(
            (
                entry.metric,
                f"{entry.norm} {shown(entry.eps)}",
                str(entry.images),
                *map(number, (entry.mean, entry.median, entry.quantile_95, entry.most)),
                NOTHING if entry.bound_reached is None else f"{100 * entry.bound_reached:.1f} %",
            )
            for entry in moved
        ),
        "d(x, x + delta) over the images. Of its bound: the largest share that a distance came to "
        "of what no change of that length can exceed, by the certificate.",
    )


def distance_figure(rows: Sequence[Row]) -> bytes:
    """Histograms of d(x, x + delta), a panel a budget, a colour a metric (Figures 3b and 6)."""
    budgets = list(dict.fromkeys((row["norm"], row["eps"]) for row in rows))
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    figure, axes = new_figure(7.0, 1.4 + 2.3 * len(budgets), nrows=len(budgets), squeeze=False)
    for axis, (norm, eps) in zip(axes[:, 0], budgets, strict=True):
        here = [row for row in rows if (row["norm"], row["eps"]) == (norm, eps)]
        edges = np.linspace(0, max(row["distance"] for row in here) * 1.02 + 1e-9, BINS + 1)
        for place, metric in enumerate(metrics):
            some = [row["distance"] for row in here if row["metric"] == metric]
            axis.hist(
                some,
                edges,
                color=COLOURS[place % len(COLOURS)],
                alpha=0.55,
                label=f"{metric}, mean {number(float(np.mean(some)))}" if some else metric,
            )
        axis.set(xlabel="d(x, x + delta)", ylabel="images", title=f"{norm} {shown(eps)}")
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.legend(frameon=False, fontsize=8)
    return figure_png(figure)


def write_stability_report(
    out: Path, rows: Sequence[Row], answer: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Write ``report.html`` and ``stability.json`` into ``out``, each whole or not at all."""
    write_whole(out / "stability.json", (json.dumps(finite(answer), indent=2) + "\n").encode())
    moved, violations = summarise_stability(rows), count_violations(rows)
    total = sum(entry.violations for entry in violations)
    sections = [
        Section(
            "Distances under attack",
            (
                moved_table(moved),
                Figure(
                    distance_figure(rows),
                    "The distribution of d(x, x + delta), of all images of a budget.",
                    "Histograms of distances, a panel a budget and a colour a metric.",
                ),
            ),
        ),
        Section(
            "Proposition 1",
            (
                Paragraph(
                    "LipSim's Proposition 1 says that a distance cannot change by more than the "
                    f"l2 length of the change of the image. {total} of {len(rows)} attacked images "
                    "violate it.",
                    "warning" if total else "note",
                ),
                violations_table(violations),
                Figure(
                    violation_figure(rows),
                    "Every attacked image; above the dashed line the proposition is violated.",
                    "Distances against the length of the change, and the line where both agree.",
                ),
            ),
        ),
        Section(
            "How it was made",
            (
                Table(
                    (("setting", "left"), ("value", "left")),
                    tuple((name, str(value)) for name, value in settings.items()),
                    "run.json has the command, the versions and the time.",
                ),
            ),
        ),
    ]
    write_page(
        out / "report.html",
        "How far an attack on the embedding moves a metric",
        sections,
        lead=f"{len({row['image'] for row in rows})} images of {answer['source']}; projected "
        "gradient ascent on the squared distance of embeddings (LipSim, Eq. 14).",
    )


def stability_answer(rows: Sequence[Row]) -> dict[str, Any]:
    """What JSON says of ``rows``."""
    return {
        "moved": [asdict(entry) for entry in summarise_stability(rows)],
        "violations": [asdict(entry) for entry in count_violations(rows)],
    }
