"""The fewest 8-bit levels that reach a goal: a proximal attack for the l1 cost.

An l1 cost wants few values moved far, and a step along the gradient moves all of them a little. So
each iteration adds a multiple of the gradient to the change so far and then shrinks every value
towards 0 by a threshold (the proximal operator of l1: Beck and Teboulle 2009, as in EAD, Chen et
al. 2018), which falls from iteration to iteration. The multiple is the least that carries the
linear model of the loss past the decision boundary, in whole levels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Watch, go_on, gradient
from percert.attacks.goal import Goal, Model
from percert.attacks.integer_step import first_aim, images_of_levels, least_scale
from percert.images import round_to_8bit
from percert.norms import per_sample
from percert.tensors import Images, Vector


@dataclass(frozen=True)
class Sparsity:
    """Levels that each value loses in the first and the last iteration; ``momentum`` is the share
    of the old direction that is kept; ``relax`` and ``insist``: how the aim beyond the boundary
    changes after an iteration that reached the goal, and after one that did not.
    """

    first: float = 15.0
    last: float = 2.0
    momentum: float = 0.3
    relax: float = 0.9
    insist: float = 1.3


@dataclass
class _Track:
    """One row an image, its pixels flattened; in levels. ``change`` is not rounded yet."""

    levels: Tensor
    change: Tensor
    direction: Tensor
    push: Vector
    best: Tensor
    best_cost: Vector


def sparse_levels(
    model: Model,
    images: Images,
    goal: Goal,
    *,
    steps: int,
    most_steps: int,
    sparsity: Sparsity | None = None,
    watch: Watch | None = None,
) -> Images:
    """Attack ``images`` (rounded to 8 bits first) with the least l1 change.

    ``steps`` gradients for every image, and more, to ``most_steps`` (no fewer), for those that have
    not reached the goal by then; these come back where the last iteration left them.
    """
    sparsity = sparsity or Sparsity()
    track = _begin(images)
    active = torch.arange(len(images), device=images.device)
    for done in range(most_steps + 1):
        if not go_on(watch, done, most_steps, len(active)):
            break
        some = goal.select(active)
        whole = _whole(track, active)
        slope, scores = gradient(model, images_of_levels(whole, images), some, some.margin)
        margin = some.margin(scores)
        slope = torch.nan_to_num(slope).flatten(1) / 255
        found = _keep_best(track, active, whole, margin > 0)
        going = ~found if done >= steps else torch.ones_like(found)
        active, whole = active[going], whole[going]
        if done < most_steps and len(active):
            _step(track, active, whole, slope[going], margin[going], done / max(steps, 1), sparsity)
    reached = track.best_cost.isfinite()[:, None]
    everything = torch.arange(len(images), device=images.device)
    return images_of_levels(torch.where(reached, track.best, _whole(track, everything)), images)


def _begin(images: Images) -> _Track:
    levels = (round_to_8bit(images.detach()).flatten(1) * 255).round()
    count = levels.new_zeros(len(levels))
    return _Track(
        levels=levels,
        change=torch.zeros_like(levels),
        direction=torch.zeros_like(levels),
        push=count,
        best=levels,
        best_cost=torch.full_like(count, torch.inf),
    )


def _whole(track: _Track, index: Tensor) -> Tensor:
    """The changed values in whole levels; the change itself never leaves the image's range."""
    return track.levels[index] + track.change[index].round()


def _keep_best(track: _Track, index: Tensor, whole: Tensor, reached: Tensor) -> Tensor:
    """Note what is better than before; returns which of ``index`` have reached the goal so far."""
    cost = (whole - track.levels[index]).abs().sum(1)
    better = reached & (cost > 0) & (cost < track.best_cost[index])
    chosen = index[better]
    if len(chosen):
        track.best = track.best.index_copy(0, chosen, whole[better])
        track.best_cost[chosen] = cost[better]
    return track.best_cost[index].isfinite()


@torch.no_grad()
def _step(
    track: _Track,
    active: Tensor,
    whole: Tensor,
    slope: Tensor,
    margin: Vector,
    progress: float,
    sparsity: Sparsity,
) -> None:
    """Move every active image to the sparsest point that the linear model takes past the goal."""
    # How far past the boundary to aim: a little less after every success, more after a failure.
    if progress == 0:
        track.push[active] = first_aim(margin)
    else:
        track.push[active] *= torch.where(margin > 0, sparsity.relax, sparsity.insist)
    unit = slope / slope.abs().amax(1, keepdim=True).clamp_min(1e-30)
    if progress > 0:
        unit = torch.lerp(unit, track.direction[active], sparsity.momentum)
    track.direction[active] = unit
    levels, change = track.levels[active], track.change[active]
    wanted = track.push[active] - margin + (slope * (whole - levels)).sum(1)
    # The first step starts from nothing: there is nothing to shrink but the step itself.
    ratio = sparsity.last / sparsity.first
    lost = sparsity.first * ratio ** min(progress, 1.0) if progress > 0 else 0.0

    def moved(scale: Vector) -> Tensor:
        step = torch.addcmul(change, per_sample(scale, unit), unit)
        step = step.sign() * (step.abs() - lost).clamp_min_(0)
        return torch.maximum(torch.minimum(step, 255 - levels), -levels)

    def short(scale: Vector) -> Tensor:
        return (slope * moved(scale).round()).sum(1) < wanted

    track.change[active] = moved(least_scale(short, torch.ones_like(wanted)))
