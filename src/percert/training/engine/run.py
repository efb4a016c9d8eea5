"""The training loop: batches, losses, steps, checkpoints, and where a loss stops being finite."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from percert.check import Argument, ArgumentError
from percert.lipschitz.orthogonal import retract
from percert.training.engine.loader import Cursors, Sharded
from percert.training.engine.output import (
    Checkpoint,
    Checkpoints,
    RunLog,
    load_optimizer,
    optimizer_tensors,
)
from percert.training.student import WeightAverage


class NonFiniteError(ValueError):
    """A loss or a gradient that is NaN or infinite: in which step, and in which layer."""


def non_finite(value: Any) -> bool:
    """Whether a tensor, or any in a tuple or list, holds NaN or infinity.

    >>> non_finite((torch.ones(2), torch.tensor([float("nan")])))
    True
    """
    if isinstance(value, Tensor):
        return value.is_floating_point() and not bool(value.isfinite().all())
    if isinstance(value, (tuple, list)):
        return any(map(non_finite, value))
    return False


def locate_non_finite(network: nn.Module, again: Callable[[], Any]) -> str:
    """Where NaN or infinity first is: a weight, or the first layer whose output is not finite.

    ``again`` repeats the forward pass of the batch.
    """
    for name, parameter in network.named_parameters():
        if non_finite(parameter):
            return f"the weight {name}"
    for name, parameter in network.named_parameters():
        if parameter.grad is not None and non_finite(parameter.grad):
            gradient = f"the gradient of {name}"
            break
    else:
        gradient = ""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, given: Any, output: Any) -> None:
            if not found and non_finite(output):
                kind = type(module).__name__
                found.append(
                    f"layer {name} ({kind}), whose input is "
                    + ("not finite either" if non_finite(given) else "finite")
                )

        return look

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in network.named_modules()
        if name and not list(module.children())
    ]
    try:
        with torch.no_grad():
            again()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else gradient or "the loss itself, of finite embeddings"


S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
S_contra = TypeVar("S_contra", contravariant=True)


@dataclass(frozen=True)
class Schedule:
    """How long, how fast. ``batch`` is a process's; several processes see that many times more.

    The rate warms up over ``warmup`` steps, stays for the share ``plateau`` of the steps and falls
    by half a cosine to 0. ``clip`` bounds the norm of the gradient (0: not at all), ``average`` is
    the decay of the weights' average (0: none), ``log_every`` and ``save_every`` count steps.
    ``epochs``, where it is not 0, says how often everything is seen, in place of ``steps``. The
    first ``bf16_share`` of the steps compute the network's layers in bf16; weights, losses and
    gradients of weights stay float32.
    """

    steps: int = 1000
    batch: int = 32
    learning_rate: float = 1e-3
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.0
    warmup: int = 50
    plateau: float = 0.0
    clip: float = 1.0
    average: float = 0.0
    log_every: int = 10
    save_every: int = 500
    workers: int = 2
    epochs: float = 0.0
    bf16_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.bf16_share <= 1:
            raise ValueError(f"schedule: expected bf16_share in [0, 1], found {self.bf16_share}")
        if self.epochs < 0:
            raise ValueError(f"schedule: expected epochs of at least 0, found {self.epochs}")
        if min(self.steps, self.batch, self.save_every, self.log_every) < 1:
            raise ValueError(
                "schedule: expected steps, batch, save_every and log_every of at least 1, found "
                f"{self.steps}, {self.batch}, {self.save_every} and {self.log_every}"
            )
        if not (0 <= self.plateau < 1 and 0 <= self.average < 1 and self.learning_rate > 0):
            raise ValueError(
                "schedule: expected plateau and average in [0, 1) and a learning_rate above 0, "
                f"found {self.plateau}, {self.average} and {self.learning_rate}"
            )

    def for_entries(self, *sources: Sharded[Any], whole: int) -> "Schedule":
        """This schedule with the steps of its epochs, of ``whole`` entries of ``sources`` each.

        >>> class Letters:
        ...     def shards(self): return ["ab", "cde"]
        ...     def entries(self, shard): return list(shard)
        >>> Schedule(epochs=40).for_entries(Letters(), whole=2).steps
        100
        """
        if not self.epochs:
            return self
        count = sum(len(one.entries(shard)) for one in sources for shard in one.shards())
        return replace(self, steps=max(1, round(self.epochs * count / whole)), epochs=0.0)

    def rate(self, step: int) -> float:
        """The learning rate of step number ``step``, from 0 on.

        >>> schedule = Schedule(steps=100, warmup=10, learning_rate=1.0)
        >>> schedule.rate(0), round(schedule.rate(50), 6)
        (0.1, 0.5)
        """
        fall = max(0.0, (step / self.steps - self.plateau) / (1 - self.plateau))
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        # Rounded, so that the cosine's last digits, which differ between machines, do not count.
        return self.learning_rate * warm * round(0.5 * (1 + math.cos(math.pi * fall)), 12)


class TrainingTask(Protocol[S_contra]):
    """What a run trains, and on what."""

    def losses(
        self, forward: Any, batch: Sequence[S_contra], device: torch.device, gather: Any
    ) -> Mapping[str, Tensor]:
        """The losses of a batch, each a mean over it, whose sum is trained.

        ``forward`` is the network as all processes train it; ``gather(x)`` joins the rows of all
        processes, with gradients.
        """


class Batches(Protocol[S_co]):
    """Where batches come from: a ``Loader`` of samples, or what draws a batch as a whole.

    ``batch`` counts the images of a process, ``world`` the processes.
    """

    @property
    def batch(self) -> int: ...

    @property
    def world(self) -> int: ...

    @property
    def order(self) -> Cursors: ...

    def batches(self, start: Any, /) -> Generator[tuple[Sequence[S_co], Any], None, None]:
        """Each batch with the cursor after it, from ``start`` on, without end."""


@dataclass(frozen=True)
class _Run(Generic[S]):
    """The parts of a run that stay the same from step to step."""

    fabric: Any
    network: nn.Module
    module: Any
    optimizer: Any
    average: WeightAverage | None
    state: Mapping[str, Tensor]


def run(
    task: TrainingTask[S],
    network: nn.Module,
    loader: Batches[S],
    schedule: Schedule,
    fabric: Any,
    out: Path,
    *,
    recipe: str,
    state: Mapping[str, Tensor] | None = None,
    tensorboard: bool = True,
) -> nn.Module:
    """Train ``network`` on ``task``, from the last checkpoint in ``out`` where there is one.

    ``recipe`` is all that the result depends on, as text: a checkpoint of another is refused.
    ``state`` are tensors that the task changes in place from step to step; checkpoints hold them,
    and fill them again. On a
    CPU the weights at the end are the same bits, however often the run was killed. Returns the
    network (its weights the average where ``schedule.average`` is set), in evaluation mode, without
    gradients. Raises :class:`NonFiniteError` where a loss or gradient is not finite.
    """
    if schedule.epochs:
        raise ValueError("schedule: this training counts steps and no epochs; give steps")
    checkpoints = Checkpoints(out / "checkpoints")
    found = checkpoints.latest()
    recipe = f"{recipe}\nglobal batch {loader.batch * loader.world}"
    if found is not None:
        if found.numbers["recipe"] != recipe:
            raise ArgumentError(
                f"{out}: holds a run of another recipe or global batch; give another ",
                Argument("out"),
                " or delete it",
            )
        network.load_state_dict(found.model)
    network.train()
    kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[schedule.optimizer]
    more = {"betas": (0.9, 0.99)} if schedule.optimizer == "adamw" else {"momentum": 0.9}
    optimizer: Any = kind(
        network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, **more
    )
    module, optimizer = fabric.setup(network, optimizer)
    average = WeightAverage(network, schedule.average) if schedule.average else None
    this = _Run[S](fabric, network, module, optimizer, average, state or {})
    step, cursor = 0, loader.order.start()
    if found is not None:
        _restore(this, found)
        step, cursor = found.step, loader.order.from_json(found.numbers["cursor"])
    whole = loader.batch * loader.world
    batches = loader.batches(cursor)
    try:
        with RunLog(
            out,
            first=step,
            steps=schedule.steps,
            images=whole,
            every=schedule.log_every,
            loud=fabric.is_global_zero,
            tensorboard=tensorboard,
        ) as log:
            while step < schedule.steps:
                batch, cursor = next(batches)
                for group in optimizer.param_groups:
                    group["lr"] = schedule.rate(step)
                values = _step(this, task, batch, schedule, step + 1)
                step += 1
                log.step(step, values)
                if step % schedule.save_every == 0 or step == schedule.steps:
                    log.keep(last=step == schedule.steps)
                    if fabric.is_global_zero:
                        held = loader.order.to_json(cursor)
                        checkpoints.save(_checkpoint(this, step, held, recipe))
                    fabric.barrier()
    finally:
        batches.close()
    if average is not None:
        network.load_state_dict(average.state_dict())
    return network.eval().requires_grad_(False)


def _step(
    this: _Run[S], task: TrainingTask[S], batch: Sequence[S], schedule: Schedule, step: int
) -> dict[str, float]:
    fabric, network = this.fabric, this.network

    def gather(rows: Tensor) -> Tensor:
        if fabric.world_size == 1:
            return rows
        joined: Tensor = fabric.all_gather(rows, sync_grads=True)
        return joined.flatten(0, 1)

    forward = this.module
    if step <= schedule.bf16_share * schedule.steps:
        forward = _in_bf16(forward, fabric.device)
    losses = task.losses(forward, batch, fabric.device, gather)
    total = torch.stack(list(losses.values())).sum()
    this.optimizer.zero_grad()
    fabric.backward(total)
    bound = schedule.clip or math.inf
    norm = nn.utils.clip_grad_norm_(network.parameters(), bound)
    bad = not (bool(torch.isfinite(norm)) and bool(torch.isfinite(total)))
    if fabric.world_size > 1:  # all stop together: one alone would leave the others waiting
        mine = torch.tensor(float(bad), device=fabric.device)
        bad = bool(fabric.all_reduce(mine, reduce_op="max"))
    if bad:
        where = locate_non_finite(
            network, lambda: task.losses(network, batch, fabric.device, lambda x: x)
        )
        said = {name: loss.item() for name, loss in losses.items()}
        raise NonFiniteError(f"step {step}: the loss is not finite ({said}): {where}")
    this.optimizer.step()
    retract(network)
    if this.average is not None:
        this.average.update(network)
    values = {name: loss.item() for name, loss in losses.items()}
    return {"loss": total.item(), **values, "gradient": norm.item()}


def _in_bf16(module: Any, device: torch.device) -> Callable[[Tensor], Tensor]:
    """``module`` whose products are computed in bf16, and what it gives as float32."""

    def forward(images: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            rounded: Tensor = module(images)
        return rounded.float()

    return forward


def _checkpoint(this: _Run[S], step: int, cursor: dict[str, Any], recipe: str) -> Checkpoint:
    tensors = optimizer_tensors(this.optimizer)
    numbers: dict[str, Any] = {"recipe": recipe, "cursor": cursor}
    if this.average is not None:
        tensors |= {f"average.{name}": value for name, value in this.average.tensors.items()}
        numbers["averaged"] = this.average.steps
    tensors |= {f"task.{name}": value for name, value in this.state.items()}
    return Checkpoint(step, dict(this.network.state_dict()), tensors, numbers)


def _restore(this: _Run[S], found: Checkpoint) -> None:
    load_optimizer(this.optimizer, found.tensors)
    if this.average is not None:
        this.average.steps = int(found.numbers["averaged"])
        for name, value in this.average.tensors.items():
            value.copy_(found.tensors[f"average.{name}"])
    for name, value in this.state.items():
        value.copy_(found.tensors[f"task.{name}"])
