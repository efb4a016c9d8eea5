"""Which of the other classes a change should be sought towards: the nearest, not the likeliest."""

from functools import partial
from itertools import islice

import torch
from torch import Tensor

from percert.attacks.goal import Goal, Model
from percert.attacks.goal_through import Surviving, gap, through_classes
from percert.attacks.second_order.integer_step import times
from percert.attacks.steps import gradient, without_nan
from percert.tensors import Images, Vector, per_sample

#: How many of the likeliest classes are looked at.
CLASSES = 5


def nearest_class(
    model: Model,
    images: Images,
    goal: Goal,
    scores: Tensor,
    slope: Tensor,
    margin: Vector,
    inverse: Tensor,
) -> tuple[Tensor, Vector]:
    """The gradient and margin of the class whose boundary the linear model has as the nearest.

    ``slope`` and ``margin`` are those towards the likeliest other class, which a change that climbs
    the margin goes on towards. Another may be ahead after a smaller one: by the linear model the
    least change towards class t costs gap_t^2 / <slope_t, H^-1 slope_t> (DeepFool, Moosavi-Dezfooli
    et al. 2016, in the norm of the cost's form H; ``inverse`` is H^-1). Of goals that are not
    untargeted, and of images that have reached theirs, both come back as they are.
    """
    plain = goal
    if isinstance(goal, Surviving):  # a defence moves no boundary by much
        plain, scores = goal.goal, goal.parts(scores)[0]
    away = _distance(margin, slope, inverse)
    for through in islice(through_classes(plain, scores, CLASSES), 1, None):
        other, found = gradient(model, images, through, partial(gap, through))
        other, behind = without_nan(other), gap(through, found)
        distance = _distance(behind, other, inverse)
        nearer = (distance < away) & (margin <= 0)
        away = torch.where(nearer, distance, away)
        slope = torch.where(per_sample(nearer, slope), other, slope)
        margin = torch.where(nearer, behind, margin)
    return slope, margin


def _distance(margin: Vector, slope: Tensor, inverse: Tensor) -> Vector:
    steepness = (slope * times(inverse, slope)).flatten(1).sum(1).clamp_min(1e-30).sqrt()
    return -margin / steepness
