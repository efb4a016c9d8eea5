"""The metric that certificates are made for: an angle between two proven-Lipschitz embeddings."""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.check import PIXEL_TOLERANCE, check_images, check_same_count
from percert.device import full_precision
from percert.images import Resize
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.centre import Content, centre_of
from percert.lipschitz.effective import UNIT
from percert.lipschitz.rounding import Signal, has_rounding, rounding
from percert.metrics.metric import Metric
from percert.tensors import Embeddings, Images, Vector

#: What is assumed of a network whose layers' rounding is not bounded by percert, where it does not
#: say: the error of an embedding relative to its length, and to that of the image.
ASSUMED_ERROR = 1e-5
ASSUMED_PIXEL_ERROR = 2.0**-22
#: The network's own error is that for inputs so much longer than exact ones: room for the resize's.
SPARE = 1.01
#: Embeddings shorter than this have no direction that float rounding leaves standing.
SHORTEST = 1e-6


def cosine_distance(reference: Embeddings, candidate: Embeddings, constant: float = 0.0) -> Vector:
    """``1 - cos`` of the angle between ``[h; c]`` and ``[h'; c]``, shape ``(n,)``, in [0, 2].

    Computed as half the squared difference of the two directions, |g - g'|^2 / 2, which is exactly
    0 for equal embeddings, keeps its precision near 0 and has a finite gradient there. A zero
    embedding (with c = 0) has no direction: it is at 0 from another such and at 1/2 from the rest.

    >>> cosine_distance(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
    tensor([1.])
    """
    return (direction(reference, constant) - direction(candidate, constant)).square().sum(1) / 2


