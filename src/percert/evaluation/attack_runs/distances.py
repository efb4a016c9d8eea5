"""Distances of adversarial images from their originals, measured once each; resumable."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from percert.check import Argument, ArgumentError
from percert.evaluation.attack_runs.read import RECORDS, read_attack_runs
from percert.images import load_image
from percert.metrics.metric import Metric
from percert.reports.records import RecordStore
from percert.runs import RecordedMetric, find_items, read_sample
from percert.runs.attack import finite_or_none
from percert.runs.tasks import device_of
from percert.tensors import Images

#: Stands in records where an attack would be named: the image before any attack.
CLEAN = "(clean)"
#: So many images are measured at once.
AT_ONCE = 16

Row: TypeAlias = Mapping[str, Any]
#: What was measured, by (attack, image, name).
MeasuredFiles: TypeAlias = dict[tuple[str, str, str], dict[str, Any]]
#: Called with (original ``(1, 3, h, w)``, others ``(k, 3, h, w)``, name); gives k rows of values.
FileMeasure: TypeAlias = Callable[[Images, Images, str], Sequence[Mapping[str, Any]]]
#: Called with (images done, images in all).
Progress: TypeAlias = Callable[[int, int], object]


def open_store(folder: Path, what: str, values: Mapping[str, type]) -> RecordStore:
    """Where ``values`` are kept by attack, image and ``what`` (such as "metric").

    ``made`` tells the attacked file from another one of the same name.
    """
    columns = {"attack": str, "image": str, what: str, "made": str, **values}
    return RecordStore(folder, columns, key=("attack", "image", what))


def measure_files(
    rows: Sequence[Row],
    originals: Path,
    names: Mapping[str, str],
    store: RecordStore,
    measure: FileMeasure,
    *,
    clean: bool = False,
    progress: Progress | None = None,
) -> MeasuredFiles:
    """What ``measure`` says of the attacked image of each of ``rows``, for each of ``names``.

    ``names`` are what is measured, each with a text that says how (a checkpoint, a hash): what
    ``store`` holds already is taken from there, unless that text or the attacked file changed.
    Each original is read once, and its attacked images measured together. ``clean``: the originals
    as well, as the attack :data:`CLEAN`. Raises ``ValueError`` where an image is missing, or not of
    its original's size.
    """
    what = store.key[-1]
    items = {item.name: item for item in find_items(originals)}
    known = {tuple(row[part] for part in store.key): row for row in store.rows()}
    by_image: dict[str, list[Row]] = {}
    for row in rows:
        by_image.setdefault(row["image"], []).append(row)
    found: MeasuredFiles = {}
    for done, (image, some) in enumerate(by_image.items()):
        if image not in items:
            raise ValueError(
                f"{originals}: has no image {image!r}, which {some[0]['run']} attacked"
            )
        prints = {row["attack"]: _print(row) for row in some}
        if clean:
            prints[CLEAN] = _file_print(items[image].source)
        files = {row["attack"]: row["path"] for row in some}
        fresh: list[dict[str, Any]] = []
        original: Tensor | None = None
        for name, how in names.items():
            made = {attack: f"{text} {how}".strip() for attack, text in prints.items()}
            for attack in made:
                old = known.get((attack, image, name))
                if old is not None and old["made"] == made[attack]:
                    found[attack, image, name] = old
            todo = [attack for attack in made if (attack, image, name) not in found]
            for start in range(0, len(todo), AT_ONCE):
                batch = todo[start : start + AT_ONCE]
                if original is None:
                    original = read_sample(items[image]).image
                others = [_other(files.get(attack), original) for attack in batch]
                values = measure(original[None], torch.stack(others), name)
                for attack, value in zip(batch, values, strict=True):
                    row_ = {"attack": attack, "image": image, what: name, "made": made[attack]}
                    found[attack, image, name] = {**row_, **value}
                    fresh.append(found[attack, image, name])
        store.append(fresh)
        if progress is not None:
            progress(done + 1, len(by_image))
    store.merge()
    return found


def _other(path: str | None, original: Tensor) -> Tensor:
    """The attacked image in a file, or the original where there is none."""
    if path is None:
        return original
    image = load_image(path)
    if image.shape != original.shape:
        raise ValueError(
            f"{path}: expected an image of its original's shape {tuple(original.shape)}, found "
            f"{tuple(image.shape)}; are these the images that were attacked?"
        )
    return image


def _print(row: Row) -> str:
    if row["path"] is None:
        raise ArgumentError(
            f"{row['run']}: keeps no images of {row['attack']}; attack again with ",
            Argument("save"),
        )
    return _file_print(Path(row["path"]))


def _file_print(path: Path) -> str:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    return f"{found.st_size}-{found.st_mtime_ns}"


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
    measures = {name: RecordedMetric(cast(nn.Module, metric)) for name, metric in metrics.items()}
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
    measures: Mapping[str, RecordedMetric],
    out: Path,
    *,
    how: Mapping[str, str] | None = None,
    over: str = "success_8bit",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """The ``rows`` of :class:`~percert.evaluation.attack_runs.read.AttackRuns`, each with
    distances.

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

    found = measure_files(
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


__all__ = ["RECORDS", "keep_own_distances", "measure_distances", "measure_run"]
