"""Lower the cost of adversarial images along the boundary of their goal."""

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on
from percert.attacks.goal import Goal, Model
from percert.attacks.steps import gradient, rescale, steepest, without_nan
from percert.attacks.transport.cost import cost_gradient, cost_values
from percert.images import round_to_8bit
from percert.metrics.metric import Distance
from percert.tensors import Images, Vector, l2_norm, per_sample


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
