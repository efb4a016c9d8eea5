"""A batch of Algorithm 2 is attacked against the model as it is now, its clusters' centres first.

*Human Imperceptible Attacks and Applications to Improve Fairness*, appendix D: k-means within each
class, about 5 images a cluster; the image closest to the mean is the cluster's centre. Its
perturbation is tried first, and an image attacked only where that fails.
"""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from percert.attacks import Attack, Untargeted, run_attack
from percert.attacks.attack import evaluating
from percert.attacks.goal import Goal, Model
from percert.extras import install_extra
from percert.files import replacing
from percert.images import round_to_8bit
from percert.tensors import Images
from percert.training.distillation.teachers import last_linear_input
from percert.training.dro.images import to_bytes, to_float
from percert.training.dro.weighting import Bytes, Floats, Ints
from percert.training.engine.collective import Collective

#: About so many images share a centre (appendix D).
SIZE = 5.0
#: Rows that MiniBatchKMeans looks at in one of its steps; its own default, where memory allows.
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Clusters:
    """``member`` ``(n,)``: the cluster of each image; ``centre`` ``(k,)``: the image in its middle.

    A centre belongs to its own cluster, and a cluster to one class.
    """

    member: Ints
    centre: Ints

    def __len__(self) -> int:
        return len(self.centre)


def cluster_images(
    features: Callable[[Ints], Floats], labels: Ints, *, size: float = SIZE, seed: int = 0
) -> Clusters:
    """Clusters of about ``size`` images within each class, by ``MiniBatchKMeans``.

    ``features(rows)`` gives what the rows are compared by, ``(len(rows), d)``: one class at a time
    is in memory. Clusters without an image are dropped. Raises ``ValueError`` for a size below 1.
    Needs scikit-learn.

    >>> values = np.array([[0.0], [0.1], [0.2], [9.0], [9.2], [9.1], [0.1]])
    >>> found = cluster_images(lambda rows: values[rows], np.array([0, 0, 0, 0, 0, 0, 1]), size=3)
    >>> sorted(found.centre.tolist())  # the middle ones of both clumps; the other class has its own
    [1, 5, 6]
    """
    try:
        from sklearn.cluster import MiniBatchKMeans  # type: ignore[import-untyped]  # no types
    except ModuleNotFoundError:
        raise ValueError(f"clusters need scikit-learn: {install_extra('train')}") from None
    if not size >= 1:
        raise ValueError(f"cluster size: expected at least 1 image, found {size}")
    member = np.zeros(len(labels), np.int64)
    centres: list[int] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        values = np.asarray(features(rows), np.float64)
        count = max(1, round(len(rows) / size))
        means = MiniBatchKMeans(
            count, batch_size=CHUNK, n_init=3, random_state=seed, reassignment_ratio=0.0
        )
        with warnings.catch_warnings():  # fewer distinct images than clusters are no fault
            warnings.simplefilter("ignore")
            nearest = means.fit_predict(values)
        for cluster in np.unique(nearest):
            inside = np.flatnonzero(nearest == cluster)
            mean = values[inside].mean(0)
            away = np.square(values[inside] - mean).sum(1)
            member[rows[inside]] = len(centres)
            centres.append(int(rows[inside[away.argmin()]]))
    return Clusters(member, np.array(centres, np.int64))


def embedding_of(model: nn.Module) -> Callable[[Images], Tensor]:
    """What the model compares images by: ``model.embed``, or the input of its last linear layer.

    Raises ``ValueError`` for a model with neither.

    >>> from percert.models.small_resnet import small_resnet
    >>> embedding_of(small_resnet(width=4))(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 16])
    """
    own = getattr(model, "embed", None)
    if callable(own):
        return own  # type: ignore[no-any-return]  # attributes of modules have no types
    embed = last_linear_input(model)
    if embed is None:
        raise ValueError(
            f"clusters: {type(model).__name__} has no embed and no linear layer; cluster by pixels"
        )
    return torch.no_grad()(embed)


@torch.no_grad()
def try_changes(model: Model, images: Images, changes: Tensor, goal: Goal) -> tuple[Images, Tensor]:
    """``images`` with other images' perturbations, and where that reaches the goal, ``(n,)``.

    Both ``(n, 3, h, w)``; the result is clipped to [0, 1] and rounded to 8 bits. An image that is
    not changed has reached nothing.
    """
    moved = round_to_8bit((images + changes).clamp(0, 1))
    reached = goal.margin(goal.scores(model, moved)) > 0
    return moved, reached & (moved != images).flatten(1).any(1)


@dataclass
class AttackTally:
    """Counts of one round: images by what was done to them, calls of the model, seconds.

    ``centres`` were attacked before the round's first step, ``centre_seconds`` is their time;
    ``attack_seconds`` has them, and trying their perturbations, as well. Accuracies are those of
    the model at the end of the round: on clean images, on those held out, and on these attacked.
    """

    round: int
    images: int = 0
    wrong: int = 0
    spared: int = 0
    attacked: int = 0
    succeeded: int = 0
    centres: int = 0
    model_calls: int = 0
    attack_seconds: float = 0.0
    centre_seconds: float = 0.0
    step_seconds: float = 0.0
    clean_accuracy: float | None = None
    held_out_accuracy: float | None = None
    attacked_accuracy: float | None = None

    def add(self, parts: Iterable["AttackTally"]) -> None:
        """Add what processes did side by side: counts add up, the longest seconds count."""
        some = list(parts)
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + sum(getattr(part, name) for part in some))
        for name in SECONDS:
            setattr(self, name, getattr(self, name) + max(getattr(part, name) for part in some))


