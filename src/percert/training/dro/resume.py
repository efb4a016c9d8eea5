"""What Algorithm 2 keeps in its folder to go on from: clean images, clusters, a checkpoint."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from percert.files import replacing
from percert.reports.records import check_same_settings
from percert.training.dro.attack import AttackTally, Clusters, cluster_images, embedding_of
from percert.training.dro.dataset import (
    SHARDS,
    AdversarialDataset,
    DatasetInfo,
    read_info,
    write_info,
)
from percert.training.dro.images import TrainingImages, to_float
from percert.training.dro.recipe import RoundSettings
from percert.training.dro.shards import clean_facts, list_shards, write_shard
from percert.training.dro.weighting import Ints
from percert.training.engine.collective import Collective

STATE = "state.pt"


@dataclass(frozen=True)
class State:
    """The checkpoint of a run: ``done`` images of ``round``, and the number of valid ``shards``."""

    round: int
    done: int
    shards: int
    tallies: list[AttackTally]

    def save(self, path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        held = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
        with replacing(path) as unfinished:
            torch.save({**asdict(self), **held}, unfinished)

    def load(self, path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> "State":
        """The checkpoint at ``path``, put into model and optimiser; ``self`` without one."""
        if not path.exists():
            return self
        kept = torch.load(path, weights_only=True, map_location=next(model.parameters()).device)
        model.load_state_dict(kept.pop("model"))
        optimiser.load_state_dict(kept.pop("optimiser"))
        return State(**kept | {"tallies": [AttackTally(**tally) for tally in kept["tallies"]]})


def begin(folder: Path, about: DatasetInfo, images: TrainingImages, shard: int) -> None:
    """Write ``dataset.json`` and the clean images of D, as far as they are not there."""
    found = read_info(folder)
    if found is None:
        if folder.exists() and any(folder.glob(f"{SHARDS}/*")):
            raise ValueError(f"{folder}: holds shards of unknown origin; give another folder")
        write_info(folder, about)
    elif found != about:
        ours, theirs = asdict(about), asdict(found)
        ours, theirs = ours | ours.pop("settings"), theirs | theirs.pop("settings")
        check_same_settings(folder, theirs, ours, holds="a data set")
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    for number in range(len(list_shards(folder / SHARDS)), -(-about.count // shard)):
        rows = np.arange(number * shard, min((number + 1) * shard, about.count))
        pixels = images.read(rows)
        write_shard(folder / SHARDS, number, pixels, clean_facts(images.labels[rows], int(rows[0])))


def drop_unfinished(folder: Path, kept: int) -> None:
    """Remove shards that were written after the last state: they are made again."""
    for shard in list_shards(folder / SHARDS)[kept:]:
        shard.path.unlink()


def clusters_of(
    folder: Path,
    model: nn.Module,
    dataset: AdversarialDataset,
    settings: RoundSettings,
    group: Collective,
) -> Clusters | None:
    """The clusters of the clean images under the model at the start; the folder keeps them.

    The first process of ``group`` makes them, and the others read what it wrote.
    """
    if not settings.cluster_size:
        return None
    path = folder / "clusters.npz"
    if group.first and not path.exists():
        _write_clusters(path, model, dataset, settings)
    group.wait()
    with np.load(path, allow_pickle=False) as kept:
        return Clusters(kept["member"], kept["centre"])


def _write_clusters(
    path: Path, model: nn.Module, dataset: AdversarialDataset, settings: RoundSettings
) -> None:
    embed = embedding_of(model) if settings.cluster_by == "model" else None
    where = next(model.parameters()).device

    def features(rows: Ints) -> Any:
        parts = []
        for start in range(0, len(rows), 256):
            pixels = to_float(dataset.read(rows[start : start + 256]), where)
            values = pixels if embed is None else embed(pixels)
            parts.append(values.detach().flatten(1).cpu().numpy())
        return np.concatenate(parts)

    found = cluster_images(
        features,
        dataset.facts.label[: dataset.about.count],
        size=settings.cluster_size,
        seed=settings.seed,
    )
    with replacing(path) as unfinished, unfinished.open("wb") as stream:
        np.savez(stream, member=found.member, centre=found.centre)


def centres_name(number: int) -> str:
    return f"centres-{number:04d}.safetensors"
