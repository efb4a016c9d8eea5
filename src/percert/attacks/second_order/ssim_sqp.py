"""Second-order perceptual attack in whole 8-bit levels: sequential quadratic programming.

The paper's Eq. 5 solves max loss - lambda cost to second order, Delta = H^-1 grad / lambda, once.
Here the loss is linearised and the cost's Hessian kept pixel by pixel, the change is made of whole
levels from the start, and the multiplier is found anew in every iteration as the least that carries
the linear model past the decision boundary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on, prepared
from percert.attacks.goal import Goal, Model
from percert.attacks.goal_through import demanding, surviving
from percert.attacks.second_order.integer_step import (
    Growth,
    Pixels,
    cheapest_scale,
    first_aim,
    into_image,
    invert,
    moving_pixels,
    sparse_levels,
    times,
    whole_levels,
)
from percert.attacks.second_order.local_cost import COSTS, CostName, local_cost
from percert.attacks.second_order.nearest_class import nearest_class
from percert.attacks.steps import gradient, without_nan
from percert.attacks.transport.cost import cost_of
from percert.attacks.transport.polish import polish
from percert.check import check_choice
from percert.images import round_to_8bit
from percert.metrics.catalog import metric_card
from percert.tensors import Images, Vector, per_sample

#: How each cost grows with the change of a pixel, where not as its square.
GROWTH: dict[CostName, Growth] = {"ciede2000": Growth(power=1.3, cap=6)}
#: ``steps`` and ``most_steps`` where none are asked for and the usual ones are too few.
STEPS: dict[CostName, tuple[int, int]] = {"l1": (60, 120)}
USUAL_STEPS = (7, 40)
#: After k iterations at least k / (k + SETTLING) of the old direction is kept, so that the change
#: settles on the mean of all gradients instead of following the last one; k stops at ``steps``.
SETTLING = 1.0
#: Iterations that an image is given at least after the first that reached the goal.
MORE = 5
#: How far past the boundary is aimed at most, in margins of the image itself, and by how much more
#: in each iteration beyond 3 ``steps``: a longer aim is not believed until nothing else is left.
FARTHEST, FARTHER = 0.3, 1.5
#: What is lowered along the boundary in the end, and the share of a change that its first step is.
POLISHED: dict[CostName, str] = {"perceptual": "ssim", "ssim": "ssim", "seen": "seen"}
STRIDE = 0.25
#: A form that is kept pixel by pixel knows nothing of what neighbours do together. From so many
#: levels a value on (root mean square) the distance itself is lowered, and from so many in the
#: first step the form tells no pixels apart at all.
CROWDED, WIDE = 0.2, 2.0


@dataclass(frozen=True, kw_only=True)
class SSIMSQP:
    """The least visible change, in whole 8-bit levels, that reaches the goal.

    ``cost`` is what is made small: ``"perceptual"`` mixes SSIM's curvature with edges and chroma,
    and lowers all perceptual distances at once; ``"seen"`` what people would notice, by contrast
    masking; ``"ssim"`` SSIM alone; ``"ciede2000"``, ``"l2"``,
    ``"l1"`` these. ``steps`` iterations of one gradient each (7; of ``"l1"`` 60), more (to
    ``most_steps``: 40; of ``"l1"`` 120) only for images that reached the goal late or not yet; then
    ``search`` forward passes for the least scale. ``momentum`` is the share of the old direction
    that is kept at first; later it is more, so that the direction settles. Changes that are not of
    few pixels are then lowered in 1 - SSIM, or ``seen``, itself by ``polish`` steps along the
    boundary (:func:`~percert.attacks.transport.polish.polish`). ``"l1"`` has an
    iteration of its own, without these three:
    :func:`~percert.attacks.second_order.integer_step.sparse_levels`. ``survive`` names defences,
    such as ``"jpeg-75+bits-4"``, through which the goal must be reached as well. Images are rounded
    to 8 bits first.
    """

    cost: CostName = "perceptual"
    steps: int | None = None
    most_steps: int | None = None
    search: int = 5
    momentum: float = 0.6
    polish: int = 16
    survive: str = ""

    def __post_init__(self) -> None:
        check_choice(self.cost, COSTS, "cost")

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
        goal = surviving(demanding(goal, 0.0), self.survive)
        if not len(images):
            return images.clone()
        steps, most = STEPS.get(self.cost, USUAL_STEPS)
        steps = steps if self.steps is None else self.steps
        most = max(steps, most if self.most_steps is None else self.most_steps)
        if self.cost == "l1":
            return sparse_levels(model, images, goal, steps=steps, most_steps=most, watch=watch)
        relay, track = Relay(watch), _begin(images, self.cost)
        active = torch.arange(len(images), device=images.device)
        for done in range(most + 1):
            if not go_on(relay, done, most, len(active)):
                break
            some = goal.select(active)
            current = round_to_8bit(track.images[active] + track.change[active])
            slope, scores = gradient(model, current, some, some.margin)
            margin = some.margin(scores)
            slope = without_nan(slope)
            self._keep_best(track, active, current, margin > 0)
            track.since[active] += track.best_cost[active].isfinite()
            if not done:
                inverse = track.inverse[active]
                slope, margin = nearest_class(model, current, some, scores, slope, margin, inverse)
            # What was found late was found by a push that is too long: it is given time to shrink.
            ended = (track.since[active] > MORE) & (done >= steps)
            active, slope, margin = active[~ended], slope[~ended], margin[~ended]
            if done < most and len(active):
                if not done:
                    track.farthest[active] = FARTHEST * margin.abs()
                elif done > 3 * steps:
                    track.farthest[active] *= FARTHER
                self._step(track, active, slope, margin, min(done, steps))
                if not done and self.cost in POLISHED:
                    wide = _levels(track.change[active]) > WIDE
                    if bool(wide.any()):
                        _tell_no_pixels_apart(track, active[wide])
                        self._step(track, active[wide], slope[wide], margin[wide], done)
        self._shrink(model, goal, track, relay.as_part(most, most))
        self._polish(model, goal, track, relay.as_part(most, most))
        return torch.where(
            per_sample(track.best_cost.isfinite(), images),
            track.best,
            round_to_8bit(track.images + track.change),
        )

    @torch.no_grad()
    def _step(
        self, track: "_Track", active: Tensor, slope: Tensor, margin: Vector, done: int
    ) -> None:
        """Move the active images to the cheapest point that the linear model takes to the goal."""
        # How far past the boundary to aim: a little less after every success, more after a failure.
        later = track.push[active] * torch.where(margin > 0, 0.6, 1.5)
        aimed = torch.minimum(later, track.farthest[active]) if done else first_aim(margin)
        track.push[active] = aimed
        inverse = track.inverse[active]
        length = (slope * times(inverse, slope)).flatten(1).sum(1).clamp_min(1e-30).sqrt()
        unit = slope / per_sample(length, slope)
        if done:
            kept = max(self.momentum, done / (done + SETTLING))
            unit = kept * track.direction[active] + (1 - kept) * unit
        track.direction[active] = unit
        wanted = track.push[active] - margin + (slope * track.change[active]).flatten(1).sum(1)
        images, form = track.images[active], track.form[active]
        growth = GROWTH.get(self.cost, Growth())
        start = track.scale[active] * (1.2 if done else 1)
        for share in (0.1, 1.0):
            pixels = moving_pixels(images, form, inverse, unit, share)
            index = pixels.position[:, None].expand_as(pixels.direction)
            here = slope.flatten(2).gather(2, index)
            scale = cheapest_scale(pixels, here, wanted, start, growth)
            if not bool(_overflows(pixels, scale).any()):
                break
        track.scale[active] = scale
        moved = into_image(images, pixels, whole_levels(pixels, scale, growth))
        track.change[active] = moved - images

    def _keep_best(self, track: "_Track", index: Tensor, current: Images, reached: Tensor) -> None:
        change = current - track.images[index]
        squares = (change * times(track.form[index], change)).sum(1).clamp_min(0)
        cost = (squares.sqrt() if self.cost == "ciede2000" else squares).flatten(1).sum(1)
        better = reached & (cost > 0) & (cost < track.best_cost[index])
        chosen = index[better]
        track.best[chosen] = current[better]
        track.best_cost[chosen] = cost[better]
        track.best_scale[chosen] = track.scale[chosen]
        track.best_direction[chosen] = track.direction[chosen]

    @torch.no_grad()
    def _shrink(self, model: Model, goal: Goal, track: "_Track", watch: Watch) -> None:
        """Shrink each image's best step along its own direction while the goal is still reached."""
        index = torch.nonzero(track.best_cost.isfinite()).flatten()
        if not len(index) or not self.search:
            return
        some = goal.select(index)
        images, direction = track.images[index], track.best_direction[index]
        growth = GROWTH.get(self.cost, Growth())
        pixels = moving_pixels(images, track.form[index], track.inverse[index], direction, 1.0)
        high = track.best_scale[index]
        low = 0.4 * high
        for done in range(self.search):
            if not go_on(watch, done, self.search, len(index)):
                return
            middle = (low + high) / 2
            current = into_image(images, pixels, whole_levels(pixels, middle, growth))
            reached = some.margin(some.scores(model, current)) > 0
            track.scale[index], track.direction[index] = middle, direction
            self._keep_best(track, index, current, reached)
            high = torch.where(reached, middle, high)
            low = torch.where(reached, low, middle)

    def _polish(self, model: Model, goal: Goal, track: "_Track", watch: Watch) -> None:
        """Lower the cost itself, not its form, of the images whose change is of many pixels."""
        found = track.best_cost.isfinite() & (_levels(track.best - track.images) > CROWDED)
        index, name = torch.nonzero(found).flatten(), POLISHED.get(self.cost)
        if name is None or not self.polish or not len(index):
            return
        if min(track.images.shape[2:]) < metric_card(name).smallest_side:
            return
        images = track.images[index]
        track.best[index] = polish(
            model,
            images,
            track.best[index],
            goal.select(index),
            cost_of(name, images),
            steps=self.polish,
            stride=STRIDE,
            watch=watch,
        )


