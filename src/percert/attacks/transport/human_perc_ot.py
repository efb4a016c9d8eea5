"""Human_Perc_OT: ascent of the loss less a perceptual cost; as published, and corrected."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on, prepared
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.goal_through import demanding
from percert.attacks.steps import gradient, reached, rescale, steepest, without_nan
from percert.attacks.transport.cost import cost_gradient, cost_of, cost_values
from percert.attacks.transport.surrogate import VALIDATIONS, Validation, climb
from percert.check import check_choice
from percert.images import round_to_8bit
from percert.metrics.metric import Distance
from percert.tensors import Images, Vector, l2_norm, per_sample


@dataclass(frozen=True, kw_only=True)
class HumanPercOTLiteral:
    """Algorithm 1 of *Human Imperceptible Attacks and Applications to Improve Fairness* as it is.

    Up to ``steps`` (N) times: stop if the goal is reached by more than ``confidence`` (a), else
    x += ``step`` (epsilon) times the gradient of loss - ``lam`` cost, and force x to be an image
    (``validate``). The cost's gradient is taken anew every ``refresh`` steps. The defaults are the
    paper's, but for the cost, which is PieAPP there and needs its weights: ``cost="pieapp"``. It is
    the name of a metric (:func:`~percert.attacks.transport.cost.cost_of`), or a metric.
    """

    cost: str | Distance = "ssim"
    lam: float = 1.0
    step: float = 0.1
    steps: int = 100
    confidence: float = 0.0
    loss: LossName = "cross-entropy"
    refresh: int = 5
    validate: Validation = "clip"
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        check_choice(self.loss, LOSSES, "loss")
        check_choice(self.validate, VALIDATIONS, "validate")

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
        return climb(
            model,
            images,
            demanding(goal, self.confidence),
            cost_of(self.cost, images, model=model, checkpoint=self.checkpoint),
            lam=self.lam,
            step=self.step,
            steps=self.steps,
            loss=self.loss,
            refresh=self.refresh,
            validate=self.validate,
            watch=watch,
        )


@dataclass(frozen=True, kw_only=True)
class HumanPercOT:
    """Human_Perc_OT, corrected: the least ``cost`` found at which the 8-bit image still succeeds.

    The ascent takes steps of l2 length ``step``, and the cost's gradient off x0, where it is not
    zero; ``lam`` is the pull of the cost as a share of the loss's: 1 balances them, 0 is normalised
    gradient ascent, which those images get that miss the goal otherwise. Then ``polish`` steps
    along the goal's boundary (:func:`polish`) lower the cost and ``rescale_steps`` bisections find
    the least multiple that survives rounding. The cheapest of all 8-bit images that reached the
    goal by more than ``confidence`` is returned.
    """

    cost: str | Distance = "ssim"
    lam: float = 0.7
    step: float = 0.1
    steps: int = 100
    confidence: float = 0.0
    loss: LossName = "cross-entropy"
    refresh: int = 1
    polish: int = 8
    stride: float = 0.15
    rescale_steps: int = 8
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        check_choice(self.loss, LOSSES, "loss")

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
        wanted = demanding(goal, self.confidence)
        cost = cost_of(self.cost, images, model=model, checkpoint=self.checkpoint)
        relay, total = Relay(watch), self.steps + (self.polish if self.lam else 0)

        def climbed(index: Tensor, lam: float, watch: Watch) -> Images:
            return climb(
                model,
                images[index],
                wanted.select(index),
                cost,
                lam=lam,
                step=self.step,
                steps=self.steps,
                loss=self.loss,
                refresh=self.refresh,
                normalise=True,
                seeds=None if seeds is None else seeds[index],
                watch=watch,
            )

        everyone = torch.arange(len(images), device=images.device)
        moved = climbed(everyone, self.lam, relay.as_part(0, total, counting=True))
        if self.lam:
            # Where the cost holds the loss back on the way, the change is sought without it first.
            held = everyone[~reached(model, moved, wanted, everyone)]
            moved[held] = climbed(held, 0.0, relay.as_part(self.steps, total))
        finishing = relay.as_part(self.steps, total)
        found = rescale(model, images, moved, wanted, steps=self.rescale_steps, watch=finishing)
        if not self.lam or not self.polish or relay.stopped:
            return found
        return polish(
            model,
            images,
            found,
            wanted,
            cost,
            steps=self.polish,
            stride=self.stride,
            rescale_steps=self.rescale_steps,
            watch=relay.as_part(self.steps, total, counting=True),
        )


def polish(
    model: Model,
    images: Images,
    adversarial: Images,
    goal: Goal,
    cost: Distance,
    *,
    steps: int,
    stride: float,
    rescale_steps: int = 8,
    watch: Watch | None = None,
) -> Images:
    """Lower the cost of 8-bit adversarial images along the boundary of the goal.

    Eq. 1, min c(x, x0) subject to margin(x) > 0, where it holds with equality: each step goes
    against the part of the cost's gradient that is tangent to the boundary, by ``stride`` times the
    length of the perturbation, falling to 0, and along the margin's gradient as far as the linear
    model says that it takes to stay just inside. The multiplier lambda of Eq. 4 is so the one at
    which both gradients balance, image by image. Each rounded image is judged where it stands, and
    the cheapest that reaches the goal is kept, rescaled in the end. Images whose start fails are
    returned as they are.
    """
    best, price = adversarial.clone(), cost_values(cost, images, adversarial)
    change = adversarial - images
    margin = goal.margin(goal.scores(model, adversarial)).detach() if len(images) else price
    active = (margin > 0).nonzero()[:, 0]
    buffer, last, relay = margin.clone(), change.clone(), Relay(watch)
    for done in range(steps + 1):
        if not go_on(relay, done, steps, len(active)):
            break
        some, reference = goal.select(active), images[active]
        at = round_to_8bit((reference + change[active]).clamp(0, 1))
        slope, scores = gradient(model, at, some, some.margin)
        slope, reached = without_nan(slope), some.margin(scores)
        pull, now = cost_gradient(cost, reference, at)
        better = (reached > 0) & (now < price[active])
        keep = active[better]
        best[keep], price[keep], last[keep] = at[better], now[better], change[keep]
        if done == steps:
            break
        # How far inside the next step aims: less after a success, more after a failure.
        less, more = torch.minimum(buffer[active], reached) * 0.6, buffer[active] * 1.5
        buffer[active] = torch.where(reached > 0, less, more)
        change[active] = _tangent(
            change[active], slope, pull, reached, buffer[active], stride * (1 - done / steps)
        )
        change[active] = (reference + change[active]).clamp(0, 1) - reference
    if not rescale_steps or not len(images):
        return best
    finishing = relay.as_part(steps, steps)
    shrunk = rescale(model, images, images + last, goal, steps=rescale_steps, watch=finishing)
    with torch.no_grad():
        succeeds = goal.margin(goal.scores(model, shrunk)) > 0
    better = succeeds & (cost_values(cost, images, shrunk) < price)
    return torch.where(per_sample(better, best), shrunk, best)


def _tangent(
    change: Tensor, slope: Tensor, pull: Tensor, reached: Vector, aim: Vector, stride: float
) -> Tensor:
    """The change moved down the cost along the boundary, and onto margin = ``aim``."""
    normal, length = steepest(slope, "l2"), l2_norm(slope).clamp_min(1e-30)
    across = (pull * normal).flatten(1).sum(1)
    along = steepest(pull - per_sample(across, normal) * normal, "l2")
    size = l2_norm(change)
    # Where the boundary is far by the linear model, the model is wrong: no longer step than that.
    onto = ((aim - reached) / length).clamp(-size, size)
    return change - per_sample(stride * size, along) * along + per_sample(onto, normal) * normal
