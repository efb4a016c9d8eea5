"""What classifiers say about a folder of images: the step before an audit of groups."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pandas as pd  # type: ignore[import-untyped]  # it ships no types
import torch

from percert.check import Argument, ArgumentError
from percert.fairness.predictions import check_predictions, read_table
from percert.images import load_image
from percert.images.walk import listed_file
from percert.models import load_classifier
from percert.reports import read_records, write_records
from percert.reports.records import read_run

_BATCH = 32
#: Models that run side by side take so many bytes, and the last of them besides.
HELD = 2 << 30
#: Passes names on, of so many, such as through a progress bar with a title.
Watch: TypeAlias = Callable[[Iterable[str], int, str], Iterable[str]]


@dataclass(frozen=True)
class NamedModel:
    """A classifier: what an audit calls it, how it is loaded, and the file of its weights."""

    name: str
    spec: str
    weights: Path | None = None


def named_models(specs: Sequence[str], weights: Sequence[Path] = ()) -> list[NamedModel]:
    """The classifiers that ``specs`` name, with one of ``weights`` each or none at all.

    A folder that ``percert train dro`` wrote stands for all of its models, which are called as
    their files are (with the folder's name before, where there is more than it): so those of two
    folders are pairs by name. Raises ``ValueError`` for a folder without models, for weights that
    are not one a model, and for a model that is named twice.
    """
    folders = [spec for spec in specs if (Path(spec) / "run.json").is_file()]
    if weights and (folders or len(weights) != len(specs)):
        wanted = "none, for a folder has its own" if folders else f"one for each of {len(specs)}"
        raise ArgumentError(
            Argument("weights"), f": expected {wanted} models, found {len(weights)}"
        )
    models = []
    for place, spec in enumerate(specs):
        if spec in folders:
            models += _models_in(Path(spec), "" if len(specs) == 1 else f"{Path(spec).name}/")
        else:
            file = weights[place] if weights else None
            several = file is not None and specs.count(spec) > 1
            models.append(
                NamedModel(f"{spec}/{file.stem}" if file and several else spec, spec, file)
            )
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ArgumentError(Argument("model"), f": {name} is given more than once")
    return models


def _models_in(folder: Path, prefix: str) -> list[NamedModel]:
    settings = (read_run(folder) or {}).get("settings")
    spec = settings.get("model") if isinstance(settings, dict) else None
    files = sorted(folder.glob("model-*.safetensors"))
    if not isinstance(spec, str) or not files:
        raise ValueError(f"{folder}: expected a run of percert train dro, found no models of one")
    return [NamedModel(f"{prefix}{file.stem}", spec, file) for file in files]


def predict_groups(
    sets: Sequence[Sequence[NamedModel]],
    images: Path,
    group_file: Path,
    columns: Mapping[str, str],
    *,
    by: Sequence[str] = (),
    strata: Sequence[str] = (),
    split: str | None = None,
    device: str = "auto",
    out: Path | None = None,
    watch: Watch | None = None,
) -> list[pd.DataFrame]:
    """Of each set of classifiers the checked predictions (``percert.fairness.predictions``).

    ``group_file`` lists image (a path inside ``images``), group and label (a class index);
    ``columns`` say what it calls these; ``by`` and ``strata`` are further ones, of which groups and
    strata are made, and of a column split only the rows of ``split`` count. An image is decoded
    once for all models that fit into :data:`HELD` bytes together. With ``out`` the predictions of a
    model are kept there when it is through, and a later run with the same weights, list and images
    takes them from there. Raises ``ValueError`` for an image that cannot be read: to leave it out
    would change its group.
    """
    rows = read_table(group_file).rename(columns={v: k for k, v in columns.items()})
    rows = _checked_list(_of_split(rows, group_file, split), group_file, images, by, strata)
    files = None if out is None else _fingerprint_of_images(rows, images)
    found: dict[tuple[str, Path | None], list[int]] = {}
    held: list[_Running] = []

    def run() -> None:
        _predict(held, rows, images, watch)
        for one in held:
            found[one.model.spec, one.model.weights] = one.found
            if one.kept is not None:
                _keep(one, rows)
        held.clear()

    for model in {(m.spec, m.weights): m for models in sets for m in models}.values():
        kept = None
        if out is not None and files is not None:
            kept = out / f"predictions-{_fingerprint(model, files)}.parquet"
            if kept.exists():
                found[model.spec, model.weights] = [r["prediction"] for r in read_records(kept)]
                continue
        network = load_classifier(model.spec, device=device, weights=model.weights)
        held.append(_Running(model, network, kept))
        if sum(one.bytes for one in held) >= HELD:
            run()
    run()
    return [
        check_predictions(
            pd.concat(
                [rows.assign(model=m.name, prediction=found[m.spec, m.weights]) for m in models],
                ignore_index=True,
            ),
            str(group_file),
            by=by,
            strata=strata,
        )
        for models in sets
    ]


@dataclass
class _Running:
    """A model in memory, and the classes that it has found so far."""

    model: NamedModel
    network: torch.nn.Module
    kept: Path | None
    found: list[int] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(value.numel() * value.element_size() for value in self.network.parameters())

    def decide(self, images: torch.Tensor, rows: pd.DataFrame) -> None:
        where = next((value.device for value in self.network.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            scores = self.network(images.to(where))
        if not torch.isfinite(scores).all():
            raise ValueError(f"{self.model.name}: gives scores that are not finite")
        classes = scores.shape[1]
        beyond = rows["label"][rows["label"] >= classes]
        if len(beyond):
            raise ValueError(
                f"{self.model.name}: knows classes 0 to {classes - 1}, but image "
                f"{rows['image'][beyond.index[0]]!r} has label {beyond.iloc[0]}"
            )
        self.found.extend(scores.argmax(1).tolist())


def _predict(
    running: Sequence[_Running], rows: pd.DataFrame, folder: Path, watch: Watch | None
) -> None:
    """Run all models on every image: each is decoded once, images of one size go in batches."""
    if not running:
        return
    waiting: list[torch.Tensor] = []

    def decide() -> None:
        for one in running if waiting else ():
            one.decide(torch.stack(waiting), rows)
        waiting.clear()

    who = running[0].model.name if len(running) == 1 else f"{len(running)} models"
    names: Iterable[str] = rows["image"]
    for image in names if watch is None else watch(names, len(rows), f"running {who}"):
        pixels = load_image(listed_file(folder, image))
        if waiting and (len(waiting) == _BATCH or pixels.shape != waiting[0].shape):
            decide()
        waiting.append(pixels)
    decide()


def _keep(one: _Running, rows: pd.DataFrame) -> None:
    assert one.kept is not None
    one.kept.parent.mkdir(parents=True, exist_ok=True)
    write_records(
        one.kept,
        [
            {"model": one.model.name, "image": image, "group": group, "label": label}
            | {"prediction": prediction}
            for image, group, label, prediction in zip(
                rows["image"], rows["group"], rows["label"], one.found, strict=True
            )
        ],
        {"model": str, "image": str, "group": str, "label": int, "prediction": int},
    )


def _of_split(rows: pd.DataFrame, path: Path, split: str | None) -> pd.DataFrame:
    if split is None:
        return rows
    if "split" not in rows or not (rows["split"] == split).any():
        found = sorted(map(str, rows["split"].unique())) if "split" in rows else []
        raise ValueError(f"{path}: split: expected one of {', '.join(found)}, found {split!r}")
    return rows[rows["split"] == split].reset_index(drop=True)


def _checked_list(
    rows: pd.DataFrame, path: Path, images: Path, by: Sequence[str], strata: Sequence[str]
) -> pd.DataFrame:
    if by:
        rows = rows.assign(group=rows.get("group", ""))
    for column in dict.fromkeys(("image", "group", "label", *by, *strata)):
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
        | {column: rows[column].astype(str) for column in (*by, *strata) if column != "label"}
    )
    twice = checked["image"].duplicated()
    if twice.any():
        raise ValueError(f"{path}: duplicate images: {checked['image'][twice].iloc[0]!r}")
    root = images.resolve()
    for image in checked["image"]:
        if not (images / image).resolve().is_relative_to(root):
            raise ValueError(f"{path}: image {image!r} lies outside {images}")
    return checked


def _fingerprint_of_images(rows: pd.DataFrame, folder: Path) -> str:
    """What predictions depend on besides the model: the list, and the files' sizes and times."""
    digest = hashlib.sha256(json.dumps(rows.to_numpy().tolist(), default=str).encode())
    for image in rows["image"]:
        digest.update(_stamp(listed_file(folder, image)))
    return digest.hexdigest()


def _fingerprint(model: NamedModel, images: str) -> str:
    digest = hashlib.sha256(json.dumps([model.spec, images]).encode())
    if model.weights is not None:
        digest.update(_stamp(model.weights))
    return digest.hexdigest()[:16]


def _stamp(path: Path) -> bytes:
    found = path.stat()
    return os.fsencode(f"{path.name} {found.st_size} {found.st_mtime_ns}\n")