@dataclass
class _Track:
    """Where each image stands; tensors have one row an image of the batch."""

    images: Images
    form: Tensor
    inverse: Tensor
    change: Tensor
    direction: Tensor
    scale: Vector
    push: Vector
    best: Images
    best_cost: Vector
    best_scale: Vector
    best_direction: Tensor
    since: Tensor
    farthest: Vector


def _begin(images: Images, cost: CostName) -> _Track:
    images = round_to_8bit(images.detach())
    with torch.no_grad():
        form = local_cost(images, cost)
        inverse = invert(form)
    zeros = torch.zeros_like(images)
    count = images.new_zeros(len(images))
    return _Track(
        images=images,
        form=form,
        inverse=inverse,
        change=zeros,
        direction=zeros.clone(),
        scale=count + 1,
        push=count.clone(),
        best=images.clone(),
        best_cost=torch.full_like(count, torch.inf),
        best_scale=count.clone(),
        best_direction=zeros.clone(),
        since=torch.zeros(len(images), dtype=torch.long, device=images.device),
        farthest=count.clone(),
    )


def _levels(change: Tensor) -> Vector:
    """How many levels a value moves, root mean square over an image; ``(n,)``."""
    return 255 * change.flatten(1).square().mean(1).sqrt()


def _tell_no_pixels_apart(track: _Track, index: Tensor) -> None:
    """Begin again with the identity as these images' form."""
    even = local_cost(track.images[index], "l2")
    track.form[index], track.inverse[index] = even, even
    track.change[index] = 0


def _overflows(pixels: Pixels, scale: Vector) -> Tensor:
    """Whether pixels that were left out might have moved at this scale: the last one in might."""
    last = pixels.direction[:, :, -1:]
    inverse = pixels.inverse[..., -1:]
    reach = (last * times(inverse, last)).sum((1, 2)).clamp_min(0).sqrt()
    widest = torch.stack([inverse[:, i, i, 0] for i in range(3)]).amax(0).sqrt()
    return scale * reach * widest >= 0.5
