"""How far an attack on the embedding moves a metric: d(x, x + delta), LipSim Eq. 14.

Figures 3b and 6 of the paper are the distributions of these distances, Figure 7 those of them that
are longer than delta itself, against Proposition 1.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from percert.attacks.attack import Attack
from percert.attacks.goal import MoveEmbedding
from percert.attacks.run import CountedModel, timed_attack
from percert.attacks.threat import length
from percert.certify.features import embed
from percert.certify.pairs import distance_of_features
from percert.evaluation.twoafc.attacks import AttackBudget, stability_attack
from percert.evaluation.twoafc.lipschitz_violations import (
    count_violations,
    proposition_section,
    violations_table,
)
from percert.evaluation.twoafc.report import shown
from percert.images import LeftOut, round_to_8bit
from percert.images.walk import listed, listed_left_out
from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.metric import Metric
from percert.reports.page import Figure, Section, how_made, write_page
from percert.reports.plots import COLOURS, figure_png, new_figure
from percert.reports.records import Row, read_run
from percert.reports.table import Column, Table, number, percent
from percert.runs.certified import check_interval
from percert.runs.engine import (
    Done,
    Progress,
    RunFolder,
    RunResult,
    Step,
    batches,
    read_all,
    seed_of,
    silent,
)
from percert.runs.items import ImageItem, find_items, read_sample, resized
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


@dataclass(frozen=True)
class StabilityRun:
    """``steps`` of projected ascent, ``restarts`` times, at each of ``budgets``, for each metric.

    ``climbs`` is what grows: the squared distance of embeddings, as in the paper, or the metric's
    own distance (that of a metric without embeddings in either case).
    """

    metrics: Mapping[str, Metric]
    budgets: tuple[AttackBudget, ...]
    climbs: Literal["embedding", "distance"] = "embedding"
    steps: int = 40
    restarts: int = 1
    size: tuple[int, int] | None = None
    batch_size: int = 16
    seed: int = 0
    device: str = "cpu"

    @property
    def attacks(self) -> dict[str, tuple[str, AttackBudget]]:
        """The metric and budget of every attack, by what the records call it."""
        return {
            f"{name} {self.climbs} pgd:norm={budget.norm},eps={budget.eps:.10g},"
            f"steps={self.steps},restarts={self.restarts}": (name, budget)
            for name in self.metrics
            for budget in self.budgets
        }


def evaluate_stability(
    run: StabilityRun, items: Iterable[ImageItem], done: Done = frozenset()
) -> Iterator[Step]:
    """Attack the images ``items``; yields rows of :data:`COLUMNS`, batch by batch.

    ``distance`` is d(x, x + delta), and ``upper`` what it cannot exceed within the length of delta
    by the metric's certificate; ``violates`` says that Proposition 1 does not hold there, for the
    distance is longer than delta. Raises ``BrokenCertificate`` where a distance exceeds ``upper``.
    """
    attacks = run.attacks
    todo = (i for i in items if any((i.name, attack) not in done for attack in attacks))

    def read(item: ImageItem) -> tuple[str, Tensor]:
        return item.name, resized(read_sample(item).image, run.size)

    found = read_all(todo, read, lambda item: item.name)
    for batch in batches(found, lambda one: one[1].shape, run.batch_size):
        if isinstance(batch, Step):
            yield batch
            continue
        for called, (name, budget) in attacks.items():
            some = [(image, pixels) for image, pixels in batch if (image, called) not in done]
            if not some:
                continue
            rows = attacked_rows(
                run.metrics[name],
                stability_attack(budget.norm, budget.eps, run.steps, run.restarts),
                torch.stack([pixels for _, pixels in some]).to(run.device),
                torch.tensor([seed_of(run.seed, image) for image, _ in some]),
                run.climbs == "distance",
            )
            known = {"attack": called, "metric": name, "norm": budget.norm, "eps": budget.eps}
            for (image, _), row in zip(some, rows, strict=True):
                row.update(known, image=image)
                check_interval(row)
            yield Step(rows)


def attacked_rows(
    metric: Metric, attack: Attack, images: Images, seeds: Tensor, by_distance: bool = False
) -> list[dict[str, Any]]:
    """Attack the embeddings of ``images`` ``(n, 3, h, w)``: rows, but for the names in them."""
    counted = CountedModel(metric)
    counted.embed = None if by_distance else counted.embed
    moved, seconds = timed_attack(attack, counted, images, MoveEmbedding(images), seeds)
    with torch.no_grad():
        distance = metric(images, moved).double()
        rounded = metric(images, round_to_8bit(moved)).double()
    change = moved.double() - images.double()
    lengths = {norm: length(change, norm) for norm in ("l1", "l2", "linf")}
    upper: list[float | None] = [None] * len(images)
    if isinstance(metric, EmbeddingMetric):
        upper = [
            distance_of_features(features, features, far).upper.item()
            for image, far in zip(images, lengths["l2"].tolist(), strict=True)
            for features in (embed(metric, image[None]),)
        ]
    violates = (distance > lengths["l2"]).tolist()
    return [
        {
            **dict.fromkeys(COLUMNS),
            "distance": distance[i].item(),
            "distance_8bit": rounded[i].item(),
            "upper": upper[i],
            **{norm: values[i].item() for norm, values in lengths.items()},
            "violates": violates[i],
            "success": violates[i],
            "seconds": seconds / len(images),
            "model_calls": counted.calls / len(images),
            "height": images.shape[2],
            "width": images.shape[3],
            "seed": int(seeds[i]),
        }
        for i in range(len(images))
    ]


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
        shares = [row["distance"] / row["upper"] for row in some if row["upper"] is not None]
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
                bound_reached=max(shares) if len(shares) == len(some) else None,
            )
        )
    return found


MOVED: tuple[Column[Moved], ...] = (
    Column("metric", lambda one: one.metric),
    Column("budget", lambda one: f"{one.norm} {shown(one.eps)}"),
    Column("images", lambda one: one.images, "d"),
    Column("mean", lambda one: one.mean, number),
    Column("median", lambda one: one.median, number),
    Column("95 %", lambda one: one.quantile_95, number),
    Column("most", lambda one: one.most, number),
    Column("of its bound", lambda one: one.bound_reached, percent),
)


def moved_table(moved: Sequence[Moved]) -> Table:
    """The summaries as a table."""
    return Table.of(
        moved,
        MOVED,
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


def run_stability(
    run: StabilityRun,
    images: Path,
    out: Path,
    *,
    limit: int | None = None,
    command: Sequence[str] = (),
    progress: Progress = silent,
) -> RunResult:
    """Attack ``images`` into ``out``: records, ``report.html``, ``stability.json``, ``run.json``.

    ``limit`` takes the first images only. Goes on where an earlier run of the same stood. Raises
    ``ValueError`` without budgets and where no image can be read, and ``BrokenCertificate`` where
    a distance exceeds its certified bound.
    """
    if not run.budgets:
        raise ValueError("budgets: expected some of l2 or linf, found none")
    left_out: list[LeftOut] = []
    items = find_items(images, left_out)[:limit]
    settings = {
        "source": str(images.resolve()),
        "weights_sha256": {name: weights_hash(one) for name, one in run.metrics.items()},
        "climbs": run.climbs,
        "steps": run.steps,
        "restarts": run.restarts,
        "size": run.size and list(run.size),
        "seed": run.seed,
    }
    wanted = {(item.name, attack): None for item in items for attack in run.attacks}
    folder = RunFolder(out, settings, device=run.device, seed=run.seed, command=command)
    kept = folder.keep(
        COLUMNS,
        lambda done: evaluate_stability(run, items, done),
        wanted=list(wanted),
        what="attacking",
        progress=progress,
    )
    rows = [row for row in kept.rows if (row["image"], row["attack"]) in wanted]
    if not rows:
        raise ValueError(f"{images}: no image could be read; {kept.bad[0][1] if kept.bad else ''}")
    moved, violations = summarise_stability(rows), count_violations(rows)
    answer = {
        "source": str(images),
        "moved": [asdict(entry) for entry in moved],
        "violations": [asdict(entry) for entry in violations],
        "bad": listed(kept.bad),
        "left_out": listed_left_out(left_out),
    }
    answer = folder.answer("stability", answer)
    table = moved_table(moved)
    figure = Figure(
        distance_figure(rows),
        "The distribution of d(x, x + delta), of all images of a budget.",
        "Histograms of distances, a panel a budget and a colour a metric.",
    )
    write_page(
        out / "report.html",
        "How far an attack on the embedding moves a metric",
        [
            Section("Distances under attack", (table, figure)),
            *filter(None, (proposition_section(rows),)),
            how_made(read_run(out)),
        ],
        lead=f"{len({row['image'] for row in rows})} images of {images}; projected gradient ascent "
        "on the squared distance of embeddings (LipSim, Eq. 14).",
    )
    shown = (
        table,
        violations_table(violations),
        f"report.html, stability.json and records.parquet are in {out}",
    )
    return RunResult(answer, shown, kept.bad, left_out=left_out)
