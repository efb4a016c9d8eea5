"""Certificates as goals, so that the catalog's attacks can be sent against them."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from percert.attacks import create_attack
from percert.attacks.goal import LossName, class_loss

from .cases import Case
from .pixel_attacks import Margin

#: Fractions of every radius that are attacked.
FRACTIONS = (0.5, 0.9, 0.999)


def pack(images: tuple[Tensor, ...]) -> Tensor:
    """The images of each row side by side in one, black below the lower: an attack moves one."""
    height = max(image.shape[2] for image in images)
    return torch.cat([F.pad(image, (0, 0, 0, height - image.shape[2])) for image in images], 3)


def unpack(packed: Tensor, like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    strips = packed.split([image.shape[3] for image in like], dim=3)
    return tuple(strip[:, :, : image.shape[2]] for strip, image in zip(strips, like, strict=True))


@dataclass(frozen=True, eq=False)
class Flip:
    """Make a certified decision flip, in the ball or, with ``radius=None``, wherever that is.

    ``stands`` maps the moved images to ``(n,)``, above 0 where the decision stands. An attack has
    one eps for all rows, and one image a row. So it moves packed images within ``eps``, and what is
    judged is their change times ``radius / eps``, each of the row's images brought back to its
    radius: nothing outside the row's own balls is ever looked at. Whatever was left out of a batch
    stays where it was.
    """

    stands: Margin
    images: tuple[Tensor, ...]
    radius: Tensor | None
    eps: float
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, index: Tensor) -> "Flip":
        return replace(self, rows=self.rows[index])

    def moved(self, packed: Tensor) -> tuple[Tensor, ...]:
        """What each row's images become, all rows, in float64."""
        everything = pack(self.images).to(packed).index_put((self.rows,), packed)
        parts = []
        for centre, part in zip(self.images, unpack(everything, self.images), strict=True):
            change = part.double() - centre.double()
            if self.radius is not None:
                change = change * (self.radius / self.eps).view(-1, 1, 1, 1)
                norm = change.flatten(1).norm(dim=1).clamp_min(1e-300)
                change = change * (self.radius / norm).clamp(max=1).view(-1, 1, 1, 1)
            parts.append(centre.double() + change)
        return tuple(parts)

    def scores(self, model: object, packed: Tensor) -> Tensor:
        value = self.stands(*self.moved(packed))[self.rows]
        return torch.stack([value, -value], 1).to(packed.dtype)

    def loss(self, scores: Tensor, kind: LossName = "margin") -> Tensor:
        return -class_loss(scores, torch.zeros(len(scores), dtype=torch.long), kind)

    def margin(self, scores: Tensor) -> Tensor:
        return scores[:, 1] - scores[:, 0]


def flips_within(case: Case, attack: str, *, share: float = 1.0, **options: object) -> Tensor:
    """Which rows a bounded attack flips within ``FRACTIONS`` of ``share`` radii, ``(3, n)``."""
    times = len(FRACTIONS)
    fraction = torch.tensor(FRACTIONS, dtype=torch.float64).repeat_interleave(len(case.radius))
    radius = share * fraction * case.radius.repeat(times)
    images = tuple(image.repeat(times, 1, 1, 1) for image in case.images)
    # Of k images within r each, the packed one is within r times the root of k.
    eps = float(radius.max()) * len(images) ** 0.5
    goal = Flip(case.margin, images, radius, eps, torch.arange(len(radius)))
    moved = create_attack(attack, norm="l2", eps=eps, **options)(
        _no_model, pack(images), goal, seeds=torch.arange(len(radius))
    )
    return _flipped(goal, moved).view(times, -1)


def shortest_flip(case: Case, attack: str, **options: object) -> Tensor:
    """How far, in radii, a minimal attack had to go for its nearest flip; inf where it found none.

    Of several images that move the one that moved furthest counts, as in the certificate.
    """
    goal = Flip(case.margin, case.images, None, 1.0, torch.arange(len(case.radius)))
    moved = create_attack(attack, **options)(_no_model, pack(case.images), goal)
    parts = goal.moved(moved)
    change = [part - centre for part, centre in zip(parts, case.images, strict=True)]
    away = torch.stack([part.flatten(1).norm(dim=1) for part in change]).amax(0)
    return torch.where(_flipped(goal, moved), away / case.radius, torch.inf)


@torch.no_grad()
def _flipped(goal: Flip, packed: Tensor) -> Tensor:
    return goal.stands(*goal.moved(packed)) < 0


def _no_model(*images: Tensor) -> Tensor:
    raise AssertionError("a Flip asks the certificate's margin, never a model")
