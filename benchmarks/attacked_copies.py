"""How many copies are still found after an l2 attack on the candidate, on a stated subset."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from benchmarks.budgets import psnr, scaled
from benchmarks.copy_rates import copy_radii
from benchmarks.detectors import Detector
from benchmarks.edited import edited
from benchmarks.evasion import evade, random_start
from benchmarks.photographs import as_tensor
from percert.data.copy_edits import find_edit
from percert.images import round_to_8bit
from percert.norms import l2_norm

ATTACK_BUDGETS = (1.0, 4.0, 16.0)


@dataclass(frozen=True)
class AttackedRate:
    """One budget. ``rate`` is the share still found before rounding, ``rate_8bit`` after rounding
    to 8 bits, which moves the image by a length of its own: ``l2_8bit`` is the mean length of the
    whole change then, scaled to 299 px. ``certified`` is the proven share of the same copies.
    """

    eps: float
    psnr: float
    rate: float
    rate_8bit: float
    l2_8bit: float
    certified: float | None


@dataclass(frozen=True)
class AttackedRates:
    """The subset, the attack, and what is left; ``natural`` is the share found without attack."""

    photographs: int
    edits: list[str]
    steps: int
    threshold: float
    natural: float
    budgets: list[AttackedRate]


def attacked_rates(
    detector: Detector,
    photographs: Sequence[Image.Image],
    edits: Sequence[str],
    indices: Sequence[int],
    threshold: float,
    steps: int,
    seed: int,
) -> AttackedRates:
    """Attack the copies of the photographs at ``indices`` under ``edits`` at growing budgets.

    A copy that one budget hides is hidden at larger ones as well; the others start from what the
    smaller budget found. Raises ``ValueError`` where an attack beats a certificate.
    """
    parts = [
        _attack_edit(detector, photographs, name, indices, threshold, steps, seed) for name in edits
    ]
    found = np.concatenate([part.found for part in parts], axis=1)
    found_8bit = np.concatenate([part.found_8bit for part in parts], axis=1)
    lengths = np.concatenate([part.lengths for part in parts], axis=1)
    natural = np.concatenate([part.natural for part in parts])
    radii = [part.radii for part in parts if part.radii is not None]
    budgets = []
    for row, eps in enumerate(ATTACK_BUDGETS):
        certified = None
        if radii:
            proven = np.concatenate(radii) > eps
            if (proven & ~found[row]).any():
                raise ValueError(f"{detector.name}: an attack broke a certificate at l2 = {eps}")
            certified = float(proven.mean())
        budgets.append(
            AttackedRate(
                eps,
                psnr(eps),
                float(found[row].mean()),
                float(found_8bit[row].mean()),
                float(lengths[row].mean()),
                certified,
            )
        )
    return AttackedRates(
        len(indices), list(edits), steps, threshold, float(natural.mean()), budgets
    )


@dataclass(frozen=True)
class _Attacked:
    """One edit: by budget and photograph, but ``natural`` and ``radii`` by photograph."""

    natural: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    found: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    found_8bit: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    lengths: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    radii: np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None


def _attack_edit(
    detector: Detector,
    photographs: Sequence[Image.Image],
    name: str,
    indices: Sequence[int],
    threshold: float,
    steps: int,
    seed: int,
) -> _Attacked:
    originals = detector.describe(as_tensor([photographs[i] for i in indices]))
    images = as_tensor(edited(photographs, find_edit(name), seed, indices))
    size = (images.shape[2], images.shape[3])
    candidates = detector.describe(images)
    natural = _pair_distances(detector, candidates.vectors, originals.vectors) <= threshold
    radii = None
    if candidates.features is not None:
        radii = copy_radii(originals, candidates, size, threshold)
    # Copies that are missed anyway are not attacked: nothing is left to hide.
    best, hidden = images.clone(), ~torch.from_numpy(natural)
    found, found_8bit, lengths = [], [], []
    for eps in ATTACK_BUDGETS:
        budget = scaled(eps, size)
        left = torch.nonzero(~hidden).flatten()
        if len(left):
            start = best[left] - images[left] + random_start(images[left], budget, seed)
            best[left], hidden[left] = evade(
                detector,
                images[left],
                originals.vectors[left],
                threshold,
                budget,
                steps,
                start,
            )
        rounded = round_to_8bit(best)
        vectors = detector.describe(rounded).vectors
        found.append((~hidden).numpy())
        found_8bit.append(_pair_distances(detector, vectors, originals.vectors) <= threshold)
        lengths.append((l2_norm(rounded - images) / scaled(1.0, size)).double().numpy())
    return _Attacked(natural, np.stack(found), np.stack(found_8bit), np.stack(lengths), radii)


def _pair_distances(
    detector: Detector, queries: torch.Tensor, references: torch.Tensor
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    pairs = [
        detector.distances(query[None], reference[None])[0, 0]
        for query, reference in zip(queries, references, strict=True)
    ]
    return np.asarray(torch.stack(pairs))
