"""How good a model is meanwhile: on clean images, on images held out, and on these under attack."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from percert.attacks import Attack
from percert.training.dro.attack import AttackTally, attack_batch, frozen
from percert.training.dro.images import TrainingImages, to_float
from percert.training.dro.weighting import Bytes, Ints, stream

#: Images that are judged at most; attacks take longer, so fewer are attacked.
MOST, MOST_ATTACKED = 2000, 256
_BATCH = 64


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Images that nothing is trained on, and the attack on the first of them."""

    images: TrainingImages
    attack: Attack
    seed: int = 0


def share_right(
    model: nn.Module, read: Callable[[Ints], Bytes], labels: Ints, *, most: int = MOST
) -> float:
    """The share of the first ``most`` images that ``model``, in evaluation mode, has right."""
    where = next(model.parameters()).device
    count = min(most, len(labels))
    right = 0
    with frozen(model), torch.no_grad():
        for start in range(0, count, _BATCH):
            rows = np.arange(start, min(start + _BATCH, count))
            found = model(to_float(read(rows), where)).argmax(1).cpu().numpy()
            right += int((found == labels[rows]).sum())
    return right / count


def held_out_accuracy(model: nn.Module, held: HeldOut) -> tuple[float, float]:
    """The share of held-out images that are right, and that are right still when attacked.

    The second is of the first images only, and judged after rounding to 8 bits.
    """
    where = next(model.parameters()).device
    images, tally = held.images, AttackTally(0)
    count = min(MOST_ATTACKED, len(images))
    seeds = torch.from_numpy(stream(held.seed, 7).integers(0, 2**62, count))
    for start in range(0, count, _BATCH):
        rows = np.arange(start, min(start + _BATCH, count))
        attack_batch(
            held.attack,
            model,
            to_float(images.read(rows), where),
            torch.from_numpy(images.labels[rows]).to(where),
            seeds=seeds[rows],
            tally=tally,
        )
    standing = 1 - (tally.wrong + tally.succeeded) / count
    return share_right(model, images.read, images.labels), standing
