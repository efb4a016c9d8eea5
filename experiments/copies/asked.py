"""Queries that are embedded once, and what several stores say to them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from percert.certify.features import PixelFeatures
from percert.certify.own_threshold import OwnThreshold
from percert.images import load_image
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search import Store
from percert.search.query.distances import asked_features, embedding_spec
from percert.search.query.range_search import CopyVerdict, copies_within

#: Queries of one pass.
TOGETHER = 64

Asked = dict[str, list[PixelFeatures]]


def as_tensor(image: Image.Image) -> Tensor:
    """Pixels ``(3, h, w)`` in [0, 1], as they would be read from a file."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def copies_of(store: Store, rule: OwnThreshold, asked: Asked) -> Iterator[list[CopyVerdict]]:
    """What the store says to queries that are embedded already."""
    spec = embedding_spec(store.tables.header, store.embedder())
    count = len(asked["whole"])
    for start in range(0, count, TOGETHER):
        some = {name: asked[name][start : start + TOGETHER] for name in spec.by_asked}
        yield from copies_within(store.blocks, some, rule, 0.0, spec)


def embed_files(metric: EmbeddingMetric, paths: Sequence[Path], asked: Sequence[str]) -> Asked:
    """The embeddings of pictures in files, as queries."""
    found: Asked = {name: [] for name in asked}
    for start in range(0, len(paths), TOGETHER):
        images = [load_image(path) for path in paths[start : start + TOGETHER]]
        for name, features in asked_features(metric, images, asked).items():
            found[name] += features
    return found
