"""Triplets for training: reading them, making them, and mixing several sets of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from percert.data.bapps import bapps_triplets
from percert.data.night import night_triplets
from percert.data.triplet import Triplet, load_triplet
from percert.data.triplets_csv import csv_triplets
from percert.images.load import decode_image
from percert.training.distortions import distortion_pair
from percert.training.finetuning.recipe import TripletData
from percert.training.sources import Entry, ImageSource, open_images
from percert.training.sources.labels import LabelledParquet
from percert.training.views import standard_view


class Sample(NamedTuple):
    """Three images ``(3, side, side)``, +1 where ``left`` is closer or -1, and a weight."""

    reference: Tensor
    left: Tensor
    right: Tensor
    sign: float
    weight: float = 1.0


#: Makes a sample from an entry of a set, with random numbers of its own.
Prepare = Callable[[Any, np.random.Generator], Sample]


class ListedTriplets:
    """Triplets of image files, as one shard: names and judgements, no images."""

    def __init__(self, triplets: Sequence[Triplet], what: str) -> None:
        self.triplets = [triplet for triplet in triplets if triplet.choice is not None]
        if not self.triplets:
            raise ValueError(f"{what}: no triplets that judges agree on")

    def shards(self) -> Sequence[str]:
        return ["triplets"]

    def entries(self, shard: str, /) -> Sequence[Triplet]:
        return self.triplets


def open_triplets(data: TripletData, root: Path) -> tuple[Any, Prepare]:
    """What ``data`` names below ``root``: entries in shards, and what makes samples of them.

    Raises ``ValueError`` for what is not there or something else.
    """
    place = root / data.path
    split: Any = data.split
    if data.kind == "night":
        return ListedTriplets(list(night_triplets(place, split)), str(place)), _judged(data)
    if data.kind == "bapps":
        return ListedTriplets(list(bapps_triplets(place, split)), str(place)), _judged(data)
    if data.kind == "csv":
        images = root / data.images if data.images else None
        listed = csv_triplets(place, images=images, split=data.split or None)
        return ListedTriplets(list(listed), str(place)), _judged(data)
    if data.kind == "classes":
        labelled = LabelledParquet(open_images(data.path, root, mix=data.mix), str(place))
        return labelled, _of_classes(data, labelled)
    source = open_images(data.path, root, mix=data.mix)
    return source, _distorted(data, source)


def _judged(data: TripletData) -> Prepare:
    def prepare(triplet: Triplet, generator: np.random.Generator) -> Sample:
        images = [standard_view(image, data.side, data.fit) for image in load_triplet(triplet)]
        assert triplet.share is not None  # draws are left out
        weight = 2 * abs(triplet.share - 0.5) if data.agreement else 1.0
        return _sample(images, 1.0 if triplet.choice == 0 else -1.0, weight, data, generator)

    return prepare


def _distorted(data: TripletData, source: ImageSource) -> Prepare:
    def prepare(entry: Entry, generator: np.random.Generator) -> Sample:
        photo = decode_image(source.read(entry), str(entry))
        # Twice the size: what zooms in keeps its detail.
        large = standard_view(photo, 2 * data.side, data.fit)[None]
        drawn = torch.Generator().manual_seed(int(generator.integers(1 << 62)))
        milder, stronger = distortion_pair(large, drawn)
        reference = torch.nn.functional.avg_pool2d(large, 2)
        return _sample([reference[0], milder[0], stronger[0]], 1.0, 1.0, data, generator)

    return prepare


def _of_classes(data: TripletData, labelled: LabelledParquet) -> Prepare:
    def prepare(entry: Entry, generator: np.random.Generator) -> Sample:
        chosen = [entry, *labelled.same_and_other(entry, generator)]
        images = [
            standard_view(decode_image(labelled.read(one), str(one)), data.side, data.fit)
            for one in chosen
        ]
        return _sample(images, 1.0, 1.0, data, generator)

    return prepare


def _sample(
    images: Sequence[Tensor],
    sign: float,
    weight: float,
    data: TripletData,
    generator: np.random.Generator,
) -> Sample:
    if generator.random() < data.flip:
        images = [image.flip(-1) for image in images]
    reference, left, right = images
    return Sample(reference, left, right, sign, weight)
