"""Run an attack over many images in batches that fit, and judge what comes of it.

:func:`judge` is the only place that decides whether an attack succeeded.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from percert.attacks.attack import Attack, Watch, check_attack, evaluating, for_images
from percert.attacks.catalog import as_attack
from percert.attacks.goal import Goal, Model
from percert.attacks.threat import (
    NORMS,
    Threat,
    Unbounded,
    length,
    round_inside,
    select_threat,
    threat_of,
)
from percert.check import check_images, check_same_shape
from percert.images import round_to_8bit
from percert.metrics.metric import Distance
from percert.tensors import Embeddings, Images, Vector


@dataclass(frozen=True, eq=False)
class Verdict:
    """What became of each of n images.

    ``images`` as the attack returned them, ``images_8bit`` as a file holds them: rounded to stay
    within the threat where there is such an image (:mod:`percert.attacks.threat`).
    ``achieved`` and ``achieved_8bit``: the goal is reached by an image that differs from the
    original; ``within_threat`` and ``within_threat_8bit``: it was allowed. ``outside_8bit``: no
    success as a file, but the nearest 8-bit image would reach the goal; it lies outside the threat.
    ``distances``: by name, ``(n,)`` each, of the **8-bit** images from the originals.
    """

    images: Images
    images_8bit: Images
    achieved: Tensor
    achieved_8bit: Tensor
    within_threat: Tensor
    within_threat_8bit: Tensor
    outside_8bit: Tensor
    margin: Vector
    margin_8bit: Vector
    distances: dict[str, Vector]

    @property
    def success(self) -> Tensor:
        """Reached, and allowed, as returned."""
        return self.achieved & self.within_threat

    @property
    def success_8bit(self) -> Tensor:
        """Reached, and allowed, as a file."""
        return self.achieved_8bit & self.within_threat_8bit


def join_verdicts(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict on the images of all, in their order; at least one, with the same distances."""
    values = {
        field.name: torch.cat([getattr(verdict, field.name) for verdict in verdicts])
        for field in fields(Verdict)
        if field.name != "distances"
    }
    distances = {
        name: torch.cat([verdict.distances[name] for verdict in verdicts])
        for name in verdicts[0].distances
    }
    return Verdict(**values, distances=distances)


@torch.no_grad()
def judge(
    model: Model,
    images: Images,
    adversarial: Images,
    goal: Goal | Tensor,
    *,
    threat: Threat | None = None,
    metrics: Mapping[str, Distance] | None = None,
) -> Verdict:
    """Judge ``adversarial`` images of ``images``, both ``(n, 3, h, w)`` in [0, 1].

    Success is decided before and after rounding to 8 bits, which does not lead out of the
    ``threat``: what was allowed (anything where ``None``). ``metrics`` are further distances by
    name; l1, l2 and linf are always there. An unchanged image is no adversarial image, even where
    the model was wrong to begin with. Raises ``ValueError`` for batches that do not fit, for pixels
    that are NaN or outside [0, 1], and for scores that are NaN or infinite.

    >>> from percert.attacks.goal import Untargeted
    >>> model = lambda images: torch.stack([1 - images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1)
    >>> black = torch.zeros(1, 3, 4, 4)
    >>> verdict = judge(model, black, black + 0.7, Untargeted(torch.tensor([0])))
    >>> verdict.success_8bit, round(verdict.distances["linf"].item(), 4)
    (tensor([True]), 0.698)
    """
    goal = check_attack(images, goal)
    check_images(adversarial, "adversarial")
    check_same_shape(images, adversarial, "adversarial")
    threat = threat or Unbounded()
    nearest = round_to_8bit(adversarial)
    with evaluating(model):
        files = round_inside(threat, images, adversarial)
        margin = _margin(model, adversarial, goal)
        margin_8bit = _margin(model, files, goal)
        within_8bit = threat.within(images, files)
        achieved_8bit = (margin_8bit > 0) & _differs(images, files)
        reached_outside = achieved_8bit & ~within_8bit
        moved = _differs(nearest, files).nonzero()[:, 0]
        margin_outside = _margin(model, nearest[moved], goal.select(moved))
        reached_outside[moved] = margin_outside > 0
    change = files - images
    distances: dict[str, Vector] = {norm: length(change, norm) for norm in NORMS}
    for name, metric in (metrics or {}).items():
        distances[name] = metric(images, files) if len(images) else images.new_zeros(0)
    return Verdict(
        images=adversarial,
        images_8bit=files,
        achieved=(margin > 0) & _differs(images, adversarial),
        achieved_8bit=achieved_8bit,
        within_threat=threat.within(images, adversarial),
        within_threat_8bit=within_8bit,
        outside_8bit=reached_outside & ~(achieved_8bit & within_8bit),
        margin=margin,
        margin_8bit=margin_8bit,
        distances=distances,
    )


def _margin(model: Model, images: Images, goal: Goal) -> Vector:
    return goal.margin(goal.scores(model, images)) if len(images) else images.new_zeros(0)


def _differs(images: Images, others: Images) -> Tensor:
    return (images != others).flatten(1).any(1)


@dataclass(frozen=True, eq=False)
class AttackResult:
    """The :class:`~percert.attacks.run.Verdict` on n images, and what it took to attack them.

    ``index`` (``(n,)``) says which of the images these are. ``model_calls`` counts images passed
    through the model by the attack (a forward pass of n images is n calls; each backward pass
    belongs to one), ``seconds`` its wall-clock time and ``cpu_seconds`` the time of all processors
    in this process, judging not included.
    """

    index: Tensor
    verdict: Verdict
    model_calls: int
    seconds: float
    cpu_seconds: float


