"""Training ``lipsim-tiny``: copies, distortions, classes and a teacher, in raw radii.

Ends in the same weights on the same machine and thread count, whether it was interrupted or not:
the state of the random generator is part of every checkpoint.
"""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from percert.lipschitz.network import LipschitzNetwork
from percert.lipschitz.tiny import RESOLUTION, tiny_network
from percert.tensors import Images
from percert.training.batch_edits import downsample, random_edit
from percert.training.distortions import distortion_pair
from percert.training.losses import copy_loss, distillation_loss, twoafc_loss
from percert.training.photographs import (
    Pool,
    draw_pairs,
    draw_photographs,
    labelled_pool,
    photograph_pool,
)
from percert.training.recipe import Recipe
from percert.training.teacher import principal_targets, teacher_features

LOG = logging.getLogger(__name__)
#: Photographs are cropped at twice the network's size, so that crops of crops keep their detail.
BASE_SIZE = 2 * RESOLUTION[0]
#: The teacher sees photographs and the small labelled images at these sizes.
TEACHER_SIZE, TEACHER_SMALL = 208, 112
#: Where a run keeps what it needs to go on.
STATE = "state.pt"


@dataclass(frozen=True)
class Corpus:
    """The images of a run, and the teacher's targets, one row an image (photographs first)."""

    photographs: Pool
    labelled: Pool
    targets: Tensor | None


def read_corpus(recipe: Recipe, root: Path) -> Corpus:
    """Decode every image that the recipe names, and ask the teacher where it is wanted."""
    photographs = photograph_pool(root, recipe.data)
    labelled = labelled_pool(root, recipe.data, recipe.seed)
    LOG.info("%d photographs, %d labelled", len(photographs.images), len(labelled.images))
    if not recipe.distillation.weight:
        return Corpus(photographs, labelled, None)
    weights = root / recipe.data.teacher
    features = torch.cat(
        (
            teacher_features(weights, photographs.images, TEACHER_SIZE),
            teacher_features(weights, labelled.images, TEACHER_SMALL),
        )
    )
    settings = recipe.distillation
    return Corpus(
        photographs, labelled, principal_targets(features, settings.dimensions, settings.scale)
    )


