"""A second predictor of what people notice: ST-LPIPS over AlexNet, fitted as ``seen`` is.

Its features are a network's, not contrasts, and no attack here minimises it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from percert.data.judged_pairs import noticed_pairs
from percert.evaluation.people.agreement import Array
from percert.images import load_image
from percert.metrics.catalog import create_metric

JUDGE = "st-lpips-alex"


@dataclass(frozen=True)
class JudgeFit:
    """The share who notice at a distance: ``odds = (distance / half) ** slope``."""

    false_alarms: float
    half: float
    slope: float

    def share(self, distances: Array) -> Array:
        odds = (np.maximum(distances, 0) / self.half) ** self.slope
        return self.false_alarms + (1 - self.false_alarms) * odds / (1 + odds)


@torch.no_grad()
def fit_judge(table: Path, cache: Path) -> JudgeFit:
    """The judge's two numbers, most likely given what observers said."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]  # it ships no types

    kept = cache / "judge.json"
    if kept.exists():
        return JudgeFit(**json.loads(kept.read_text()))
    metric, pairs = create_metric(JUDGE, device="cpu"), noticed_pairs(table)
    measured = [
        metric(load_image(pair.reference)[None], load_image(pair.candidate)[None]).item()
        for pair in pairs
    ]
    distances = np.array(measured)
    observers = np.array([float(pair.observers or 0) for pair in pairs])
    said = observers * np.array([pair.seen for pair in pairs])
    same = distances <= 0
    alarms = float(said[same].sum() / observers[same].sum())

    def misfit(values: Array) -> float:
        share = JudgeFit(alarms, *map(float, np.exp(values))).share(distances[~same])
        share = np.clip(share, 1e-6, 1 - 1e-6)
        unsaid = (observers - said)[~same]
        return float(-(said[~same] * np.log(share) + unsaid * np.log(1 - share)).sum())

    start = np.log([np.median(distances[~same]), 1.0])
    half, slope = np.exp(minimize(misfit, start, method="Nelder-Mead").x)
    fitted = JudgeFit(alarms, float(half), float(slope))
    cache.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(fitted)))
    return fitted
