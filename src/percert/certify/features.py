"""Embeddings in pixel units, from a metric and images: what every certificate is computed from."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.centre import Content
from percert.metrics.catalog import CATALOG
from percert.metrics.certified.embedding import SHORTEST, EmbeddingMetric
from percert.metrics.metric import Metric
from percert.tensors import Embeddings, Images, Vector

#: The least relative error that is allowed for; it also keeps divisions by 0 away.
LEAST_ROUNDING = 1e-13


def arithmetic(width: int) -> float:
    """The relative error of a certificate's own float64 arithmetic on embeddings of ``width``.

    Four times what sums of so many terms and some operations more can be off, in any order.

    >>> f"{arithmetic(1024):.1e}"
    '4.6e-13'
    """
    return max(4 * (width + 8) * 2.0**-53, LEAST_ROUNDING)


@dataclass(frozen=True)
class PixelFeatures:
    """A batch of embeddings divided by their Lipschitz bound, float64.

    Dividing ``[h; c]`` by L leaves its direction, and so every cosine distance, as it is, and makes
    the embedding 1-Lipschitz: lengths of features are then pixel-l2 lengths of the image.

    ``h`` is ``(n, k)``, ``constant`` the appended coordinate c / L, ``error`` ``(n,)`` the float
    error of the embedding of the image as given, and ``relative`` how much that error may grow per
    pixel that the image moves. ``content`` ``(n,)`` is by how much each image holds more than the
    metric needs to tell it from others, where it knows
    (:class:`~percert.lipschitz.centre.Content`). Make it with :func:`pixel_features`. What is
    derived from them is computed once, so none of it is to be changed in place.
    """

    h: Embeddings
    constant: float
    error: Vector
    relative: float
    bound: LipschitzBound
    content: Vector | None = None

    def rows(self, index: Tensor | slice) -> "PixelFeatures":
        """Some of the images, in the order of ``index``."""
        content = None if self.content is None else self.content[index]
        return replace(self, h=self.h[index], error=self.error[index], content=content)

    def cpu(self) -> "PixelFeatures":
        """The same on the CPU."""
        content = None if self.content is None else self.content.cpu()
        return replace(self, h=self.h.cpu(), error=self.error.cpu(), content=content)

    @property
    def rounding(self) -> float:
        """The relative error of the certificate's own arithmetic (:func:`arithmetic`)."""
        return arithmetic(self.h.shape[1])

    @cached_property
    def norm_h(self) -> Vector:
        """|h| / L, shape ``(n,)``."""
        norm: Tensor = self.h.norm(dim=1)
        return norm

    @cached_property
    def norm(self) -> Vector:
        """n = |[h; c]| / L, shape ``(n,)``."""
        if self.constant == 0:
            return self.norm_h
        return torch.hypot(self.norm_h, torch.full_like(self.norm_h, self.constant))

    @cached_property
    def vectors(self) -> Tensor:
        """v = [h; c] / L, shape ``(n, k + 1)``; ``(n, k)`` where c = 0."""
        if self.constant == 0:
            return self.h
        return torch.cat([self.h, torch.full_like(self.h[:, :1], self.constant)], dim=1)

    @cached_property
    def directions(self) -> Tensor:
        """g = v / |v|, shaped like ``vectors``; 0 where the embedding is 0."""
        norm = self.norm
        return self.vectors / torch.where(norm > 0, norm, 1.0)[:, None]

    @cached_property
    def valid(self) -> Vector:
        """True where the embedding is finite and not 0, so that it has a direction."""
        return self.norm.isfinite() & (self.norm > 0)

    @cached_property
    def upright(self) -> Vector:
        """True where the embedding is long enough for the metric to give it a direction."""
        return self.norm.isfinite() & (self.norm * self.bound.value >= SHORTEST)

    def moved(self, eps: Tensor | float) -> Vector:
        """How far the computed embedding may lie from this one once the image moves by ``eps``.

        The image's own computed embedding is off by ``error``, that of the moved image by
        ``error + relative * eps``, and the exact ones lie within ``eps`` of each other. With
        ``eps = 0`` it is the slack of an image that does not move: it may be embedded again.
        """
        return eps * (1 + self.relative) + 2 * self.error

    def budget(self, length: Vector) -> Vector:
        """The inverse of :meth:`moved`: the eps that keeps features within ``length``, or 0."""
        return ((length - 2 * self.error) / (1 + self.relative)).clamp_min(0)


