"""Embeddings of several images as one batch, and some rows of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from percert.certify.features import PixelFeatures


def stack(features: Sequence[PixelFeatures]) -> list[PixelFeatures]:
    """Batches of a row each as one batch; as they are where their constants differ.

    The rows keep their own pixel units. The bound is the least, so that an embedding which is long
    enough to have a direction under it has one under its own.
    """
    kinds = {(one.constant, one.relative, one.content is None) for one in features}
    if len(kinds) != 1:
        return list(features)
    least = min((one.bound for one in features), key=lambda bound: bound.value)
    h = torch.cat([one.h for one in features])
    error = torch.cat([one.error for one in features])
    held = [one.content for one in features if one.content is not None]
    content = torch.cat(held) if held else None
    return [PixelFeatures(h, features[0].constant, error, features[0].relative, least, content)]


def take(features: PixelFeatures, index: Tensor) -> PixelFeatures:
    """Some rows, in the order of ``index``."""
    return features.rows(index)
