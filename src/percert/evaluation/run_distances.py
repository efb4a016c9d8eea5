"""Every distance of an attack run's images from the originals, measured after the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from percert.attacks.collection import Measure
from percert.attacks.collection.batch import finite_or_none
from percert.attacks.collection.tasks import device_of
from percert.evaluation.attack_runs import RECORDS, read_attack_runs
from percert.evaluation.attacked_files import Progress, Row, open_store, settle
from percert.metrics.metric import Metric
from percert.tensors import Images

__all__ = ["RECORDS", "keep_own_distances", "measure_distances", "measure_run"]


def measure_run(
    run: Path,
    originals: Path,
    metrics: Mapping[str, Metric],
    out: Path,
    *,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """The rows of ``run/records.parquet``, each with the distances by ``metrics``.

    ``run`` is what ``percert attack classify`` wrote, ``originals`` the images that it attacked.
    See :func:`measure_distances`.
    """
    runs = read_attack_runs([run])
    measures = {name: Measure(cast(nn.Module, metric)) for name, metric in metrics.items()}
    return measure_distances(runs.rows, originals, measures, out, over=runs.over, progress=progress)


def keep_own_distances(rows: Sequence[Row], names: Sequence[str], out: Path) -> None:
    """Put the distances that the runs have themselves beside those measured, in ``out``."""
    store = open_store(out, "metric", {"distance": float})
    store.append(
        [
            {
                "attack": row["attack"],
                "image": row["image"],
                "metric": name,
                "made": "",
                "distance": row[name],
            }
            for row in rows
            for name in names
            if row["attacked"] and row.get(name) is not None
        ]
    )
    store.merge()


def measure_distances(
    rows: Sequence[Row],
    originals: Path,
    measures: Mapping[str, Measure],
    out: Path,
    *,
    how: Mapping[str, str] | None = None,
    over: str = "success_8bit",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """The ``rows`` of :class:`~percert.evaluation.attack_runs.AttackRuns`, each with distances.

    Measured are the 8-bit images of those for which the column ``over`` is true; elsewhere, and for
    images too small for a metric, a distance is ``None``. ``how`` says of a metric what else its
    values depend on, such as a checkpoint. Keeps what it has measured in ``out``, so that a run
    that grows, metrics that are added, or a stop half-way, cost nothing twice. Raises
    ``ValueError`` where an original or an attacked image is missing.
    """

    if not measures:  # a run that kept no images has its own distances all the same
        return [dict(row) for row in rows]

    @torch.no_grad()
    def measure(original: Images, others: Images, name: str) -> list[dict[str, float | None]]:
        one = measures[name]
        if min(original.shape[2:]) < one.smallest_side:
            return [{"distance": None}] * len(others)
        device = device_of(one.metric)
        reference = original.to(device).expand_as(others)
        distances = cast(Metric, one.metric)(reference, others.to(device))
        return [{"distance": finite_or_none(value)} for value in distances.tolist()]

    found = settle(
        [row for row in rows if row["attacked"] and row[over]],
        originals,
        {name: (how or {}).get(name, "") for name in measures},
        open_store(out, "metric", {"distance": float}),
        measure,
        progress=progress,
    )
    nothing: dict[str, Any] = {"distance": None}
    return [
        {
            **row,
            **{
                name: found.get((row["attack"], row["image"], name), nothing)["distance"]
                for name in measures
            },
        }
        for row in rows
    ]