def pixel_features(
    embeddings: Embeddings,
    bound: LipschitzBound,
    *,
    constant: float = 0.0,
    feature_error: float = 1e-5,
    pixel_error: Vector | float = 0.0,
    growth: float = 0.0,
    content: Content | None = None,
) -> PixelFeatures:
    """Embeddings ``(n, k)`` in pixel units, ready for the certificates.

    ``bound`` is the proven Lipschitz bound of the whole map from the image's pixels to the
    embedding, ``constant`` the coordinate c >= 0 appended before normalising. ``feature_error`` is
    the float error of an embedding relative to its norm, ``pixel_error`` a further error in pixel
    units, one for all or ``(n,)``, and ``growth`` how much that grows per pixel that the image
    moves; ``content`` is the metric's rule of what an image must hold. Raises ``TypeError`` for
    anything but a ``LipschitzBound``, ``ValueError`` for a wrong shape or range and for less than
    float32. LipSim, section 4.1.

    >>> bound = LipschitzBound(0.5, "thumbnail")
    >>> pixel_features(torch.tensor([[3.0, 4.0]]), bound).norm
    tensor([10.], dtype=torch.float64)
    """
    # mypy knows that this cannot happen; a caller without mypy does not.
    if not isinstance(bound, LipschitzBound):
        raise TypeError(
            f"bound: expected a proven LipschitzBound, found {type(bound).__name__}: "
            "an estimate can be too small and cannot certify anything"
        )
    if embeddings.ndim != 2 or embeddings.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"embeddings: expected a float32 or float64 tensor of shape (n, k), "
            f"found {embeddings.dtype} of shape {tuple(embeddings.shape)}"
        )
    if not (0 <= constant < float("inf")):
        raise ValueError(f"constant: expected a finite number of at least 0, found {constant}")
    if not (0 <= feature_error < 0.1):
        raise ValueError(f"feature_error: expected a number in [0, 0.1), found {feature_error}")
    h = embeddings.detach().to(torch.float64) / bound.value
    relative = feature_error + arithmetic(h.shape[1])
    norm = torch.hypot(h.norm(dim=1), h.new_full((len(h),), constant / bound.value))
    error = relative * norm + pixel_error
    held = None if content is None else content.margin(h * bound.value) / bound.value
    return PixelFeatures(h, constant / bound.value, error, relative + growth, bound, held)


def certifiable(metric: Metric) -> EmbeddingMetric:
    """``metric``, if certificates can be made for it; else ``ValueError`` lists those that can.

    >>> from percert.metrics.catalog import create_metric
    >>> certifiable(create_metric("ssim"))
    Traceback (most recent call last):
    ValueError: ssim has no proven Lipschitz bound: cannot be certified; metrics that can: ...
    """
    if isinstance(metric, EmbeddingMetric):
        return metric
    known = [card.name for card in CATALOG.values() if card.embedding]
    raise ValueError(
        f"{_name(metric)} has no proven Lipschitz bound: cannot be certified; "
        f"metrics that can: {', '.join(known)}"
    )


def embed(metric: Metric, images: Images) -> PixelFeatures:
    """The embeddings of ``images`` ``(n, 3, h, w)`` in pixel units, without gradients.

    Raises ``ValueError`` for a metric without a proven bound or in training mode, for images that
    are not images and for embeddings of less than float32 precision; ``TypeError`` for a metric
    with an estimate.
    """
    metric = certifiable(metric)
    with torch.no_grad():
        embeddings = metric.embed(images)
    size = (images.shape[2], images.shape[3])
    return features_of(metric, embeddings, metric.bound(size), size)


def features_of(
    metric: EmbeddingMetric,
    embeddings: Embeddings,
    bound: LipschitzBound,
    size: tuple[int, int],
    norm: float = 1.0,
) -> PixelFeatures:
    """Embeddings ``(n, k)`` of images of ``size`` as features, in the units of the ``bound``.

    These are pixels of the image as given, or of the network's input, in which a pixel of the image
    counts ``norm``. Raises as :func:`embed` does.
    """
    found: object = bound
    if not isinstance(found, LipschitzBound):
        raise TypeError(
            f"{metric.name}: expected a proven LipschitzBound, found {type(found).__name__}: "
            "an estimate can be too small and cannot certify anything"
        )
    if any(module.training for module in metric.network.modules()):
        raise ValueError(
            f"{metric.name}: is in training mode, in which nothing is proven: call metric.eval() "
            "before certifying"
        )
    if embeddings.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"{metric.name}: certificates need float32 or float64 embeddings, "
            f"found {embeddings.dtype}"
        )
    error = metric.float_error(size)
    return pixel_features(
        embeddings,
        bound,
        constant=metric.constant,
        feature_error=metric.feature_error,
        # Below SHORTEST the metric itself gives an embedding no direction.
        pixel_error=(error + SHORTEST) / bound.value,
        growth=metric.float_growth(size, error) / norm,
        content=metric.content,
    )


def _name(metric: object) -> str:
    """What the metric calls itself, or what the catalog calls it; else the name of its class."""
    where = f"{type(metric).__module__}:{type(metric).__name__}"
    known = [c.name for c in CATALOG.values() if c.where == where and not c.settings]
    return str(getattr(metric, "name", None) or (known or [type(metric).__name__])[0])