COUNTS = ("images", "wrong", "spared", "attacked", "succeeded", "centres", "model_calls")
SECONDS = ("attack_seconds", "centre_seconds", "step_seconds")


@dataclass(frozen=True, eq=False)
class Attacked:
    """``images`` as 8-bit files hold them, and of each: adversarial, wrong before, spared."""

    images: Images
    success: Tensor
    wrong: Tensor
    spared: Tensor


@dataclass(frozen=True, eq=False)
class Centres:
    """The perturbations of the clusters' centres in one round, in 8-bit levels."""

    clusters: Clusters
    levels: Tensor
    success: Tensor

    def of(self, sources: Ints, like: Images) -> tuple[Tensor, Tensor]:
        """The change for each clean image's cluster, in units of 1, and whether there is one."""
        cluster = torch.from_numpy(self.clusters.member[sources])
        return self.levels[cluster].to(like) / 255, self.success[cluster].to(like.device)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """``model`` in evaluation mode, and its weights without gradients, for as long as it takes."""
    needed = [(value, value.requires_grad) for value in model.parameters()]
    with evaluating(model, warn=False):
        model.requires_grad_(False)
        try:
            yield
        finally:
            for value, had in needed:
                value.requires_grad_(had)


def attack_batch(
    attack: Attack,
    model: nn.Module,
    images: Images,
    labels: Tensor,
    *,
    seeds: Tensor,
    tally: AttackTally,
    change: tuple[Tensor, Tensor] | None = None,
    attack_wrong: bool = False,
) -> Attacked:
    """Images ``(n, 3, h, w)`` after the attack, in [0, 1] and in whole 8-bit levels.

    Those that the model has wrong are left as they are, as Algorithm 1 stops at once on them,
    unless ``attack_wrong``. ``change``: (changes, which there are) of the clusters' centres, tried
    first. Success is judged after rounding to 8 bits. Adds what it took to ``tally``.
    """
    began = time.perf_counter()
    goal = Untargeted(labels)
    demanded = Untargeted(labels, float(getattr(attack, "confidence", 0.0)))
    result = images.clone()
    with frozen(model):
        with torch.no_grad():
            wrong = goal.margin(goal.scores(model, images)) > 0
        success, spared = torch.zeros_like(wrong), torch.zeros_like(wrong)
        todo = torch.ones_like(wrong) if attack_wrong else ~wrong
        if change is not None:
            rows = (todo & change[1]).nonzero()[:, 0]
            if len(rows):
                moved, reached = try_changes(
                    model, images[rows], change[0][rows], demanded.select(rows)
                )
                result[rows[reached]] = moved[reached]
                spared[rows[reached]] = success[rows[reached]] = True
            todo = todo & ~spared
        rows = todo.nonzero()[:, 0]
        if len(rows):
            found = run_attack(
                model,
                images[rows],
                goal.select(rows),
                attack,
                batch_size=len(rows),
                seeds=seeds[rows.cpu()],
            )
            result[rows] = found.verdict.images_8bit
            success[rows] = found.verdict.success_8bit
            tally.model_calls += found.model_calls
    tally.images += len(images)
    tally.wrong += int(wrong.sum())
    tally.spared += int(spared.sum())
    tally.attacked += len(rows)
    tally.succeeded += int(success.sum())
    tally.attack_seconds += time.perf_counter() - began
    return Attacked(round_to_8bit(result), success, wrong, spared)


def attack_centres(
    attack: Attack,
    model: nn.Module,
    images: Bytes,
    labels: Tensor,
    clusters: Clusters,
    path: Path,
    *,
    seeds: Tensor,
    batch: int,
    tally: AttackTally,
    group: Collective,
) -> Centres:
    """The centres' changes against the model as it is now; from ``path`` where they are there.

    ``images`` are the centres' own, uint8. The processes of ``group`` share them, and the first
    writes them, whole or not at all.
    """
    if all(group.gathered(path.exists())):
        with safe_open(path, "pt") as file:
            kept: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            spent = float(file.metadata()["seconds"])
            calls = int(file.metadata()["calls"])
    else:
        own = AttackTally(tally.round)
        where = next(model.parameters()).device
        mine = group.part(np.arange(len(images)))
        levels = np.zeros((len(mine), *images.shape[1:]), np.int16)
        success = torch.zeros(len(mine), dtype=torch.bool)
        for start in range(0, len(mine), batch):
            rows = mine[start : start + batch]
            found = attack_batch(
                attack,
                model,
                to_float(images[rows], where),
                labels[torch.from_numpy(rows)].to(where),
                seeds=seeds[torch.from_numpy(rows)],
                tally=own,
            )
            success[start : start + batch] = found.success.cpu()
            levels[start : start + batch] = to_bytes(found.images).astype(np.int16) - images[rows]
        parts = group.gathered((levels, success.numpy(), own))
        own = AttackTally(tally.round)
        own.add(part[2] for part in parts)
        kept = {
            "levels": torch.from_numpy(np.concatenate([part[0] for part in parts])),
            "success": torch.from_numpy(np.concatenate([part[1] for part in parts])),
        }
        spent, calls = own.attack_seconds, own.model_calls
        if group.first:
            with replacing(path) as unfinished:
                save_file(kept, unfinished, metadata={"seconds": repr(spent), "calls": str(calls)})
    tally.centres = len(images)
    tally.model_calls += calls
    tally.centre_seconds += spent
    tally.attack_seconds += spent
    return Centres(clusters, kept["levels"], kept["success"])