def direction(embeddings: Embeddings, constant: float = 0.0) -> Embeddings:
    """``unit([h; c])`` of each row; without the last column where c = 0.

    >>> direction(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    if constant:
        embeddings = F.pad(embeddings, (0, 1), value=constant)
    return F.normalize(embeddings, dim=1, eps=SHORTEST)


class EmbeddingMetric(Metric):
    """A perceptual distance 1 - cos(angle) between embeddings whose Lipschitz constant is proven.

    :class:`~percert.metrics.certified.lipsim.LipSimTiny` and its neighbours are such, and so is one
    of your own. Takes two batches ``(n, 3, h, w)``, sRGB in [0, 1], perhaps of different sizes, and
    gives ``(n,)`` in [0, 2].

    ``network`` maps images of size ``resize.size`` to ``(n, k)`` and has ``lipschitz_bound()``, the
    bound of the network alone. ``constant`` (at least 0) is the c that is appended to embeddings
    before normalising: the authors of LipSim use 1, which alone makes normalising 1-Lipschitz;
    our certificates need none. Raises ``ValueError`` where these do not fit.

    It computes in its own precision and on its own device, whatever the images have: that of the
    network as it is given, until ``metric.double()`` or ``metric.float()``. How far rounding moves
    an embedding is proven for percert's layers (:meth:`float_error`), and subtracted from every
    radius. It is next to nothing in float64, and far from that in float32, so the metrics that come
    with percert compute in float64. For other layers it is ``feature_error``, which you vouch for:
    in units of |h|, 1e-5 if not given. See Ghazanfari et al. (LipSim), section 4.

    >>> from percert.metrics import Thumbnail
    >>> metric, photo = Thumbnail(8), torch.rand(1, 3, 48, 64)
    >>> metric.embed(photo).shape, metric(photo, photo).item()
    (torch.Size([1, 192]), 0.0)
    """

    if TYPE_CHECKING:
        _like: Tensor

    def __init__(
        self,
        network: nn.Module,
        resize: Resize,
        *,
        constant: float = 0.0,
        name: str,
        feature_error: float | None = None,
    ) -> None:
        super().__init__()
        if not callable(getattr(network, "lipschitz_bound", None)):
            raise ValueError(
                f"{name}: the network {type(network).__name__} has no lipschitz_bound() method"
            )
        resolution = getattr(network, "resolution", resize.size)
        if tuple(resolution) != tuple(resize.size):
            raise ValueError(
                f"{name}: the network works at {tuple(resolution)}, "
                f"but images are resized to {tuple(resize.size)}"
            )
        if constant < 0 or (feature_error or 0) < 0:
            raise ValueError(
                f"{name}: expected constant and feature_error of at least 0, "
                f"found {constant} and {feature_error}"
            )
        self.network = network
        self.resize = resize
        self.constant = float(constant)
        self.name = name
        self._feature_error = feature_error
        precision = next((p.dtype for p in network.parameters()), torch.float32)
        self.register_buffer("_like", torch.empty(0, dtype=precision), persistent=False)

    @property
    def resolution(self) -> tuple[int, int]:
        """The (height, width) at which the network sees images."""
        height, width = self.resize.size
        return height, width

    @property
    def precision(self) -> torch.dtype:
        """What it computes in, whatever the images have."""
        return self._like.dtype

    @property
    def proven(self) -> bool:
        """Whether percert bounds the rounding of every step from pixels to embedding."""
        return type(self.resize) is Resize and has_rounding(self.network)

    @property
    def feature_error(self) -> float:
        """What is assumed of the float error of h, in units of |h|; 0 where all of it is proven."""
        if self._feature_error is not None:
            return self._feature_error
        return 0.0 if self.proven else ASSUMED_ERROR

    def float_error(self, size: tuple[int, int]) -> float:
        """How far rounding can move :meth:`embed` of any image of ``size``, in embedding units.

        A bound of |h computed - h exact|, besides :attr:`feature_error`, for images in [0, 1] and
        in the metric's present precision: the resize's own, and that of every layer (see
        :mod:`percert.lipschitz.rounding`). What is assumed for other layers, where there are any.

        >>> from percert.metrics import Thumbnail
        >>> metric = Thumbnail(8)
        >>> f"{metric.float_error((64, 64)):.0e}", f"{metric.float().float_error((64, 64)):.0e}"
        ('2e-13', '1e-04')
        """
        if not self.proven:
            height, width = size
            assumed = ASSUMED_PIXEL_ERROR * math.sqrt(3 * height * width)
            return assumed * self.bound(size).value
        own = self.resize.rounding(size, UNIT.get(self._like.dtype, math.inf))
        return own + self.network_error() if own <= (SPARE - 1) * self._reach else math.inf

    def float_growth(self, size: tuple[int, int], error: float | None = None) -> float:
        """How much :meth:`float_error` grows per unit of l2 by which an image leaves [0, 1].

        In the units of :meth:`float_error` over those of an embedding. The error is at most linear
        in the length of what the network is given. ``error`` is that of ``size``, where it has been
        proven already, which takes milliseconds.
        """
        if not self.proven:
            return 0.0
        height, width = self.resolution
        return (
            4 * (self.float_error(size) if error is None else error) / math.sqrt(3 * height * width)
        )

    def network_error(self) -> float:
        """The part of :meth:`float_error` that is the network's, whatever the size of the image."""
        height, width = self.resolution
        given = Signal(SPARE * self._reach, 0.0, height * width)
        return rounding(self.network, given, self._like.dtype).error

    @property
    def _reach(self) -> float:
        """The length of a resized image in [0, 1], at most."""
        height, width = self.resolution
        return (1 + PIXEL_TOLERANCE) * self.resize.largest * math.sqrt(3 * height * width)

    @property
    def content(self) -> Content | None:
        """What a picture must hold to be told from others; ``None`` where no rule is known."""
        centre = centre_of(self.network)
        return None if centre is None else centre.content()

    def embed(self, images: Images) -> Embeddings:
        """The raw embedding h of each image of a ``(n, 3, h, w)`` batch in [0, 1]: ``(n, k)``.

        Differentiable where gradients are on. Raises ``ValueError`` for anything but images.
        """
        return self._embed(check_images(images))

    def bound(self, size: tuple[int, int]) -> LipschitzBound:
        """The proven Lipschitz bound of :meth:`embed` for images of ``size`` (height, width).

        In embedding units per unit of l2 change in the pixels of the image as given: the network's
        bound times the exact norm of the resize. Raises ``TypeError`` for a network whose bound is
        only an estimate.

        >>> from percert.metrics import Thumbnail
        >>> round(Thumbnail(8).bound((64, 64)).value, 12)  # the mean of 8 x 8 pixels has norm 1/8
        0.125
        """
        height, width = size
        proven = self.network.lipschitz_bound()  # type: ignore[operator]  # attributes of nn.Module are untyped
        if not isinstance(proven, LipschitzBound):
            raise TypeError(
                f"{self.name}: expected a proven LipschitzBound from the network, "
                f"found {type(proven).__name__}"
            )
        resize = LipschitzBound(
            self.resize.norm((height, width)),
            f"exact norm of the {self.resize.mode} resize from {height} x {width}",
            (height, width),
        )
        return proven.compose(resize)

    def forward(self, reference: Images, candidate: Images) -> Vector:
        """The distance of each pair, ``(n,)``; the two batches may have different image sizes."""
        check_same_count(check_images(reference, "reference"), check_images(candidate, "candidate"))
        return cosine_distance(self._embed(reference), self._embed(candidate), self.constant)

    def _embed(self, images: Images) -> Embeddings:
        images = images.to(self._like.device)
        with full_precision(images.device):
            embeddings: Embeddings = self.network(self.resize(images, dtype=self._like.dtype))
        return embeddings
