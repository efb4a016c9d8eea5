"""Small made-up pictures of two sizes, and a certified detector that costs next to nothing."""

import numpy as np
from PIL import Image

from percert.evaluation.copies.hashes import metric_detector


def picture(seed, size=(48, 40)):
    """Smooth, and unlike any other seed's."""
    coarse = np.random.default_rng(seed).integers(20, 236, (7, 7, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def pictures(count=4, first=0):
    """Every second one of another size."""
    return [picture(first + i, (48, 40) if i % 2 else (40, 48)) for i in range(count)]


def thumbnail():
    return metric_detector("thumbnail-8", device="cpu")
