"""PGD and Auto-PGD: projected gradient ascent in an l2 or linf ball."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from percert.attacks.attack import Watch, go_on, prepared
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.steps import (
    BALL_NORMS,
    BallNorm,
    Best,
    generators,
    loss_slope,
    random_point,
    steepest,
)
from percert.attacks.threat import Eps, LpBall, Threat, check_eps, per_image
from percert.check import check_choice
from percert.tensors import Images, Vector, per_sample

#: The share of the way that a step of APGD goes to the new point; the rest repeats the last step.
MOMENTUM = 0.75


@dataclass(frozen=True, kw_only=True)
class PGD:
    """Projected gradient ascent in an l2 or linf ball (Madry et al. 2018, arXiv:1706.06083).

    ``eps`` is the radius, a number or one an image ``(n,)``. ``steps`` steps of length ``step``
    (2.5 eps / steps where ``None``), each a forward and a backward pass. The first of ``restarts``
    runs starts at a random point of the ball, or with ``random_start=False`` at the image itself;
    later ones are always random. An image is done as soon as it reaches the goal; ``stop=False``
    goes on to the end, for the highest ``loss``. What comes back of each image is the best of all
    steps and restarts: one that reaches the goal first, then by the loss.

    Against a metric's embedding (:class:`~percert.attacks.goal.MoveEmbedding`) this is the attack
    of LipSim, section 5.1, Q2; there the start must be random, for the gradient at the image is 0.

    >>> model = lambda images: torch.stack([1 - images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1)
    >>> dark, labels = torch.full((1, 3, 4, 4), 0.4), torch.tensor([0])
    >>> moved = PGD(norm="linf", eps=0.11)(model, dark, labels)
    >>> model(moved).argmax(1), bool((moved - dark).abs().max() <= 0.11)
    (tensor([1]), True)
    """

    norm: BallNorm = "l2"
    eps: Eps = 1.0
    steps: int = 40
    step: float | None = None
    loss: LossName = "cross-entropy"
    random_start: bool = True
    restarts: int = 1
    stop: bool = True

    def __post_init__(self) -> None:
        check_choice(self.norm, BALL_NORMS, "norm")
        check_choice(self.loss, LOSSES, "loss")
        check_eps(self.eps)

    def threat(self, model: Model, images: Images) -> Threat:
        return LpBall(self.norm, self.eps)

    @prepared
    def __call__(
        self,
        model: Model,
        images: Images,
        goal: Goal,
        *,
        seeds: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Images:
        return self.climb(model, images, goal, seeds=seeds, watch=watch)

    @prepared
    def climb(
        self,
        model: Model,
        images: Images,
        goal: Goal,
        *,
        start: Images | None = None,
        seeds: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Images:
        """As a call; the first run begins at the images ``start``, if given, put into the ball."""
        ball, radius = LpBall(self.norm, self.eps), per_image(self.eps, images)
        step = 2.5 * self.eps / max(self.steps, 1) if self.step is None else self.step
        length = per_image(step, images)
        sources = generators(seeds, len(images))
        best = Best(images)
        for restart in range(self.restarts):
            active = best.remaining(everyone=not self.stop)
            now = images[active]
            if start is not None and not restart:
                now = ball.select(active).project(now, start[active])
            elif (self.random_start or restart) and len(active):
                chosen = [sources[row] for row in active.tolist()]
                now = random_point(now, self.norm, radius[active], chosen)
            for done in range(self.steps + 1):
                at = restart * (self.steps + 1) + done
                if not go_on(watch, at, self.restarts * (self.steps + 1), len(active)):
                    return best.images
                some = goal.select(active)
                slope, scores = loss_slope(model, now, some, self.loss)
                reached = some.margin(scores) > 0
                best.offer(active, now, some.loss(scores, self.loss), reached)
                if self.stop:
                    active, now, slope = active[~reached], now[~reached], slope[~reached]
                ahead = now + per_sample(length[active], slope) * steepest(slope, self.norm)
                now = ball.select(active).project(images[active], ahead)
        return best.images


@dataclass(frozen=True, kw_only=True)
class APGD:
    """Auto-PGD: projected ascent that halves its own steps (Croce and Hein 2020, 2003.01690).

    Algorithm 1, from a random point of the ball of ``eps`` (a number, or one an image): steps of
    length 2 eps at first, with momentum, halved at :func:`checkpoints` where less than the share
    ``rho`` of the steps raised the ``loss``, and then continued from the best point. An image is
    done as soon as it reaches the goal; ``stop=False`` goes on for the highest loss. A step costs a
    forward and a backward pass.
    """

    norm: BallNorm = "l2"
    eps: Eps = 1.0
    steps: int = 100
    loss: LossName = "cross-entropy"
    restarts: int = 1
    rho: float = 0.75
    stop: bool = True

    def __post_init__(self) -> None:
        check_choice(self.norm, BALL_NORMS, "norm")
        check_choice(self.loss, LOSSES, "loss")
        check_eps(self.eps)

    def threat(self, model: Model, images: Images) -> Threat:
        return LpBall(self.norm, self.eps)

    @prepared
    def __call__(
        self,
        model: Model,
        images: Images,
        goal: Goal,
        *,
        seeds: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Images:
        radius = per_image(self.eps, images)
        sources = generators(seeds, len(images))
        best = Best(images)
        marks = set(checkpoints(self.steps))
        for restart in range(self.restarts):
            active = best.remaining(everyone=not self.stop)
            if not len(active):
                break
            chosen = [sources[row] for row in active.tolist()]
            start = random_point(images[active], self.norm, radius[active], chosen)
            climb = _start(active, images[active], start, 2 * radius[active])
            before = 0
            for done in range(self.steps + 1):
                at = restart * (self.steps + 1) + done
                if not go_on(watch, at, self.restarts * (self.steps + 1), len(climb.index)):
                    return best.images
                if done:
                    self._step(climb, momentum=MOMENTUM if done > 1 else 1.0)
                reached = self._look(climb, model, goal, best)
                if not done:  # what is counted and compared begins here
                    climb.rises, climb.value_before = climb.rises * 0, climb.value.clone()
                if done in marks:
                    _maybe_halve(climb, self.rho * (done - before))
                    before = done
                if self.stop and reached.any():
                    climb = climb.keep(~reached)
                    if not len(climb.index):
                        break
        return best.images

    def _step(self, climb: "_Climb", momentum: float) -> None:
        ball = LpBall(self.norm, self.eps).select(climb.index)
        length = per_sample(climb.length, climb.now)
        ahead = ball.project(climb.origin, climb.now + length * steepest(climb.slope, self.norm))
        repeated = climb.now - climb.last
        moved = climb.now + momentum * (ahead - climb.now) + (1 - momentum) * repeated
        climb.last, climb.now = climb.now, ball.project(climb.origin, moved)

    def _look(self, climb: "_Climb", model: Model, goal: Goal, best: Best) -> Tensor:
        """Evaluate where the images are, remember the best; which of them reach the goal."""
        some = goal.select(climb.index)
        slope, scores = loss_slope(model, climb.now, some, self.loss)
        value = some.loss(scores, self.loss).to(climb.now)
        reached = some.margin(scores) > 0
        best.offer(climb.index, climb.now, value, reached)
        climb.rises = climb.rises + (value > climb.value)
        climb.slope, climb.value = slope, value
        better = value > climb.best_value
        climb.best = torch.where(per_sample(better, slope), climb.now, climb.best)
        climb.best_slope = torch.where(per_sample(better, slope), slope, climb.best_slope)
        climb.best_value = torch.where(better, value, climb.best_value)
        return reached


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size is looked at: w_j = ceil(p_j N), their section 3.2.

    >>> checkpoints(100)
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    last, now, found = 0.0, 0.22, []
    while now <= 1:
        found.append(math.ceil(now * steps))
        last, now = now, round(now + max(now - last - 0.03, 0.06), 10)
    return found


@dataclass
class _Climb:
    """Where each image stands; all rows belong to the images in ``index``."""

    index: Tensor
    origin: Images
    now: Images
    last: Images
    slope: Tensor
    value: Vector
    best: Images
    best_slope: Tensor
    best_value: Vector
    length: Vector
    rises: Tensor
    value_before: Vector
    halved: Tensor

    def keep(self, rows: Tensor) -> "_Climb":
        return _Climb(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def _start(index: Tensor, origin: Images, now: Images, length: Vector) -> _Climb:
    low, zeros = torch.full_like(length, float("-inf")), torch.zeros_like(now)
    return _Climb(
        index=index,
        origin=origin,
        now=now,
        last=now,
        slope=zeros,
        value=low,
        best=now,
        best_slope=zeros,
        best_value=low,
        length=length,
        rises=torch.zeros_like(index),
        value_before=low,
        halved=torch.zeros_like(index, dtype=torch.bool),
    )


def _maybe_halve(climb: _Climb, enough: float) -> None:
    """Halve the step where fewer than ``enough`` steps rose, or where nothing came of the last.

    Such an image goes on from its best point.
    """
    stuck = ~climb.halved & (climb.best_value <= climb.value_before)
    cut = (climb.rises < enough) | stuck
    climb.length = torch.where(cut, climb.length / 2, climb.length)
    climb.now = torch.where(per_sample(cut, climb.now), climb.best, climb.now)
    climb.slope = torch.where(per_sample(cut, climb.now), climb.best_slope, climb.slope)
    climb.value = torch.where(cut, climb.best_value, climb.value)
    climb.halved, climb.value_before = cut, climb.best_value.clone()
    climb.rises = torch.zeros_like(climb.rises)