def train(
    recipe: Recipe,
    root: Path,
    out: Path,
    *,
    start: Path | None = None,
    progress: Callable[[int, dict[str, float]], None],
) -> LipschitzNetwork:
    """Run ``recipe`` on the data under ``root``; goes on from ``out/state.pt`` where there is one.

    A run that begins takes its weights from ``start``, a file that an earlier run ended with, where
    one is given; one that goes on has its own. Writes ``out/state.pt`` every ``save_every`` steps
    and ``out/lipsim-tiny.safetensors`` at the end, each whole or not at all. Raises ``ValueError``
    if ``start`` is no such file, or of a network of another shape, and ``RuntimeError`` if the loss
    stops being a number.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    network = tiny_network(recipe.network).train()
    if start is not None and not (out / STATE).exists():
        _begin_from(start, network)
    corpus = read_corpus(recipe, root)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.schedule.learning_rate, weight_decay=0, betas=(0.9, 0.99)
    )
    generator = Generator().manual_seed(recipe.seed)
    first = _resume(out / STATE, recipe, network, optimizer, generator)
    for step in range(first, recipe.schedule.steps):
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        losses = step_losses(recipe, corpus, network, generator)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise RuntimeError(f"step {step}: the loss is not a number: {losses}")
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(network.parameters(), recipe.schedule.clip)
        optimizer.step()
        report = {name: loss.item() for name, loss in losses.items()}
        progress(step + 1, report | {"seconds": time.perf_counter() - started})
        if (step + 1) % recipe.schedule.save_every == 0:
            state = {
                "recipe": repr(recipe),
                "step": step + 1,
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "generator": generator.get_state(),
            }
            _write(out / STATE, partial(torch.save, state))
    network.eval().requires_grad_(False)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    _write(out / f"{recipe.name}.safetensors", partial(save_file, weights))
    return network


def learning_rate(recipe: Recipe, step: int) -> float:
    """Warm-up, a plateau, half a cosine down to 0."""
    schedule = recipe.schedule
    done = step / schedule.steps
    fall = max(0.0, (done - schedule.plateau) / (1 - schedule.plateau))
    cosine = 0.5 * (1 + math.cos(math.pi * fall))
    return schedule.learning_rate * min(1.0, (step + 1) / schedule.warmup) * cosine


def step_losses(
    recipe: Recipe, corpus: Corpus, network: nn.Module, generator: Generator
) -> dict[str, Tensor]:
    """The weighted losses of one batch, drawn with ``generator``."""
    schedule = recipe.schedule
    count = len(corpus.photographs.images)
    photos, rows = draw_photographs(corpus.photographs, schedule.photographs, BASE_SIZE, generator)
    pairs, pair_rows = draw_pairs(corpus.labelled, schedule.labelled, BASE_SIZE, generator)
    base = torch.cat((photos, pairs))
    identity = torch.cat((rows, count + pair_rows))
    edited = random_edit(base, base.roll(1, 0), recipe.edits, generator)
    standard = downsample(base, RESOLUTION[0])
    batch: list[Images] = [standard, edited]
    if recipe.distortions.weight:
        batch += distortion_pair(base[: schedule.triplets], generator)
    embeddings = network(torch.cat(batch))
    here, there, *rest = embeddings.split([len(part) for part in batch])
    copies = recipe.copies
    losses = {
        "copies": copy_loss(
            there,
            here,
            identity,
            threshold_angle=math.radians(copies.threshold_degrees),
            margin=copies.margin,
            temperature=copies.temperature,
            hardest=copies.hardest,
        )
    }
    if recipe.distortions.weight:
        milder, stronger = rest
        losses["distortions"] = recipe.distortions.weight * twoafc_loss(
            here[: schedule.triplets],
            milder,
            stronger,
            margin=recipe.distortions.margin,
            temperature=recipe.distortions.temperature,
        )
    if recipe.semantics.weight:
        losses["semantics"] = recipe.semantics.weight * _semantic_loss(
            recipe, corpus, here[schedule.photographs :], pair_rows
        )
    if corpus.targets is not None:
        target = corpus.targets[identity]
        losses["distillation"] = recipe.distillation.weight * distillation_loss(here, there, target)
    return losses


def _semantic_loss(recipe: Recipe, corpus: Corpus, embeddings: Tensor, rows: Tensor) -> Tensor:
    """Every pair of one class against every image of another class in the batch."""
    labels = corpus.labelled.labels[rows]
    index = torch.arange(len(rows))
    reference, other = torch.where(labels[:, None] != labels[None])
    if not len(reference):  # every pair drawn is of one class: nothing to compare
        return embeddings.sum() * 0
    partner = index ^ 1  # rows come in pairs
    return twoafc_loss(
        embeddings[reference],
        embeddings[partner[reference]],
        embeddings[other],
        margin=recipe.semantics.margin,
        temperature=recipe.semantics.temperature,
    )


def _begin_from(path: Path, network: nn.Module) -> None:
    try:
        held = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: not weights that a run could begin from ({error})") from error
    shapes, expected = (
        {name: tuple(value.shape) for name, value in tensors.items()}
        for tensors in (held, network.state_dict())
    )
    odd = sorted(
        name for name in shapes.keys() | expected if shapes.get(name) != expected.get(name)
    )
    if odd:
        raise ValueError(
            f"{path}: weights of a network of another shape than the recipe's: for {odd[0]} "
            f"expected {expected.get(odd[0], 'nothing')}, found {shapes.get(odd[0], 'nothing')}"
        )
    network.load_state_dict(held)


def _resume(
    path: Path, recipe: Recipe, network: nn.Module, optimizer: Any, generator: Generator
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["recipe"] != repr(recipe):
        raise ValueError(f"{path}: was written by another recipe; give another --out or delete it")
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    LOG.info("going on from step %d", state["step"])
    return int(state["step"])


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Write beside ``path``, then rename: a kill leaves the old file or the new one."""
    unfinished = path.with_name(path.name + ".partial")
    write(unfinished)
    os.replace(unfinished, path)
