"""PGD and Auto-PGD: projected gradient ascent in an l2 or linf ball.

Projected gradient ascent in an l2 or linf ball (Madry et al. 2018, arXiv:1706.06083).

Auto-PGD: gradient ascent that halves its own steps (Croce and Hein 2020, arXiv:2003.01690).
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from percert.attacks.attack import Watch, generators, go_on, gradient, prepared
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.steps import BALL_NORMS, BallNorm, Found, random_point, steepest
from percert.attacks.threat import LpBall, Threat
from percert.check import check_budget, check_choice
from percert.tensors import Images, Vector, per_sample


@dataclass(frozen=True, kw_only=True)
class PGD:
    """``steps`` steps of length ``step`` (2.5 eps / steps where ``None``), projected on the ball.

    The first of ``restarts`` runs starts at a random point of the ball, or with
    ``random_start=False`` at the image itself; later ones are always random. An image is done as
    soon as it reaches the goal; ``stop=False`` goes on to the end, for the highest loss.
    Against a metric's embedding (:class:`~percert.attacks.goal.MoveEmbedding`) this is the attack
    of LipSim, section 5.1, Q2; there the start must be random, for the gradient at the image is 0.
    """

    norm: BallNorm = "l2"
    eps: float = 1.0
    steps: int = 40
    step: float | None = None
    loss: LossName = "cross-entropy"
    random_start: bool = True
    restarts: int = 1
    stop: bool = True

    def __post_init__(self) -> None:
        check_choice(self.norm, BALL_NORMS, "norm")
        check_choice(self.loss, LOSSES, "loss")
        check_budget(self.eps)

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
        return pgd(
            model,
            images,
            goal,
            norm=self.norm,
            eps=self.eps,
            steps=self.steps,
            step=self.step,
            loss=self.loss,
            random_start=self.random_start,
            restarts=self.restarts,
            stop=self.stop,
            seeds=seeds,
            watch=watch,
        )


def pgd(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    norm: BallNorm,
    eps: float,
    steps: int,
    step: float | None = None,
    loss: LossName = "cross-entropy",
    random_start: bool = True,
    restarts: int = 1,
    stop: bool = True,
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """The best images of all steps and restarts: those that reach the goal, then by the loss.

    All lie within ``eps`` of ``images`` (pixels, at their own size) and in [0, 1]; every step costs
    a forward and a backward pass. Raises ``ValueError`` for settings that make no sense.
    """
    ball = LpBall(norm, eps)
    length = 2.5 * eps / max(steps, 1) if step is None else step
    sources = generators(seeds, len(images))
    found = Found(images)
    for restart in range(restarts):
        active = found.remaining(everyone=not stop)
        origin = now = images[active]
        if (random_start or restart) and len(active):
            radius = images.new_full((len(active),), eps)
            now = random_point(origin, norm, radius, [sources[row] for row in active.tolist()])
        for done in range(steps + 1):
            at = restart * (steps + 1) + done
            if not go_on(watch, at, restarts * (steps + 1), len(active)):
                return found.images
            some = goal.select(active)
            slope, scores = gradient(model, now, some, lambda s, some=some: some.loss(s, loss))  # type: ignore[misc]
            reached = some.margin(scores) > 0
            found.offer(active, now, some.loss(scores, loss), reached)
            if stop:
                active, origin, now = active[~reached], origin[~reached], now[~reached]
                slope = slope[~reached]
            now = ball.project(origin, now + length * steepest(slope, norm))
    return found.images


#: The share of the way that a step goes to the new point; the rest repeats the last step.
MOMENTUM = 0.75


@dataclass(frozen=True, kw_only=True)
class APGD:
    """APGD with the cross-entropy, ``loss=dlr`` or ``loss=margin``, from a random point.

    ``rho`` is the share of steps that must have raised the loss for the step to stay as it is. An
    image is done as soon as it reaches the goal; ``stop=False`` goes on for the highest loss.
    """

    norm: BallNorm = "l2"
    eps: float = 1.0
    steps: int = 100
    loss: LossName = "cross-entropy"
    restarts: int = 1
    rho: float = 0.75
    stop: bool = True

    def __post_init__(self) -> None:
        check_choice(self.norm, BALL_NORMS, "norm")
        check_choice(self.loss, LOSSES, "loss")
        check_budget(self.eps)

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
        return apgd(
            model,
            images,
            goal,
            norm=self.norm,
            eps=self.eps,
            steps=self.steps,
            loss=self.loss,
            restarts=self.restarts,
            rho=self.rho,
            stop=self.stop,
            seeds=seeds,
            watch=watch,
        )


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


def apgd(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    norm: BallNorm,
    eps: float,
    steps: int,
    loss: LossName = "cross-entropy",
    restarts: int = 1,
    rho: float = 0.75,
    stop: bool = True,
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """The best images of all steps and restarts: those that reach the goal, then by the loss.

    Algorithm 1: steps of length 2 eps at first, with momentum, halved at :func:`checkpoints` where
    the loss stopped rising, and then continued from the best point. All images lie within ``eps``
    of ``images`` and in [0, 1]. A step costs a forward and a backward pass.
    """
    ball = LpBall(norm, eps)
    sources = generators(seeds, len(images))
    found = Found(images)
    marks = set(checkpoints(steps))
    for restart in range(restarts):
        active = found.remaining(everyone=not stop)
        if not len(active):
            break
        radius = images.new_full((len(active),), eps)
        chosen = [sources[row] for row in active.tolist()]
        climb = _start(active, images[active], random_point(images[active], norm, radius, chosen))
        climb.length.fill_(2 * eps)
        before = 0
        for done in range(steps + 1):
            at = restart * (steps + 1) + done
            if not go_on(watch, at, restarts * (steps + 1), len(climb.index)):
                return found.images
            if done:
                _step(climb, ball, norm, momentum=MOMENTUM if done > 1 else 1.0)
            reached = _look(climb, model, goal, loss, found)
            if not done:  # what is counted and compared begins here
                climb.rises, climb.value_before = climb.rises * 0, climb.value.clone()
            if done in marks:
                _maybe_halve(climb, rho * (done - before))
                before = done
            if stop and reached.any():
                climb = climb.keep(~reached)
                if not len(climb.index):
                    break
    return found.images


def _start(index: Tensor, origin: Images, now: Images) -> _Climb:
    low = now.new_full((len(now),), float("-inf"))
    zeros, no = torch.zeros_like(now), torch.zeros_like(low, dtype=torch.bool)
    return _Climb(
        index=index,
        origin=origin,
        now=now,
        last=now,
        slope=zeros,
        value=low,
        best=now.clone(),
        best_slope=zeros.clone(),
        best_value=low.clone(),
        length=low.clone(),
        rises=torch.zeros_like(index),
        value_before=low.clone(),
        halved=no,
    )


def _step(climb: _Climb, ball: LpBall, norm: BallNorm, momentum: float) -> None:
    length = per_sample(climb.length, climb.now)
    ahead = ball.project(climb.origin, climb.now + length * steepest(climb.slope, norm))
    moved = climb.now + momentum * (ahead - climb.now) + (1 - momentum) * (climb.now - climb.last)
    climb.last, climb.now = climb.now, ball.project(climb.origin, moved)


def _look(climb: _Climb, model: Model, goal: Goal, loss: LossName, found: Found) -> Tensor:
    """Evaluate where the images are, remember the best; which of them reach the goal."""
    some = goal.select(climb.index)
    slope, scores = gradient(model, climb.now, some, lambda scores: some.loss(scores, loss))
    value = some.loss(scores, loss).to(climb.now)
    reached = some.margin(scores) > 0
    found.offer(climb.index, climb.now, value, reached)
    climb.rises = climb.rises + (value > climb.value)
    climb.slope, climb.value = slope, value
    better = value > climb.best_value
    climb.best = torch.where(per_sample(better, slope), climb.now, climb.best)
    climb.best_slope = torch.where(per_sample(better, slope), slope, climb.best_slope)
    climb.best_value = torch.where(better, value, climb.best_value)
    return reached


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
