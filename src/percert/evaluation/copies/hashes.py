"""Perceptual hashes as copy detectors, with the linear maps in them; and every detector by name.

pHash, dHash and wHash are those of ``imagehash``, PDQ that of ``pdqhash``. Each is luma, a linear
map to a few values, and a comparison of every value with the median or its neighbour. The twin of a
hash, which an attack follows, is the same without rounding to 8 bits in between: its values are
differentiable in the pixels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from percert.evaluation.copies.detector import (
    Described,
    DescriptorDetector,
    Detector,
    MetricDetector,
    imagededup_cnn,
    squeezenet_detector,
)
from percert.evaluation.copies.pictures import Bytes, as_arrays
from percert.extras import install_extra
from percert.metrics.catalog import CATALOG, create_metric, metric_card
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.certified.exported import is_exported
from percert.metrics.descriptor import create_descriptor, has_descriptor
from percert.models.imagenet_networks import SqueezeNet, squeezenet
from percert.models.weights import seeded
from percert.registry import name_and_file
from percert.search.background import background_of
from percert.search.tables.schema import metric_id
from percert.tensors import Images, Vector

#: ITU-R 601 luma, as pillow and pdqhash have it.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class HashDetector:
    """The Hamming distance of two hashes, as a share of the bits.

    ``program`` is the real hash of an 8-bit ``(h, w, 3)`` array, ``twin`` the values ``(n, bits)``
    of luma ``(n, h, w)`` in 0 to 255 whose signs are the bits.
    """

    name: str
    program: Callable[[Bytes], Tensor]
    twin: Callable[[Tensor], Tensor]

    def describe(self, images: Images) -> Described:
        return Described(self.hash(as_arrays(images)))

    def hash(self, arrays: Sequence[Bytes]) -> Tensor:
        """The bits of 8-bit images as -1 and 1, ``(n, bits)``."""
        return 2 * torch.stack([self.program(array) for array in arrays]).float() - 1

    def distances(self, queries: Tensor, references: Tensor) -> Tensor:
        return ((1 - queries @ references.T / queries.shape[1]) / 2).double()

    def values(self, images: Images) -> Tensor:
        return self.twin(255 * (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1))

    def gaps(self, values: Tensor, references: Tensor) -> tuple[Vector, Vector]:
        """The objective is a smooth Hamming distance: each bit's value through a sigmoid whose
        width is the size of the values, so that bits near their edge pull hardest.
        """
        width = values.detach().abs().median(dim=1, keepdim=True).values.clamp_min(1e-6) / 2
        objective = torch.sigmoid(-references * values / width).mean(1)
        wrong = torch.where(values > 0, references < 0, references > 0)
        return objective, wrong.double().mean(1).detach()


def phash() -> HashDetector:
    return HashDetector("phash", _imagehash("phash"), _phash_twin)


def dhash() -> HashDetector:
    return HashDetector("dhash", _imagehash("dhash"), _dhash_twin)


def whash() -> HashDetector:
    return HashDetector("whash", _imagehash("whash"), _whash_twin)


def pdq() -> HashDetector:
    try:
        import pdqhash  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        raise ValueError(f"pdq: needs pdqhash: {install_extra('rivals')}") from None

    def program(array: Bytes) -> Tensor:
        # The program writes its bits last to first.
        return torch.from_numpy(pdqhash.compute(array)[0][::-1].copy())

    return HashDetector("pdq", program, _pdq_twin)


def _imagehash(name: str) -> Callable[[Bytes], Tensor]:
    # Like pdqhash a package of the extra "rivals", which other detectors do without.
    try:
        import imagehash
    except ImportError:
        raise ValueError(f"{name}: needs imagehash: {install_extra('rivals')}") from None
    function = getattr(imagehash, name)
    return lambda array: torch.from_numpy(np.asarray(function(Image.fromarray(array)).hash).ravel())


def _phash_twin(luma: Tensor) -> Tensor:
    """The 8 x 8 lowest frequencies of the DCT of 32 x 32 pixels, less their median."""
    small = _apply(_lanczos(luma.shape[1], 32), luma, _lanczos(luma.shape[2], 32))
    waves = _dct(32, range(8))
    values = _apply(waves, small, waves).flatten(1)
    middle = values.sort(dim=1).values[:, 31:33].mean(1, keepdim=True)
    return values - middle


def _dhash_twin(luma: Tensor) -> Tensor:
    """Each of 8 x 9 pixels less its left neighbour."""
    small = _apply(_lanczos(luma.shape[1], 8), luma, _lanczos(luma.shape[2], 9))
    return (small[:, :, 1:] - small[:, :, :-1]).flatten(1)


def _whash_twin(luma: Tensor) -> Tensor:
    """The mean of each of 8 x 8 cells, less the median: the Haar wavelets' approximation.

    The program shrinks to the largest power of two first, and takes the mean of the whole away,
    which every comparison with the median does without.
    """
    side = 1 << (min(luma.shape[1:]).bit_length() - 1)
    if side < 8:
        raise ValueError(f"whash: expected images of at least 8 pixels a side, found {side}")
    small = _apply(_lanczos(luma.shape[1], side), luma, _lanczos(luma.shape[2], side))
    cell = side // 8
    cells = small.view(-1, 8, cell, 8, cell).mean((2, 4)).flatten(1)
    middle = cells.sort(dim=1).values[:, 31:33].mean(1, keepdim=True)
    return cells - middle


def _pdq_twin(luma: Tensor) -> Tensor:
    """The 16 x 16 lowest frequencies but the constant of 64 x 64 pixels, less their median."""
    small = _apply(_tent(luma.shape[1]), luma, _tent(luma.shape[2]))
    waves = _dct(64, range(1, 17))
    values = _apply(waves, small, waves).flatten(1)
    # torch's median is the lower of the two middle values, as is PDQ's.
    return values - values.median(dim=1, keepdim=True).values


def _apply(rows: Tensor, images: Tensor, columns: Tensor) -> Tensor:
    return rows @ images @ columns.T


@lru_cache
def _dct(size: int, frequencies: range) -> Tensor:
    """Rows of the type-II discrete cosine transform of ``size`` values."""
    positions = torch.arange(size, dtype=torch.float64) + 0.5
    waves = torch.tensor(list(frequencies), dtype=torch.float64)
    return (math.pi / size * waves[:, None] * positions).cos().float()


@lru_cache
def _lanczos(inside: int, outside: int) -> Tensor:
    """Pillow's own Lanczos resize of a line as a matrix: what it makes of the identity."""
    identity = Image.fromarray(np.eye(inside, dtype=np.float32))
    resized = identity.resize((outside, inside), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(resized).T.copy())


