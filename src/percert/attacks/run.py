"""Run an attack over many images: in batches that fit, counted, timed, judged."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from percert.attacks.attack import Attack, Watch, check_attack, evaluating, for_images
from percert.attacks.catalog import as_attack
from percert.attacks.goal import Goal, Model
from percert.attacks.threat import Threat, select_threat, threat_of
from percert.attacks.verdict import Verdict, join_verdicts, judge
from percert.metrics.metric import Distance
from percert.tensors import Embeddings, Images


@dataclass(frozen=True, eq=False)
class AttackResult:
    """The :class:`~percert.attacks.verdict.Verdict` on n images, and what it took to attack them.

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
