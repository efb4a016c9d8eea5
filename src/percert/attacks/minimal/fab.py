"""FAB, the fast adaptive boundary attack (Croce and Hein 2020, arXiv:1907.02044)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Relay, Watch, go_on, prepared
from percert.attacks.goal import Goal, Model
from percert.attacks.goal_through import demanding, gap, through_classes
from percert.attacks.steps import BALL_NORMS, BallNorm, generators, gradient, random_point
from percert.attacks.threat import Eps, LpBall, Threat, Unbounded, check_eps, length, per_image
from percert.check import check_choice
from percert.tensors import Images, Vector, per_sample

#: Newton steps at most. Each ends in another linear piece, and ten or so do for photographs.
NEWTON = 50


@dataclass(frozen=True, kw_only=True)
class FAB:
    """The adversarial image of least l2 or linf distance; the image itself where none was found.

    A step linearises the boundary and goes to a mixture of two points near it: the one nearest to
    where the search is, and the one nearest to the image. It costs two forward passes and a
    backward one. Untargeted among three classes and more, it runs ``steps`` steps towards each of
    the ``targets`` classes that come next (FAB-T); otherwise it follows the goal's own margin.
    ``restarts`` counts runs a class; the first starts at the image. Each run ends with ``search``
    interpolations on the segment from the image. With ``eps`` (a number, or one an image) an image
    is done once it is broken within eps, and only within eps is it a success. ``alpha_max`` (how
    far a step leans to the image), ``eta`` (overshoot) and ``beta`` (the way back after a success)
    are the paper's. Raises ``ValueError`` for a goal without an end.
    """

    norm: BallNorm = "l2"
    steps: int = 100
    targets: int = 9
    restarts: int = 1
    eps: Eps | None = None
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    search: int = 3

    def __post_init__(self) -> None:
        check_choice(self.norm, BALL_NORMS, "norm")
        if self.eps is not None:
            check_eps(self.eps)

    def threat(self, model: Model, images: Images) -> Threat:
        return Unbounded() if self.eps is None else LpBall(self.norm, self.eps)

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
        goal = demanding(goal, 0.0)
        enough = per_image(0.0 if self.eps is None else self.eps, images)
        sources = generators(seeds, len(images))
        best = images.clone()
        nearest = images.new_full((len(images),), float("inf"))
        if not len(images):
            return best
        with torch.no_grad():
            scores = goal.scores(model, images)
        nearest[goal.margin(scores) > 0] = 0.0  # nothing to do
        ways = list(through_classes(goal, scores, self.targets))
        relay = Relay(watch)
        total, at = self.restarts * len(ways) * self.steps, 0
        # One loop: where no image is left to improve, it ends for all restarts.
        for restart, way in ((number, way) for number in range(self.restarts) for way in ways):
            active = (nearest > enough).nonzero()[:, 0]
            if not len(active):
                break
            now = images[active]
            if restart:
                reach = nearest[active]
                if self.eps is not None:
                    reach = torch.minimum(reach, enough[active])
                chosen = [sources[row] for row in active.tolist()]
                now = random_point(now, self.norm, reach.nan_to_num(posinf=1.0) / 2, chosen)
            for step in range(self.steps):
                if not len(active):
                    break
                if not go_on(relay, at + step, total, len(active)):
                    return best
                some, origin = way.select(active), images[active]
                now = self._step(model, origin, now, some)
                reached = _margin(model, now, some) > 0
                away = length(now - origin, self.norm)
                closer = reached & (away < nearest[active])
                rows = active[closer]
                best[rows], nearest[rows] = now[closer], away[closer]
                back = per_sample(torch.where(reached, self.beta, 1.0).to(now), now)
                now = origin + back * (now - origin)
                if self.eps is not None:
                    going = nearest[active] > enough[active]
                    active, now = active[going], now[going]
            at += self.steps
        self._interpolate(model, images, best, nearest, goal, relay.as_part(total, total))
        return best

    def _step(self, model: Model, origin: Images, now: Images, goal: Goal) -> Images:
        """One step to the boundary as it looks from ``now``, leaning to ``origin`` (Eq. 9)."""
        slope, scores = gradient(model, now, goal, lambda scores: gap(goal, scores))
        missing = -gap(goal, scores).to(now)
        on_the_way = ((now - origin) * slope).flatten(1).sum(1)
        here = to_hyperplane(now, slope, missing, self.norm)
        from_origin = to_hyperplane(origin, slope, missing + on_the_way, self.norm)
        a, b = length(here, self.norm), length(from_origin, self.norm)
        lean = per_sample((a / (a + b).clamp_min(1e-30)).clamp_max(self.alpha_max), now)
        ahead, back = now + self.eta * here, origin + self.eta * from_origin
        return ((1 - lean) * ahead + lean * back).clamp(0, 1)

    @torch.no_grad()
    def _interpolate(
        self,
        model: Model,
        images: Images,
        best: Images,
        nearest: Vector,
        goal: Goal,
        watch: Watch,
    ) -> None:
        """Shorten each success towards its image, where the margin's chord crosses 0; in place."""
        rows = ((nearest > 0) & nearest.isfinite()).nonzero()[:, 0]
        if not len(rows) or not self.search:
            return
        some, change = goal.select(rows), best[rows] - images[rows]
        low, high = change.new_zeros(len(rows)), change.new_ones(len(rows))
        below = _margin(model, images[rows], some).to(change)
        above = _margin(model, best[rows], some).to(change)
        for done in range(self.search):
            if not go_on(watch, done, self.search, len(rows)):
                return
            # A little further than the chord says, so that rounding does not miss the boundary.
            share = (-below / (above - below).clamp_min(1e-30)).clamp(0, 1)
            t = torch.minimum(low + (high - low) * (1.001 * share + 1e-4), high)
            tried = images[rows] + per_sample(t, change) * change
            margin = _margin(model, tried, some).to(change)
            good = margin > 0
            best[rows[good]] = tried[good]
            high, above = torch.where(good, t, high), torch.where(good, margin, above)
            low, below = torch.where(good, low, t), torch.where(good, below, margin)


