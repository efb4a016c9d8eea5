"""The audit of a network: every point of it, in one report.

Its layers, the norm of its resize against that resize's own singular values, attacks on its slope
and inside certified radii, and what float32 does to it.
"""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from percert.audit.attacks import AttackAudit, attack_certificates, steepest_pair
from percert.images import Resize
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.layer_audit import TOLERANCE, LayerAudit, audit_layer
from percert.lipschitz.network import LipschitzNetwork, non_finite_weights, weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.reports.table import finite
from percert.tensors import Images, l2_norm

#: How far float64 may put a resize beside the product of its two matrices.
NEAR = 1e-9


class ResizeLike(Protocol):
    """What is audited: a map of images to images of ``size``, and the norm that it claims."""

    @property
    def size(self) -> tuple[int, int]: ...

    def __call__(self, images: Tensor) -> Tensor: ...

    def norm(self, resolution: tuple[int, int]) -> float: ...


def audited_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Sizes (height, width) below and above ``size``, square and not, with and without remainders.

    >>> audited_sizes((64, 64))
    [(33, 42), (81, 96), (64, 112), (193, 131), (128, 128)]
    """
    height, width = size
    return [
        (height // 2 + 1, max(width * 2 // 3, 1)),
        (height * 5 // 4 + 1, width * 3 // 2),
        (height, width * 7 // 4),
        (3 * height + 1, 2 * width + 3),
        (2 * height, 2 * width),
    ]


def steepest_resize(
    resize: ResizeLike, sizes: Iterable[tuple[int, int]], generator: torch.Generator
) -> float:
    """The largest norm of ``resize`` over ``sizes``, in units of the norm that it claims: 1.

    Its matrices of rows and of columns are read off from what it does to images that need no
    resizing in the other direction. That the two together are all it does is checked on a random
    image of each size; infinite where they are not.

    >>> from percert.images import Resize
    >>> round(steepest_resize(Resize((8, 8)), [(12, 20)], torch.Generator()), 9)
    1.0
    """
    worst = 0.0
    for height, width in sizes:
        rows = _line_matrix(resize, height)
        columns = _line_matrix(_Turned(resize), width)
        image = torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64)
        if not torch.allclose(resize(image), rows @ image @ columns.T, atol=NEAR):
            return float("inf")
        norm = torch.linalg.matrix_norm(rows, 2) * torch.linalg.matrix_norm(columns, 2)
        worst = max(worst, float(norm) / resize.norm((height, width)))
    return worst


def _line_matrix(resize: "ResizeLike | _Turned", inside: int) -> Tensor:
    """The matrix by which every column of an image of ``inside`` rows is multiplied."""
    width = resize.size[1]
    identity = torch.eye(inside, dtype=torch.float64)
    # A column an input pixel, as many columns as fit the width at once.
    parts = [
        resize(F.pad(part, (0, width - part.shape[1]))[None, None])[0, 0, :, : part.shape[1]]
        for part in torch.split(identity, width, dim=1)
    ]
    return torch.cat(parts, 1)


class _Turned:
    """A resize of transposed images: its rows are the columns of the other."""

    def __init__(self, resize: ResizeLike) -> None:
        self._resize: Callable[[Tensor], Tensor] = resize
        self.size = (resize.size[1], resize.size[0])

    def __call__(self, images: Tensor) -> Tensor:
        return self._resize(images.mT).mT


@dataclass(frozen=True)
class AuditReport:
    """The verdict on a network, and everything that it rests on.

    ``layers`` in the order of computation. ``upper`` is the product of their upper bounds and
    ``bound`` what the network claims. ``pair_slope`` is the steepest |h(x) - h(x')| / |x - x'|
    found through the whole pipeline, in units of the bound proven for that image size, and
    ``resize`` the largest norm of the resize in units of the norm that it claims: both at most 1.
    ``float_error`` is how far rounding can move an embedding (of an image of the network's size, in
    embedding units, as
    :meth:`~percert.metrics.certified.embedding.EmbeddingMetric.float_error`), and
    ``float_used`` the largest part of such a bound that float32 was seen to use: at most 1.
    ``hash`` is SHA-256 of the weights. ``reasons`` says why it did not pass; empty where it did.
    """

    name: str
    layers: tuple[LayerAudit, ...]
    upper: float
    bound: float
    pair_slope: float
    resize: float
    attack: AttackAudit
    float_error: float
    float_used: float
    hash: str
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite or undefined number becomes ``None``."""
        fields = asdict(self) | {"passed": self.passed}
        plain: dict[str, Any] = finite(fields)
        return plain


def audit_network(
    metric_or_network: nn.Module,
    *,
    pairs: tuple[Images, ...] | None = None,
    seed: int = 0,
    steps: int = 5,
) -> AuditReport:
    """Audits an ``EmbeddingMetric`` or a bare ``LipschitzNetwork``; takes neither on trust.

    Every layer must be of a known type and computes what its bound says (upper bounds from the
    weights in float64, power iteration beside them); the resize has the norm that it claims, by its
    own singular values at several sizes; adversarial pairs of images stay under the proven slope,
    resize included; attacks inside 0.999 of certified radii change nothing; float32 is as near to
    float64 as its bound says. ``pairs`` are batches ``(n, 3, h, w)`` of images to attack, n >= 3,
    each of its own size; without, smooth random images of two sizes. Dark, flat and saturated
    images are always tried as well.
    ``steps`` is the number of gradient steps of each attack. The audited module is left as it was.
    Raises ``ValueError`` for anything but such a metric or network.

    >>> from percert.metrics.certified.lipsim import Thumbnail
    >>> report = audit_network(Thumbnail(8))
    >>> report.passed, [(layer.type, round(layer.upper, 6)) for layer in report.layers]
    (True, [('SubtractMean', 1.0), ('Flatten', 1.0)])
    """
    metric = _as_metric(metric_or_network)
    exact = copy.deepcopy(metric).double()
    generator = torch.Generator().manual_seed(seed)
    reasons: list[str] = []
    if broken := non_finite_weights(metric):
        reasons.append(f"weights are not finite: {', '.join(broken[:3])}")
    network: nn.Module = metric.network
    # Weights that are no numbers have no norms, and the layers nothing to be audited for.
    layers = () if broken else tuple(_layers(network, metric.resolution, generator))
    reasons += [
        f"layer {layer.name} ({layer.type}): {layer.note}" for layer in layers if not layer.passed
    ]
    upper = math.inf if broken else math.prod(layer.upper for layer in layers)
    bound = _claimed(network)
    if not broken and not upper <= bound * (1 + TOLERANCE):
        reasons.append(
            f"the layers' bounds multiply to {upper:.7g}, the network claims {bound:.7g}"
        )

    given = list(pairs or _random_images(metric, generator))
    sizes = [*audited_sizes(metric.resolution), *((x.shape[2], x.shape[3]) for x in given)]
    resize = steepest_resize(metric.resize, sizes, generator)
    if not resize <= 1 + NEAR:
        reasons.append(f"the resize has a norm of {resize:.7f} times what it claims")

    slope, used = 0.0, 0.0
    attack = AttackAudit(0, 0, 0.0)
    if problem := _does_not_run(metric):
        reasons.append(f"the network does not run: {problem}")
    if not broken and not problem and math.isfinite(bound):
        single = copy.deepcopy(metric).float()
        for images in (*given, *_hard_images(metric, generator)):
            images = images.to(metric._like)
            slope = max(
                slope, steepest_pair(metric, exact, images[:1], steps=steps, generator=generator)
            )
            used = max(used, _float_used(single, exact, images))
            found = attack_certificates(metric, images, steps=steps, generator=generator)
            attack = AttackAudit(
                attack.tried + found.tried,
                attack.flipped + found.flipped,
                max(attack.largest_radius, found.largest_radius),
            )
    if not slope <= 1 + TOLERANCE:
        reasons.append(f"a pair of images has a slope of {slope:.7f} times the proven bound")
    if attack.flipped:
        reasons.append(f"{attack.flipped} of {attack.tried} certified decisions were flipped")
    if not used <= 1:
        reasons.append(
            f"float32 embeddings differ from float64's by {used:.3g} times what certificates "
            "subtract"
        )
    return AuditReport(
        name=metric.name,
        layers=layers,
        upper=upper,
        bound=bound,
        pair_slope=slope,
        resize=resize,
        attack=attack,
        float_error=(
            metric.float_error(metric.resolution)
            if math.isfinite(bound) and not broken
            else math.inf
        ),
        float_used=used,
        hash=weights_hash(network),
        reasons=tuple(reasons),
    )


def _as_metric(module: nn.Module) -> EmbeddingMetric:
    if isinstance(module, EmbeddingMetric):
        metric = copy.deepcopy(module)
    elif isinstance(module, LipschitzNetwork):
        resize = Resize(module.resolution, "bicubic")
        metric = EmbeddingMetric(copy.deepcopy(module), resize, name=module.name)
    else:
        raise ValueError(
            "audit: expected an EmbeddingMetric or a LipschitzNetwork, "
            f"found {type(module).__name__}"
        )
    return metric.eval().requires_grad_(False)


def _claimed(network: nn.Module) -> float:
    """The bound that the network states; NaN where one of its layers has none."""
    try:
        proven = network.lipschitz_bound()  # type: ignore[operator]  # nn.Module's attributes are untyped
    except (AttributeError, TypeError, ValueError):
        return math.nan
    return proven.value if isinstance(proven, LipschitzBound) else math.nan


def _does_not_run(metric: EmbeddingMetric) -> str:
    try:
        with torch.no_grad():
            metric.embed(torch.zeros(1, 3, *metric.resolution))
    except (RuntimeError, ValueError, TypeError) as error:
        return str(error)
    return ""


def _layers(
    network: nn.Module, resolution: tuple[int, int], generator: torch.Generator
) -> list[LayerAudit]:
    on_cpu = copy.deepcopy(network).cpu()
    with torch.no_grad():
        return audit_layer(on_cpu, (3, *resolution), "", generator)


def _random_images(metric: EmbeddingMetric, generator: torch.Generator) -> list[Images]:
    """Smooth random images, three larger than the network's resolution and three smaller."""
    height, width = metric.resolution
    sizes = ((height * 5 // 4 + 1, width * 3 // 2), (max(height // 2, 1), max(width * 2 // 3, 1)))
    batches = []
    for size in sizes:
        coarse = torch.rand(3, 3, 6, 6, generator=generator)
        smooth = nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
        grain = torch.rand(3, 3, *size, generator=generator)
        batches.append(0.9 * smooth + 0.1 * grain)
    return batches


def _hard_images(metric: EmbeddingMetric, generator: torch.Generator) -> list[Images]:
    """Images whose embeddings are short beside what they are computed from: the hard ones to round.

    Three that are nearly black, three of one colour but for the last 8-bit digit, three that are
    saturated, all of the network's own size.
    """
    noise = torch.rand(9, 3, *metric.resolution, generator=generator)
    dark, flat, white = noise.chunk(3)
    return [0.01 * dark, (flat[:, :, :1, :1] * 254 + flat.round()) / 255, 1 - 0.01 * white]


def _float_used(single: EmbeddingMetric, exact: EmbeddingMetric, images: Images) -> float:
    """The largest |h32 - h64| of the images, in units of what certificates subtract for float32."""
    with torch.no_grad():
        reference = exact.embed(images)
        difference = l2_norm(single.embed(images.float()).double() - reference)
    size = (images.shape[2], images.shape[3])
    allowed = single.float_error(size) + single.feature_error * l2_norm(reference)
    return float((difference / allowed).max())
