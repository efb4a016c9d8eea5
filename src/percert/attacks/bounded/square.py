"""Square: random search with squares, by scores alone (Andriushchenko et al. 2020, 1912.00049)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from percert.attacks.attack import Watch, go_on, prepared
from percert.attacks.goal import LOSSES, Goal, LossName, Model
from percert.attacks.steps import BALL_NORMS, BallNorm, Best, generators
from percert.attacks.threat import Eps, LpBall, Threat, check_eps, per_image
from percert.check import check_choice
from percert.tensors import Images, Vector, l2_norm, per_sample

#: Of 10,000 queries: after which of them the squares' area is halved once more.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
#: Queries for which an image's random numbers are drawn at once.
BLOCK = 64
#: Random numbers in [0, 1) for one try of one image: two corners, three signs, a direction.
DRAWS = 8


@dataclass(frozen=True, kw_only=True)
class Square:
    """``queries`` forward passes without gradients, each with another square of the image changed.

    The image within ``eps`` (a number, or one an image) of highest ``loss``: a try that raises the
    loss is kept, and an image that reaches the goal asks no more. It starts from stripes (linf) or
    a mesh of pyramids (l2). ``share`` is the area of the first squares, as a share of the image.
    Every image has its own squares, from its seed.
    """

    norm: BallNorm = "l2"
    eps: Eps = 1.0
    queries: int = 5000
    share: float = 0.8
    loss: LossName = "margin"

    def __post_init__(self) -> None:
        check_choice(self.norm, BALL_NORMS, "norm")
        check_choice(self.loss, LOSSES, "loss")
        check_eps(self.eps)

    def threat(self, model: Model, images: Images) -> Threat:
        return LpBall(self.norm, self.eps)

    @prepared
    @torch.no_grad()
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
        active = best.remaining()
        height, width = images.shape[2:]
        start, move = (start_l2, move_l2) if self.norm == "l2" else (start_linf, move_linf)
        numbers = images.new_zeros(0)
        for query in range(self.queries):
            if not go_on(watch, query, self.queries, len(active)):
                break
            origin, eps = images[active], radius[active]
            if not query:
                signs = torch.stack([torch.rand(3, height, width, generator=s) for s in sources])
                now = start(origin, eps, signs.to(images))
            else:
                if query % BLOCK == 1:
                    chosen = [sources[row] for row in active.tolist()]
                    drawn = [torch.rand(BLOCK, DRAWS, generator=source) for source in chosen]
                    numbers = torch.stack(drawn).to(images)
                covered = area(query, self.queries, self.share) * height * width
                drawn_now = numbers[:, (query - 1) % BLOCK]
                now = move(origin, best.images[active], eps, covered, drawn_now)
            some = goal.select(active)
            scores = some.scores(model, now)
            reached = some.margin(scores) > 0
            best.offer(active, now, some.loss(scores, self.loss), reached)
            active, numbers = active[~reached], numbers[~reached] if query else numbers
        return best.images


def area(query: int, queries: int, share: float) -> float:
    """The share of the image that is changed by a query: ``share``, halved on a schedule.

    >>> [area(query, 10_000, 0.8) for query in (0, 11, 51)]
    [0.8, 0.4, 0.2]
    """
    at = 10_000 * query / max(queries, 1)
    return share * 0.5 ** sum(at > mark for mark in HALVINGS)


def start_linf(origin: Images, eps: Eps, signs: Tensor) -> Images:
    """Vertical stripes of +-eps, a sign for each column and channel, by ``signs`` in [0, 1)."""
    reach = per_sample(per_image(eps, origin), origin)
    return (origin + reach * _sign(signs[:, :, :1])).clamp(0, 1)


def move_linf(origin: Images, best: Images, eps: Eps, covered: float, numbers: Tensor) -> Images:
    """One square of ``covered`` pixels set to +-eps, a sign for each channel (Algorithm 2).

    ``numbers`` is ``(n, DRAWS)``.
    """
    height, width = origin.shape[2:]
    side = max(1, min(round(covered**0.5), height, width))
    inside = _window(numbers[:, 0], numbers[:, 1], side, height, width)
    reach = per_sample(per_image(eps, origin), origin)
    moved = (origin + reach * _sign(numbers[:, 4:7])[:, :, None, None]).clamp(0, 1)
    return torch.where(inside[:, None], moved, best)


def start_l2(origin: Images, eps: Eps, signs: Tensor) -> Images:
    """A mesh of 5 x 5 tiles, each a pair of pyramids of random sign, of length eps in all."""
    height, width = origin.shape[2:]
    side = max(1, min(height, width) // 5)
    tile = pyramids(side).to(origin)
    rows, columns = -(-height // side), -(-width // side)
    mesh = tile.repeat(rows, columns)[:height, :width]
    first = _sign(signs[:, :, ::side, ::side])
    sign = first.repeat_interleave(side, 2).repeat_interleave(side, 3)[:, :, :height, :width]
    return _on_sphere(origin, mesh * sign, eps)


def move_l2(origin: Images, best: Images, eps: Eps, covered: float, numbers: Tensor) -> Images:
    """Take one square's change away, and give its length, and what is left, to another square.

    Algorithm 3: the second square's change keeps its direction, mixed with a new pair of pyramids,
    channel by channel. Then the whole is brought back to length eps and clipped.
    """
    height, width = origin.shape[2:]
    side = min(max(3, 2 * (round(covered**0.5) // 2) + 1), height, width)
    change = best - origin
    given = _window(numbers[:, 0], numbers[:, 1], side, height, width)[:, None]
    emptied = _window(numbers[:, 2], numbers[:, 3], side, height, width)[:, None]
    unused = (per_image(eps, origin) ** 2 - l2_norm(change).square()).clamp_min(0)[:, None]
    freed = (change * (given | emptied)).square().sum((2, 3))
    template = pyramids(side).to(origin)
    flat = torch.where((numbers[:, 7] < 0.5)[:, None, None], template, template.T)
    new = _placed(flat, numbers, side, height, width)[:, None]
    new = new * _sign(numbers[:, 4:7])[:, :, None, None]
    old = change * given
    new = new + old / _lengths(old)
    new = new / _lengths(new) * (unused / 3 + freed).sqrt()[:, :, None, None]
    rest = torch.where(given | emptied, torch.zeros_like(change), change)
    return _on_sphere(origin, rest + new, eps)


def pyramids(side: int) -> Tensor:
    """``(side, side)``, of l2 norm 1: a pyramid in the upper half, its negative in the lower.

    A pyramid's height at k pixels from its middle (in the larger of the two coordinates) is the sum
    of 1 / j^2 over j > k (section 3.4).

    >>> pyramids(4).sum(1).sign()
    tensor([ 1.,  1., -1., -1.])
    """
    upper, lower = _pyramid(side // 2, side), _pyramid(side - side // 2, side)
    both = torch.cat([upper, -lower])
    return both / both.square().sum().sqrt().clamp_min(1e-12)


def _pyramid(height: int, width: int) -> Tensor:
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    away = torch.maximum(rows[:, None], columns[None, :])
    layers = max(height, width) // 2 + 1
    terms = 1 / torch.arange(1, layers + 1).square()
    heights = terms.flip(0).cumsum(0).flip(0)
    return heights[away.clamp_max(layers - 1)]


def _sign(numbers: Tensor) -> Tensor:
    return torch.where(numbers < 0.5, -1.0, 1.0).to(numbers)


def _window(top: Vector, left: Vector, side: int, height: int, width: int) -> Tensor:
    """Which pixels, ``(n, h, w)``, lie in each image's square."""
    rows = _offsets(top, side, height)
    columns = _offsets(left, side, width)
    return ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None]