class CountedModel:
    """The model, counting the images that pass through it.

    >>> counted = CountedModel(lambda images: images.mean((2, 3)))
    >>> _ = counted(torch.zeros(5, 3, 4, 4)); counted.calls
    5
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.calls = 0
        inner = getattr(model, "embed", None)
        self.embed: Callable[[Images], Embeddings] | None = inner and self._counted(inner)

    def __call__(self, *images: Images) -> Tensor:
        self.calls += len(images[0])
        return self.model(*images)

    def _counted(self, embed: Callable[[Images], Embeddings]) -> Callable[[Images], Embeddings]:
        def counted(images: Images) -> Embeddings:
            self.calls += len(images)
            return embed(images)

        return counted


def timed_attack(
    attack: Attack, model: CountedModel, images: Images, goal: Goal, seeds: Tensor
) -> tuple[Images, float]:
    """What ``attack`` makes of ``images``, not judged, and its seconds; ``model`` has the calls."""
    began = time.perf_counter()
    moved = attack(model, images, goal, seeds=seeds).detach()
    if moved.is_cuda:
        torch.cuda.synchronize(moved.device)
    return moved, time.perf_counter() - began


def run_attack(
    model: Model,
    images: Images,
    goal: Goal | Tensor,
    attack: Attack | str = "ssim-sqp",
    *,
    threat: Threat | None = None,
    metrics: Mapping[str, Distance] | None = None,
    batch_size: int = 32,
    seeds: Tensor | None = None,
    watch: Watch | None = None,
    seconds: float | None = None,
    **settings: Any,
) -> AttackResult:
    """Attack all ``images`` (``(n, 3, h, w)`` in [0, 1]) and judge them: one result for all.

    Also :func:`percert.attack`. ``goal`` is what is wanted, or labels (``(n,)`` integers from 0)
    whose class each image is to leave. ``attack`` is an attack, or the name of one, as on a command
    line (``"pgd:steps=40"``); further keywords are settings of it, ``eps`` among them. A setting
    may be a tensor ``(n,)``, one an image, where the attack has a budget.

    ``threat`` is what counts as allowed; where ``None``, the attack's own budget, if it has one.
    ``metrics`` are measured between each image and its 8-bit adversarial one. A model in training
    mode is put into evaluation mode and back, with a warning. The work is done in batches; one that
    does not fit into memory is halved and done again, down to single images. ``seeds`` (``(n,)``,
    default 0, 1, 2, ...) belong to images, so a result does not depend on ``batch_size``.
    ``seconds`` is a time budget for each batch, looked at between iterations.

    >>> model = lambda images: torch.stack([1 - images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1)
    >>> dark = torch.full((50, 3, 4, 4), 0.4)
    >>> labels = torch.zeros(50, dtype=torch.long)
    >>> result = run_attack(model, dark, labels, "fmn", norm="linf")
    >>> int(result.verdict.success_8bit.sum())
    50
    """
    batches = iter_attack(
        model,
        images,
        goal,
        attack,
        threat=threat,
        metrics=metrics,
        batch_size=batch_size,
        seeds=seeds,
        watch=watch,
        seconds=seconds,
        **settings,
    )
    results = list(batches)
    return AttackResult(
        index=torch.cat([result.index for result in results]),
        verdict=join_verdicts([result.verdict for result in results]),
        model_calls=sum(result.model_calls for result in results),
        seconds=sum(result.seconds for result in results),
        cpu_seconds=sum(result.cpu_seconds for result in results),
    )


def iter_attack(
    model: Model,
    images: Images,
    goal: Goal | Tensor,
    attack: Attack | str = "ssim-sqp",
    *,
    threat: Threat | None = None,
    metrics: Mapping[str, Distance] | None = None,
    batch_size: int = 32,
    seeds: Tensor | None = None,
    watch: Watch | None = None,
    seconds: float | None = None,
    **settings: Any,
) -> Iterator[AttackResult]:
    """Attack ``images`` as :func:`run_attack` does; yields each batch's result as it is there.

    No images are one result of none.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, found {batch_size}")
    goal = check_attack(images, goal)
    made = for_images(as_attack(attack, **settings), torch.arange(len(images)), of=len(images))
    numbers = torch.arange(len(images)) if seeds is None else seeds

    def one_batch(index: Tensor) -> AttackResult:
        chosen = index.to(images.device)
        # Channels last halves the time of a convolution forward and back on a CPU.
        batch = images[chosen].contiguous(memory_format=torch.channels_last)
        some, mine = goal.select(chosen), for_images(made, index)
        counted = CountedModel(model)
        began, cpu_began = time.perf_counter(), time.process_time()

        def watching(done: int, total: int, active: int) -> bool:
            if seconds is not None and time.perf_counter() - began > seconds:
                return False
            return watch is None or watch(done, total, active)

        moved = batch.clone()
        if len(batch):
            moved = mine(counted, batch, some, seeds=numbers[index], watch=watching)
        if batch.is_cuda:
            torch.cuda.synchronize(batch.device)
        took, cpu_took = time.perf_counter() - began, time.process_time() - cpu_began
        allowed = threat_of(mine, model, batch) if threat is None else select_threat(threat, index)
        verdict = judge(model, batch, moved, some, threat=allowed, metrics=metrics)
        return AttackResult(index, verdict, counted.calls, took, cpu_took)

    def batches() -> Iterator[AttackResult]:
        start, size = 0, batch_size
        while start < len(images) or start == 0:
            index = torch.arange(start, min(start + size, len(images)))
            try:
                with evaluating(model):
                    result = one_batch(index)
            except torch.OutOfMemoryError:
                if len(index) == 1:
                    raise
                torch.cuda.empty_cache()
                size = max(1, len(index) // 2)
                continue
            yield result
            start += max(len(index), 1)

    return batches()
