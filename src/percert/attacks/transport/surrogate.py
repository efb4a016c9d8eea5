"""The inner problem of distributionally robust training, sup_x loss(x) - lambda c(x, x0).

The paper's Eq. 4: with D the Wasserstein distance of the transport cost c, the Lagrangian of
min_theta sup_{P: D(P, P0) <= rho} E_P loss (Eq. 2) is

    min_theta sup_P E_P loss - lambda D(P, P0) = min_theta E_P0 phi_lambda    (Eq. 3),
    phi_lambda(x0) = sup_x loss(x) - lambda c(x, x0)                          (Eq. 4),

since the supremum over couplings falls apart into one over each image (Volpi et al. 2018, Lemma 1;
:func:`worst_case_risk` computes Eq. 3 for finite sets, where that can be checked). The attacks and
the training share this solver and its names: ``cost``, ``lam`` (lambda), ``step`` (the paper's
epsilon), ``steps`` (N), ``confidence`` (a), ``refresh``, ``validate``.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from percert.attacks.attack import Watch, go_on
from percert.attacks.goal import Goal, LossName, Model
from percert.attacks.steps import generators, loss_slope, nudged, steepest
from percert.attacks.transport.cost import cost_gradient
from percert.check import check_choice
from percert.images import round_to_8bit
from percert.metrics.metric import Distance
from percert.tensors import Images, Vector, per_sample

Validation: TypeAlias = Literal["clip", "round", "truncate"]
VALIDATIONS: tuple[Validation, ...] = ("clip", "round", "truncate")


def climb(
    model: Model,
    images: Images,
    goal: Goal,
    cost: Distance,
    *,
    lam: float,
    step: float,
    steps: int,
    loss: LossName = "cross-entropy",
    refresh: int = 5,
    validate: Validation = "clip",
    normalise: bool = False,
    stop: bool = True,
    seeds: Tensor | None = None,
    watch: Watch | None = None,
) -> Images:
    """Gradient steps on loss(x) - ``lam`` c(x, x0), image by image; ``(n, 3, h, w)`` in [0, 1].

    As written in Algorithm 1 (``normalise=False``): x moves by ``step`` times the raw gradient, the
    cost's gradient is that at x, taken anew every ``refresh`` steps (so 0 for the first ``refresh``
    of them). Normalised: the step has l2 length ``step``, along u(u(loss') - lam u(c')) where u
    divides by the length; c' is taken a step ahead, off x0, where it is not zero; a saturated
    cross-entropy gives way to the margin, and no gradient at all to a random direction from the
    image's seed. ``lam`` 0 is plain (or normalised) gradient ascent to the bit. ``stop``: images
    that reach the goal stay as they are; otherwise all ``steps`` are done.
    """
    check_choice(validate, VALIDATIONS, "validate")
    if refresh < 1:
        raise ValueError(f"refresh: expected at least 1 step, found {refresh}")
    result, pull = images.clone(), torch.zeros_like(images)
    sources = generators(seeds, len(images))
    active = torch.arange(len(images), device=images.device)
    for done in range(steps + 1 if stop else steps):
        if not go_on(watch, done, steps, len(active)):
            break
        slope, scores = loss_slope(
            model, result[active], goal.select(active), loss, fallback=normalise
        )
        if stop:
            going = goal.select(active).margin(scores) <= 0
            active, slope = active[going], slope[going]
        if done == steps or not len(active):
            break
        if normalise:
            slope = steepest(nudged(slope, active, sources), "l2")
        if lam and done % refresh == 0:
            ahead = result[active] + step * slope if normalise else result[active]
            change, _ = cost_gradient(cost, images[active], ahead.clamp(0, 1))
            pull[active] = steepest(change, "l2") if normalise else change
        if lam:
            slope = slope - lam * pull[active]
            slope = steepest(slope, "l2") if normalise else slope
        result[active] = validated(result[active] + step * slope, validate)
    return result


def validated(images: Tensor, how: Validation) -> Images:
    """Algorithm 1's "force to be a valid RGB image": clipped to [0, 1], or to its 256 levels too.

    ``"truncate"`` rounds down, as a cast to bytes does.

    >>> (255 * validated(torch.tensor([-0.1, 1.7 / 255, 2.0]), "truncate")).tolist()
    [0.0, 1.0, 255.0]
    """
    if how == "clip":
        return images.clamp(0, 1)
    if how == "round":
        return round_to_8bit(images)
    # k / 255 in float32 may lie a hair below k: it must stay k.
    levels = (images.clamp(0, 1) * 255 + 1e-3).floor()
    return round_to_8bit(levels / 255)


def robust_surrogate(
    model: Model,
    images: Images,
    goal: Goal,
    cost: Distance,
    *,
    lam: float,
    step: float,
    steps: int,
    loss: LossName = "cross-entropy",
    watch: Watch | None = None,
) -> tuple[Images, Vector]:
    """phi_lambda (Eq. 4): the best x found of sup_x loss(x) - ``lam`` c(x, x0), and that value.

    Raw gradient steps, halved for an image whenever the objective does not grow: the value never
    falls below loss(x0), and is a lower bound of the supremum. Its gradient in the model's weights
    is that of the loss at the returned x (Danskin). Shapes ``(n, 3, h, w)`` and ``(n,)``.
    """
    best, trial = images.clone(), images.clone()
    size = images.new_full((len(images),), step)
    value = images.new_full((len(images),), float("-inf"))
    slope = torch.zeros_like(images)
    for done in range(steps + 1):
        if not go_on(watch, done, steps, len(images)):
            break
        at, height = _objective(model, images, trial, goal, cost, lam, loss)
        better = height > value
        value = torch.where(better, height, value)
        best = torch.where(per_sample(better, best), trial, best)
        slope = torch.where(per_sample(better, slope), at, slope)
        size = torch.where(better, size, size / 2)
        trial = (best + per_sample(size, slope) * slope).clamp(0, 1)
    return best, value


def _objective(
    model: Model,
    images: Images,
    at: Images,
    goal: Goal,
    cost: Distance,
    lam: float,
    loss: LossName,
) -> tuple[Tensor, Vector]:
    """The gradient and the value of loss(x) - lambda c(x, x0)."""
    slope, scores = loss_slope(model, at, goal, loss)
    height = goal.loss(scores, loss).detach()
    if lam:
        change, price = cost_gradient(cost, images, at)
        slope, height = slope - lam * change, height - lam * price
    return slope, height


def surrogate_values(losses: Tensor, costs: Tensor, lam: float) -> Vector:
    """phi_lambda of each sample: max_j losses[i, j] - ``lam`` costs[i, j] (Eq. 4), ``(n,)``.

    ``losses`` and ``costs`` are ``(n, m)``: sample i moved to its j-th candidate place. In
    training the candidates are the adversarial images kept of each sample, and the sample itself.

    >>> surrogate_values(torch.tensor([[1.0, 4.0]]), torch.tensor([[0.0, 2.0]]), 1.0)
    tensor([2.])
    """
    return (losses - lam * costs).amax(1)


def worst_case_risk(losses: Tensor, costs: Tensor, radius: float) -> tuple[float, float]:
    """sup over P with D(P, P0) <= ``radius`` of E_P loss, P0 uniform; and its multiplier lambda.

    By strong duality min_{lambda >= 0} lambda radius + mean_i phi_lambda(i) (Eq. 2 and 3; Blanchet
    and Murthy 2019), a convex, piecewise linear function of lambda, whose slope is radius minus the
    mean cost of the maximisers: its zero is bisected to the last bit. ``costs`` are not negative,
    and some candidate of each sample is free. Raises ``ValueError`` where that is not so.

    >>> worst_case_risk(torch.tensor([[1.0, 4.0]]), torch.tensor([[0.0, 2.0]]), 1.0)
    (2.5, 1.5)
    """
    if radius < 0 or (costs < 0).any() or (costs.amin(1) > 0).any():
        raise ValueError(
            "costs: expected none below 0, each sample with a candidate of cost 0, and a radius of "
            f"at least 0, found radius {radius}, costs from {costs.min().item():.4g}"
        )
    losses, costs = losses.double(), costs.double()

    def dual(lam: float) -> float:
        return lam * radius + surrogate_values(losses, costs, lam).mean().item()

    def spent(lam: float) -> float:
        """The least mean cost among the maximisers at lam."""
        heights = losses - lam * costs
        best = heights == heights.amax(1, keepdim=True)
        return torch.where(best, costs, torch.inf).amin(1).mean().item()

    low, high = 0.0, 1.0
    if spent(0.0) <= radius:
        return dual(0.0), 0.0
    positive = costs[costs > 0]
    spread = (losses.amax(1) - losses.amin(1)).max().item()
    high = max(1.0, spread / positive.min().item())  # beyond it nothing moves
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if spent(middle) <= radius else (middle, high)
    return dual(high), high