def _offsets(number: Vector, side: int, size: int) -> Tensor:
    """How far each of ``size`` rows or columns lies beyond a square's first, ``(n, size)``."""
    corner = (number * (size - side + 1)).long().clamp_max(size - side)
    return torch.arange(size, device=number.device) - corner[:, None]


def _placed(template: Tensor, numbers: Tensor, side: int, height: int, width: int) -> Tensor:
    """Each ``(side, side)`` template in its image's first square, 0 elsewhere: ``(n, h, w)``."""
    rows = _offsets(numbers[:, 0], side, height).clamp(-1, side)
    columns = _offsets(numbers[:, 1], side, width).clamp(-1, side)
    padded = torch.nn.functional.pad(template, (1, 1, 1, 1))
    each = torch.arange(len(template), device=template.device)[:, None, None]
    return padded[each, rows[:, :, None] + 1, columns[:, None, :] + 1]


def _lengths(change: Tensor) -> Tensor:
    """The l2 norm of each channel, ``(n, 3, 1, 1)``."""
    return change.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)


def _on_sphere(origin: Images, change: Tensor, eps: Eps) -> Images:
    scale = per_image(eps, origin) / l2_norm(change).clamp_min(1e-12)
    return (origin + per_sample(scale, change) * change).clamp(0, 1)