@torch.no_grad()
def _margin(model: Model, images: Images, goal: Goal) -> Vector:
    return goal.margin(goal.scores(model, images))


def to_hyperplane(images: Images, slope: Tensor, rise: Vector, norm: BallNorm) -> Tensor:
    """The change d of least ``norm`` with <slope, d> = rise and images + d in [0, 1], one a row.

    Where no image of [0, 1] gets there, the change to the corner that comes nearest to it. ``rise``
    (``(n,)``) may be negative. With s the signed slope and room_i how far pixel i can go along it,
    d_i = min(t s_i, room_i) for l2 and min(t, room_i) for linf, and t solves an equation whose left
    side is concave and piecewise linear: Newton's steps from t = 0 stay below the root and end on
    it. (Croce and Hein 2020, arXiv:1907.02044, Eq. 3, solved there by sorting.)

    >>> image, slope = torch.full((1, 3, 1, 1), 0.5), torch.tensor([4.0, 3.0, 0.0])
    >>> to_hyperplane(image, slope.view(1, 3, 1, 1), torch.tensor([2.5]), "l2").flatten()
    tensor([0.4000, 0.3000, 0.0000])
    """
    slope = slope.nan_to_num(0.0, 0.0, 0.0)
    slope = slope * per_sample(torch.where(rise < 0, -1.0, 1.0).to(slope), slope)
    towards = slope.sign()
    room = torch.where(slope > 0, 1 - images, images).clamp_min(0) * (slope != 0)
    # In double: the sum runs over all pixels of an image.
    gain = slope.abs().double()
    scale = gain.flatten(1).amax(1).clamp_min(1e-300)
    gain = gain / per_sample(scale, gain)
    need = rise.abs().double() / scale
    pace = gain if norm == "l2" else (gain > 0).double()
    room = room.double()
    t = torch.zeros_like(need)
    for _ in range(NEWTON):
        wanted = per_sample(t, pace) * pace
        missing = need - (gain * torch.minimum(wanted, room)).flatten(1).sum(1)
        grows = (gain * pace * (wanted < room)).flatten(1).sum(1)
        short = (missing > 1e-12 * need) & (grows > 0)
        if not short.any():
            break
        t = torch.where(short, t + missing / grows.clamp_min(1e-300), t)
    return towards * torch.minimum(per_sample(t, pace) * pace, room).to(images)
