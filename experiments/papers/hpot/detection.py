"""Detecting attacks that people do not see: does the prediction change where the image hardly does?

The second paper's outlook. A detector shows the network the image and a squeezed copy of it (as a
JPEG, with fewer bits, its median), and takes the l1 distance between both vectors of probabilities
for a score (Xu, Evans and Qi 2018). Its threshold lets through 95 % of photographs that nobody
attacked, and is never set on the photographs on which it is judged: of these, sorted by name, every
other one sets it for the rest, and the rest for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from percert.binomial import share_interval
from percert.defences import create_defence
from percert.evaluation.attack_runs.distances import (
    CLEAN,
    MeasuredFiles,
    Progress,
    Row,
    measure_files,
    open_store,
)
from percert.runs import ImageItem
from percert.tensors import Images

#: What is looked through; the last detector takes the largest score of all.
SQUEEZERS = ("jpeg-75", "bits-4", "median-3")
LARGEST = "largest of them"
FALSE_ALARMS = 0.05


@dataclass(frozen=True)
class Detected:
    """Of an attack's ``files`` that succeed, the shares that a detector tells, by its name.

    ``changed``: the class that the network gives changes behind the squeezer. ``alarmed``: the
    score is above the threshold; ``intervals`` are its 95 % ones (Wilson's). For the attack
    :data:`~percert.evaluation.attack_runs.distances.CLEAN` both are false alarms.
    """

    attack: str
    files: int
    changed: dict[str, float]
    alarmed: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def squeezed_scores(
    rows: Sequence[Row],
    originals: Path,
    model: nn.Module,
    weights: str,
    out: Path,
    clean: Sequence[ImageItem],
    *,
    progress: Progress | None = None,
) -> MeasuredFiles:
    """Score and change of class of every successful file, and of ``clean``, behind each squeezer.

    Of ``clean``, photographs with labels, those are left out that ``model`` has wrong.
    """

    @torch.no_grad()
    def measure(original: Images, others: Images, name: str) -> list[dict[str, Any]]:
        del original
        before = model(others).softmax(1)
        behind = model(create_defence(name)(others)).softmax(1)
        moved = (before - behind).abs().sum(1).tolist()
        said, then = before.argmax(1).tolist(), behind.argmax(1).tolist()
        return [
            {"score": score, "changed": one != other, "prediction": one}
            for score, one, other in zip(moved, said, then, strict=True)
        ]

    labels = {item.name: item.label for item in clean}
    originals_too = [
        {"attack": CLEAN, "image": item.name, "path": str(item.source), "run": ""} for item in clean
    ]
    found = measure_files(
        [*(row for row in rows if row["attacked"] and row["success_8bit"]), *originals_too],
        originals,
        dict.fromkeys(SQUEEZERS, weights),
        open_store(out, "squeezer", {"score": float, "changed": bool, "prediction": int}),
        measure,
        progress=progress,
    )
    return {
        key: row
        for key, row in found.items()
        if key[0] != CLEAN or row["prediction"] == labels[key[1]]
    }


def detected(found: MeasuredFiles) -> list[Detected]:
    """Every attack of ``found`` by each detector, the originals first.

    >>> names = [f"{place:02d}" for place in range(40)]
    >>> told = {(CLEAN, name, squeezer): {"score": 0.1, "changed": False}
    ...         for name in names for squeezer in SQUEEZERS}
    >>> told |= {("a", "00", squeezer): {"score": 0.3, "changed": squeezer == "jpeg-75"}
    ...          for squeezer in SQUEEZERS}
    >>> clean, attack = detected(told)
    >>> clean.alarmed["jpeg-75"], attack.alarmed["jpeg-75"], attack.changed["bits-4"]
    (0.0, 1.0, 0.0)
    """
    scores: dict[str, dict[str, dict[str, float]]] = {}
    changes: dict[str, dict[str, list[bool]]] = {}
    for (attack, image, squeezer), row in found.items():
        scores.setdefault(squeezer, {}).setdefault(attack, {})[image] = row["score"]
        changes.setdefault(attack, {}).setdefault(squeezer, []).append(row["changed"])
    scores[LARGEST] = {
        attack: {image: max(scores[name][attack][image] for name in SQUEEZERS) for image in some}
        for attack, some in scores[SQUEEZERS[0]].items()
    }
    entries = []
    for attack in sorted(changes, key=lambda name: name != CLEAN):
        alarms = {name: _alarms(by[CLEAN], by[attack]) for name, by in scores.items()}
        files = len(next(iter(alarms.values())))
        entries.append(
            Detected(
                attack,
                files,
                {name: float(np.mean(some)) for name, some in changes[attack].items()},
                {name: float(np.mean(some)) for name, some in alarms.items()},
                {name: share_interval(sum(some), files) for name, some in alarms.items()},
            )
        )
    return entries


def _alarms(clean: Mapping[str, float], attacked: Mapping[str, float]) -> list[bool]:
    """Which attacked images are above the threshold that the other half of the clean ones sets."""
    half = {name: place % 2 for place, name in enumerate(sorted(clean))}
    limits = [threshold([clean[name] for name in half if half[name] != side]) for side in (0, 1)]
    return [score > limits[half[name]] for name, score in attacked.items()]


def threshold(scores: Sequence[float]) -> float:
    """The least of ``scores`` that at most :data:`FALSE_ALARMS` of them are above.

    >>> threshold([0.0] * 19 + [1.0]), threshold([0.0] * 10 + [1.0])
    (0.0, 1.0)
    """
    return float(np.quantile(scores, 1 - FALSE_ALARMS, method="inverted_cdf"))
