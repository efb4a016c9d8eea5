"""What classifiers say about a folder of images: the step before an audit of groups."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pandas as pd  # type: ignore[import-untyped]  # it ships no types
import torch

from percert.check import Argument, ArgumentError
from percert.fairness.predictions import check_predictions, read_table
from percert.images import load_image
from percert.models import load_classifier
from percert.reports import read_records, write_records

_BATCH = 32
#: Passes names on, of so many, such as through a progress bar with a title.
Watch: TypeAlias = Callable[[Iterable[str], int, str], Iterable[str]]


def _pass_on(names: Iterable[str], count: int, title: str) -> Iterable[str]:
    del count, title
    return names


def predictions_of_models(
    specs: Sequence[str],
    weights: Sequence[Path],
    images: Path,
    group_file: Path,
    columns: Mapping[str, str],
    *,
    device: str = "auto",
    out: Path | None = None,
    watch: Watch = _pass_on,
) -> pd.DataFrame:
    """Checked predictions (``percert.fairness.predictions``) of every classifier on every image.

    ``group_file`` lists image (a path inside ``images``), group and label (a class index);
    ``columns`` say what it calls these. With ``out`` the predictions of a model are kept there
    when it is through, and a later run with the same weights, list and images takes them from
    there. Raises ``ValueError`` for an image that cannot be read: to leave it out
    would change its group.
    """
    if weights and len(weights) != len(specs):
        raise ArgumentError(
            Argument("weights"),
            f": expected one file for each of {len(specs)} models, found {len(weights)}",
        )
    rows = read_table(group_file).rename(columns={v: k for k, v in columns.items()})
    rows = _checked_list(rows, group_file, images)
    frames = []
    names = _names(specs, weights)
    for place, (spec, name) in enumerate(zip(specs, names, strict=True)):
        file = weights[place] if weights else None
        kept = None
        if out is not None:
            kept = out / f"predictions-{_fingerprint(spec, file, rows, images)}.parquet"
        if kept is not None and kept.exists():
            found = [row["prediction"] for row in read_records(kept)]
        else:
            found = _predict(spec, file, rows, images, device, watch, name)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_records(
                    kept,
                    [
                        {"model": name, "image": image, "group": group, "label": label}
                        | {"prediction": prediction}
                        for image, group, label, prediction in zip(
                            rows["image"], rows["group"], rows["label"], found, strict=True
                        )
                    ],
                    {"model": str, "image": str, "group": str, "label": int, "prediction": int},
                )
        frames.append(rows.assign(model=name, prediction=found))
    return check_predictions(pd.concat(frames, ignore_index=True))


def _checked_list(rows: pd.DataFrame, path: Path, images: Path) -> pd.DataFrame:
    for column in ("image", "group", "label"):
        if column not in rows:
            raise ValueError(
                f"{path}: no column {column!r}; expected image, group and label, found "
                f"{', '.join(map(str, rows.columns))}"
            )
        if rows[column].isna().any():
            raise ValueError(f"{path}: a row has no {column}")
    labels = pd.to_numeric(rows["label"], errors="coerce")
    if labels.isna().any() or (labels != labels.round()).any() or (labels < 0).any():
        bad = rows["label"][labels.isna() | (labels != labels.round()) | (labels < 0)].iloc[0]
        raise ValueError(f"{path}: label: expected class indices of at least 0, found {str(bad)!r}")
    checked = pd.DataFrame(
        {
            "image": rows["image"].astype(str),
            "group": rows["group"].astype(str),
            "label": labels.astype(int),
        }
    )
    twice = checked["image"].duplicated()
    if twice.any():
        raise ValueError(f"{path}: duplicate images: {checked['image'][twice].iloc[0]!r}")
    root = images.resolve()
    for image in checked["image"]:
        if not (images / image).resolve().is_relative_to(root):
            raise ValueError(f"{path}: image {image!r} lies outside {images}")
    return checked


def _predict(
    spec: str,
    weights: Path | None,
    rows: pd.DataFrame,
    folder: Path,
    device: str,
    watch: Watch,
    name: str,
) -> list[int]:
    model = load_classifier(spec, device=device, weights=weights)
    where = next((value.device for value in model.parameters()), torch.device("cpu"))
    found: list[int] = []
    waiting: list[torch.Tensor] = []

    def decide() -> None:
        if not waiting:
            return
        with torch.inference_mode():
            scores = model(torch.stack(waiting).to(where))
        if not torch.isfinite(scores).all():
            raise ValueError(f"{name}: gives scores that are not finite")
        classes = scores.shape[1]
        beyond = rows["label"][rows["label"] >= classes]
        if len(beyond):
            raise ValueError(
                f"{name}: knows classes 0 to {classes - 1}, but image "
                f"{rows['image'][beyond.index[0]]!r} has label {beyond.iloc[0]}"
            )
        found.extend(scores.argmax(1).tolist())
        waiting.clear()

    for image in watch(rows["image"], len(rows), f"running {name}"):
        pixels = load_image(folder / image)
        if waiting and (len(waiting) == _BATCH or pixels.shape != waiting[0].shape):
            decide()
        waiting.append(pixels)
    decide()
    return found


def _names(specs: Sequence[str], weights: Sequence[Path]) -> list[str]:
    names = [
        f"{spec}/{weights[place].stem}" if weights and specs.count(spec) > 1 else spec
        for place, spec in enumerate(specs)
    ]
    for name in names:
        if names.count(name) > 1:
            raise ArgumentError(Argument("model"), f": {name} is given more than once")
    return names


def _fingerprint(spec: str, weights: Path | None, rows: pd.DataFrame, folder: Path) -> str:
    """What the predictions depend on: the model, the list, and the files' sizes and times."""
    digest = hashlib.sha256()
    files = [folder / image for image in rows["image"]]
    digest.update(json.dumps([spec, rows.to_numpy().tolist()], default=str).encode())
    for path in [*files, *([weights] if weights else [])]:
        found = path.stat()
        digest.update(os.fsencode(f"{path.name} {found.st_size} {found.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]