@lru_cache
def _tent(inside: int) -> Tensor:
    """PDQ's shrinking of a line to 64 values: two box averages, then every n-th value."""
    window = (inside + 127) // 128
    after = (window + 2) // 2 - 1
    before = window - 1 - after
    offset = torch.arange(inside)[None, :] - torch.arange(inside)[:, None]
    box = ((offset >= -before) & (offset <= after)).double()
    box = box / box.sum(dim=1, keepdim=True)
    taken = ((torch.arange(64) + 0.5) * inside / 64).long()
    return (box @ box)[taken].float()


HASHES: dict[str, Callable[[], HashDetector]] = {
    "phash": phash,
    "dhash": dhash,
    "whash": whash,
    "pdq": pdq,
}
#: The rivals: hashes, ``imagededup``'s CNN, SSCD, and plain SqueezeNet, which takes its weights.
UNCERTIFIED = (*HASHES, "cnn", "sscd", "features")


def create_detector(text: str, device: str = "auto") -> Detector:
    """The detector in ``NAME`` or ``NAME=FILE``: a rival, or another metric with an embedding.

    ``features`` needs SqueezeNet 1.0's weights, ``features=FILE`` (``features=random`` for seeded
    random ones). Raises ``ValueError`` for an unknown name and where a package is missing.

    >>> create_detector("phash").name
    'phash'
    """
    name, weights = name_and_file(text)
    if name in HASHES or name == "cnn":
        if weights:
            raise ValueError(f"{name}: takes no weights, found {weights!r}")
        return HASHES[name]() if name in HASHES else imagededup_cnn()
    if name == "features":
        return _features(weights or "")
    if name in CATALOG and not CATALOG[name].embedding and has_descriptor(name):
        return DescriptorDetector(create_descriptor(text, device))
    return metric_detector(name, weights, device)


def metric_detector(
    name: str,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    *,
    own: bool = False,
) -> MetricDetector:
    """The certified metric called ``name``; ``ValueError`` lists what can detect copies.

    The folder of an exported model is a name too. With ``own`` stored images have thresholds of
    their own, where a background comes with the metric.

    >>> metric_detector("ssim")
    Traceback (most recent call last):
    ValueError: detector: expected a metric with an embedding (lipsim-tiny, ...) or a rival (phash, ...), found 'ssim'
    """  # noqa: E501
    known_name = name in CATALOG or is_exported(name)
    if not known_name or not metric_card(name).embedding:
        known = ", ".join(card.name for card in CATALOG.values() if card.embedding)
        raise ValueError(
            f"detector: expected a metric with an embedding ({known}) or a rival "
            f"({', '.join(UNCERTIFIED)}), found {name!r}"
        )
    metric = create_metric(name, checkpoint=checkpoint, device=device)
    if not isinstance(metric, EmbeddingMetric):
        raise ValueError(f"{name}: expected a metric with an embedding")
    return MetricDetector(metric, name, background_of(metric_id(metric)) if own else None)


def _features(weights: str) -> DescriptorDetector:
    if not weights:
        raise ValueError(
            "features: needs SqueezeNet 1.0's weights: features=FILE.safetensors, or "
            "features=random for random ones"
        )
    if weights == "random":
        return squeezenet_detector(seeded(SqueezeNet).eval().requires_grad_(False))
    if not Path(weights).is_file():
        raise ValueError(f"features: {weights}: no such file")
    return squeezenet_detector(squeezenet(Path(weights)))


def create_detectors(
    metric: str,
    checkpoint: str | Path | None = None,
    others: Sequence[str] = (),
    device: str = "auto",
    *,
    own: bool = False,
) -> list[Detector]:
    """A certified metric first, then ``others`` as :func:`create_detector` takes them.

    ``own`` is that of :func:`metric_detector`, for the first. Raises ``ValueError`` where two have
    one name.

    >>> [one.name for one in create_detectors("thumbnail", others=["phash"], device="cpu")]
    ['thumbnail', 'phash']
    """
    found: list[Detector] = [metric_detector(metric, checkpoint, device, own=own)]
    for text in others:
        found.append(create_detector(text, device))
        if found[-1].name in [one.name for one in found[:-1]]:
            raise ValueError(f"detector: {found[-1].name} is given twice")
    return found
