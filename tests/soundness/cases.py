"""Every certificate of one metric on the photographs, as margins for the attacks."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from percert.certify import (
    OwnThreshold,
    copies,
    distance,
    likeness,
    nearest,
    own_copies_of_features,
    twoafc,
)
from percert.certify.features import embed
from percert.metrics.certified.embedding import EmbeddingMetric

from . import pixel_attacks
from .photographs import edited, photographs
from .pixel_attacks import Margin


@dataclass(frozen=True)
class Case:
    """A certificate: its radius ``(n,)`` and what must stay at least 0 while ``images`` move."""

    name: str
    margin: Margin
    images: tuple[Tensor, ...]
    radius: Tensor


@dataclass(frozen=True)
class Scene:
    """References, their copies and other photographs, of three sizes, two of them not square."""

    reference: Tensor
    copy: Tensor
    other: Tensor

    @staticmethod
    def of(count: int, *, divisor: int = 1) -> "Scene":
        """``count`` triplets of about 48 pixels, divided by ``divisor``."""

        def crops(height: int, width: int) -> Tensor:
            return photographs(height // divisor, width // divisor)

        return Scene(
            reference=crops(48, 64)[:count],
            copy=edited(crops(40, 40)[:count], 0.5),
            other=crops(56, 48).roll(1, dims=0)[:count],
        )


def cases(metric: EmbeddingMetric, scene: Scene) -> Iterator[Case]:
    """All twoafc, copies (both decisions, both rules), distance and nearest certificates."""
    yield from _twoafc(metric, scene)
    yield from _copies(metric, scene)
    yield from own_copies(metric, scene)
    yield from _distance(metric, scene)
    yield from _nearest(metric, scene)


class _Distances:
    """Distances of images that move, or that stay and whose embeddings are kept."""

    def __init__(self, metric: EmbeddingMetric, scene: Scene) -> None:
        self.metric, self.c = metric, metric.constant
        with torch.no_grad():
            kept = {name: metric.embed(getattr(scene, name)) for name in ("reference", "copy")}
            kept["other"] = metric.embed(scene.other)
        self.dtype = kept["other"].dtype
        self.kept = {name: h.double() for name, h in kept.items()}

    def of(self, moved: Tensor | str, fixed: Tensor | str) -> Tensor:
        a, b = self.embedding(moved), self.embedding(fixed)
        rows = max(len(a), len(b))
        return pixel_attacks.distance(
            a.repeat(rows // len(a), 1), b.repeat(rows // len(b), 1), self.c
        )

    def embedding(self, images: Tensor | str) -> Tensor:
        if isinstance(images, str):
            return self.kept[images]
        return pixel_attacks.embed(self.metric, images, self.dtype)


def _signed(value: Tensor, positive: Tensor) -> Tensor:
    """``value`` or, in the rows where the decision is the other one, ``-value``."""
    rows = positive.repeat(len(value) // len(positive))
    return torch.where(rows, value, -value)


def _twoafc(metric: EmbeddingMetric, scene: Scene) -> Iterator[Case]:
    d = _Distances(metric, scene)
    r, left, right = scene.reference, scene.copy, scene.other
    one = twoafc(metric, r, left, right, perturbed="reference")
    is_left = one.decision == 0
    yield Case(
        "twoafc reference",
        lambda x: _signed(d.of(x, "other") - d.of(x, "copy"), is_left),
        (r,),
        one.radius,
    )
    two = twoafc(metric, r, left, right, perturbed="candidates")
    yield Case(
        "twoafc candidates",
        lambda a, b: _signed(d.of(b, "reference") - d.of(a, "reference"), is_left),
        (left, right),
        two.radius,
    )
    three = twoafc(metric, r, left, right, perturbed="all")
    yield Case(
        "twoafc all",
        lambda x, a, b: _signed(d.of(x, b) - d.of(x, a), is_left),
        (r, left, right),
        three.radius,
    )


def _copies(metric: EmbeddingMetric, scene: Scene) -> Iterator[Case]:
    d = _Distances(metric, scene)
    r, candidate = scene.reference, scene.copy
    now = d.of("reference", "copy")
    for name, threshold in (
        ("copies", 1.5 * float(now.max())),
        ("copies, not", 0.5 * float(now.min())),
    ):
        made = {
            which: copies(metric, r, candidate, threshold, perturbed=which)
            for which in ("candidate", "reference", "both")
        }
        is_copy = made["both"].decision

        def room(value: Tensor, threshold: float = threshold, is_copy: Tensor = is_copy) -> Tensor:
            return _signed(threshold - value, is_copy)

        yield Case(
            f"{name}, candidate",
            lambda b, room=room: room(d.of(b, "reference")),
            (candidate,),
            made["candidate"].radius,
        )
        yield Case(
            f"{name}, reference",
            lambda a, room=room: room(d.of(a, "copy")),
            (r,),
            made["reference"].radius,
        )
        yield Case(
            f"{name}, both",
            lambda a, b, room=room: room(d.of(a, b)),
            (r, candidate),
            made["both"].radius,
        )


def own_copies(
    metric: EmbeddingMetric, scene: Scene, threshold_of: str = "stored"
) -> Iterator[Case]:
    """Copies by a threshold of each stored image's own, ``scene.copy`` the stored ones.

    ``threshold_of="query"`` is a broken rule, whose threshold follows the query: the certificates
    stay those of the rule that holds.
    """
    d = _Distances(metric, scene)
    query, stored = embed(metric, scene.reference), embed(metric, scene.copy)
    background = embed(metric, scene.other.flip(-2)).directions
    owner = stored if threshold_of == "stored" else query
    b = likeness(owner, background)
    now = d.of("reference", "copy")
    weight = 0.5

    def threshold(h: Tensor, level: float) -> Tensor:
        v = torch.cat([h, torch.full_like(h[:, :1], metric.constant)], 1)[:, : background.shape[1]]
        products = v / v.norm(dim=1, keepdim=True) @ background.T
        return level - weight * products.amax(1)

    for name, level in (
        ("own copies", float((1.5 * now + weight * b).max())),
        ("own copies, not", float((0.5 * now + weight * b).min())),
    ):
        rule = OwnThreshold(level, weight)
        made = {
            which: own_copies_of_features(query, stored, rule, b, perturbed=which)
            for which in ("query", "stored", "both")
        }
        is_copy = made["both"].decision

        def room(
            asked: Tensor | str,
            kept: Tensor | str,
            level: float = level,
            is_copy: Tensor = is_copy,
        ) -> Tensor:
            limit = threshold(d.embedding(kept if threshold_of == "stored" else asked), level)
            value = d.of(asked, kept)
            return _signed(limit.repeat(len(value) // len(limit)) - value, is_copy)

        q, s = scene.reference, scene.copy
        yield Case(
            f"{name}, query", lambda x, room=room: room(x, "copy"), (q,), made["query"].radius
        )
        yield Case(
            f"{name}, stored",
            lambda y, room=room: room("reference", y),
            (s,),
            made["stored"].radius,
        )
        yield Case(f"{name}, both", room, (q, s), made["both"].radius)


def _distance(metric: EmbeddingMetric, scene: Scene) -> Iterator[Case]:
    d = _Distances(metric, scene)
    r, candidate = scene.reference, scene.copy
    # As far as half the shorter embedding reaches: a wide interval, but not all of [0, 2].
    eps = 0.5 * float(copies(metric, r, candidate, 1.0).radius.min())
    budget = torch.full((len(r),), eps, dtype=torch.float64)
    for which in ("candidate", "reference", "both"):
        interval = distance(metric, r, candidate, eps, perturbed=which)
        images = {"candidate": (candidate,), "reference": (r,), "both": (r, candidate)}[which]
        fixed = {"candidate": ("reference",), "reference": ("copy",), "both": ()}[which]

        def lower(
            *moved: Tensor, fixed: tuple[str, ...] = fixed, at: Tensor = interval.lower
        ) -> Tensor:
            value = d.of(*moved, *fixed)
            return value - at.repeat(len(value) // len(at))

        def upper(
            *moved: Tensor, fixed: tuple[str, ...] = fixed, at: Tensor = interval.upper
        ) -> Tensor:
            value = d.of(*moved, *fixed)
            return at.repeat(len(value) // len(at)) - value

        yield Case(f"distance lower, {which}", lower, images, budget)
        yield Case(f"distance upper, {which}", upper, images, budget)


def _nearest(metric: EmbeddingMetric, scene: Scene) -> Iterator[Case]:
    d = _Distances(metric, scene)
    with torch.no_grad():
        gallery = torch.cat([metric.embed(scene.copy), metric.embed(scene.other)]).double()
    found = nearest(metric, scene.reference, gallery, k=2)

    def ahead(x: Tensor, depth: int) -> Tensor:
        """By how much the first stays closer than the ``depth``-th rival."""
        h = pixel_attacks.embed(d.metric, x, d.dtype)
        distances = pixel_attacks.distance(h[:, None], gallery, d.c)
        first = found.index.repeat(len(x) // len(found.index))[:, None]
        own = distances.gather(1, first)[:, 0]
        rivals = distances.scatter(1, first, torch.inf)
        return rivals.kthvalue(depth, dim=1).values - own

    yield Case("nearest", lambda x: ahead(x, 1), (scene.reference,), found.radius)
    yield Case("nearest, first 2", lambda x: ahead(x, 2), (scene.reference,), found.radius_top_k)
