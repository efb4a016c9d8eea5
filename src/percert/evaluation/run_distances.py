"""Every distance of an attack run's images from the originals, measured after the run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from percert.attacks.collection import find_items, read_subject
from percert.images import load_image
from percert.metrics.metric import Metric
from percert.reports.records import RecordStore, read_records

#: The file of a run that holds its rows.
RECORDS = "records.parquet"


def measure_run(
    run: Path,
    originals: Path,
    metrics: Mapping[str, Metric],
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """The rows of ``run/records.parquet``, each with the distances by ``metrics``.

    ``run`` is what ``percert attack classify`` wrote, ``originals`` the images that it attacked.
    Measured are the 8-bit images that succeeded; elsewhere a distance is ``None``. Keeps what it
    has measured in ``out``, so that a run that grows, or a stop half-way, costs nothing twice.
    Raises ``ValueError`` where an original or an attacked image is missing.
    """
    rows = read_records(run / RECORDS)
    items = {item.name: item for item in find_items(originals)}
    columns = {"image": str, "attack": str, **dict.fromkeys(metrics, float)}
    store = RecordStore(out, columns, key=("image", "attack"))
    known = {(row["image"], row["attack"]): row for row in store.rows()}
    wanted = [row for row in rows if row["success_8bit"]]
    for done, row in enumerate(wanted):
        key = row["image"], row["attack"]
        if key not in known:
            if row["image"] not in items:
                raise ValueError(
                    f"{originals}: has no image {row['image']!r}, which {run} attacked"
                )
            original = read_subject(items[row["image"]]).image[None]
            attacked = load_image(run / row["file"])[None]
            known[key] = {
                "image": key[0],
                "attack": key[1],
                **_measure(metrics, original, attacked),
            }
            store.append([known[key]])
        if progress is not None:
            progress(done + 1, len(wanted))
    store.merge()
    empty = dict.fromkeys(metrics)
    found = []
    for row in rows:
        measured = known.get((row["image"], row["attack"]), empty)
        found.append({**row, **{name: measured[name] for name in metrics}})
    return found


@torch.no_grad()
def _measure(
    metrics: Mapping[str, Metric], original: torch.Tensor, attacked: torch.Tensor
) -> dict[str, float]:
    return {name: float(metric(original, attacked)) for name, metric in metrics.items()}


def means(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], images: Sequence[str] | None = None
) -> dict[str, dict[str, float]]:
    """Means by attack, over ``images`` (default: all).

    Of the distances ``names`` where the attack succeeded; of its success, time and model calls
    where it was tried; and ``count``, how often that was.

    >>> row = {"attack": "a", "image": "x", "attacked": True, "success": True, "success_8bit": True,
    ...        "seconds": 1.0, "cpu_seconds": 1.0, "model_calls": 2.0, "l2": 0.5}
    >>> means([row], ["l2"])["a"]["l2"]
    0.5
    """
    chosen = None if images is None else set(images)
    found: dict[str, dict[str, float]] = {}
    for attack in dict.fromkeys(row["attack"] for row in rows):
        tried = [
            row
            for row in rows
            if row["attack"] == attack
            and row["attacked"]
            and (chosen is None or row["image"] in chosen)
        ]
        if not tried:
            continue
        won = [row for row in tried if row["success_8bit"]]
        effort = ("success", "success_8bit", "seconds", "cpu_seconds", "model_calls")
        found[attack] = {
            "count": len(tried),
            **{name: sum(float(row[name]) for row in tried) / len(tried) for name in effort},
            **{
                name: sum(row[name] for row in won) / len(won) if won else float("nan")
                for name in names
            },
        }
    return found
