"""Whether images made against one classifier fool others."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from percert.attacks.collection.tasks import device_of, predictions
from percert.evaluation.attacked_files import CLEAN, Progress, Row, Settled, open_store, settle
from percert.evaluation.defence_survival import survives, wilson
from percert.tensors import Images


@dataclass(frozen=True)
class Transfer:
    """One attack's images on one ``model``.

    ``images`` succeeded as files against what they were made for (``source``), ``right`` of them
    the model has right before the attack, and ``fooled`` of those it has wrong after it (for an
    attack towards a class: in that class). ``share`` is fooled of right, ``None`` without any.
    """

    attack: str
    source: str
    model: str
    images: int
    right: int
    fooled: int

    @property
    def share(self) -> float | None:
        return self.fooled / self.right if self.right else None

    def answer(self) -> dict[str, Any]:
        """All of it as what JSON can hold."""
        interval = list(wilson(self.fooled, self.right)) if self.right else None
        return {**asdict(self), "share": self.share, "interval": interval}


def transferred_predictions(
    rows: Sequence[Row],
    originals: Path,
    models: Mapping[str, nn.Module],
    weights: Mapping[str, str],
    out: Path,
    *,
    progress: Progress | None = None,
) -> Settled:
    """What each of ``models`` says of every successful file and of its original.

    By (attack, image, model), the originals as the attack
    :data:`~percert.evaluation.attacked_files.CLEAN`. ``weights`` are hashes of the models': what
    ``out`` holds of others is not used.
    """

    @torch.no_grad()
    def measure(original: Images, others: Images, name: str) -> list[dict[str, int]]:
        model = models[name]
        return [{"prediction": p} for p in predictions(model, others.to(device_of(model)))]

    return settle(
        [row for row in rows if row["attacked"] and row["success_8bit"]],
        originals,
        {name: weights.get(name, "") for name in models},
        open_store(out, "model", {"prediction": int}),
        measure,
        clean=True,
        progress=progress,
    )


def transfers(rows: Sequence[Row], found: Settled, models: Sequence[str]) -> list[Transfer]:
    """Every attack's images on every model, in their order.

    >>> row = {"attack": "a", "image": "x", "attacked": True, "success_8bit": True, "label": 3,
    ...        "towards": False, "target": None, "source": "net"}
    >>> said = {("a", "x", "other"): {"prediction": 7}, ("(clean)", "x", "other"): {"prediction": 3}}
    >>> transfers([row], said, ["other"])[0].share
    1.0
    """  # noqa: E501
    by_attack: dict[str, list[Row]] = {}
    for row in rows:
        if row["attacked"] and row["success_8bit"]:
            by_attack.setdefault(row["attack"], []).append(row)
    entries = []
    for attack, won in by_attack.items():
        for model in models:
            right = [r for r in won if found[CLEAN, r["image"], model]["prediction"] == r["label"]]
            fooled = sum(survives(r, found[attack, r["image"], model]["prediction"]) for r in right)
            entries.append(
                Transfer(attack, str(won[0]["source"]), model, len(won), len(right), fooled)
            )
    return entries
