"""Where the queries of a store are run: in this process, or on the workers of a cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from percert.certify.features import PixelFeatures
from percert.certify.own_threshold import OwnThreshold
from percert.search.query.distances import EmbeddingSpec
from percert.search.query.nearest import NearestImages, nearest_images
from percert.search.query.pairs import Pair, pairs_within
from percert.search.query.range_search import CopyVerdict, copies_within
from percert.search.tables.cache import EmbeddingBlocks


class Engine(Protocol):
    """Runs the three kinds of queries of a store; every engine gives the same answers."""

    def nearest(
        self, asked: Sequence[PixelFeatures], k: int, eps: float | None
    ) -> list[NearestImages]:
        """As :func:`~percert.search.query.nearest.nearest_images`."""

    def copies(
        self, asked: Mapping[str, Sequence[PixelFeatures]], rule: OwnThreshold, eps: float
    ) -> list[list[CopyVerdict]]:
        """As :func:`~percert.search.query.range_search.copies_within`."""

    def pairs(
        self, rule: OwnThreshold, skip: Callable[[int], bool]
    ) -> Iterator[tuple[int, list[Pair]]]:
        """As :func:`~percert.search.query.pairs.pairs_within`."""


@dataclass(frozen=True, eq=False)
class LocalEngine:
    """Runs queries in this process, on ``device``."""

    blocks: EmbeddingBlocks
    spec: EmbeddingSpec
    device: str

    def nearest(
        self, asked: Sequence[PixelFeatures], k: int, eps: float | None
    ) -> list[NearestImages]:
        return nearest_images(self.blocks.searched, asked, k, eps, self.spec, device=self.device)

    def copies(
        self, asked: Mapping[str, Sequence[PixelFeatures]], rule: OwnThreshold, eps: float
    ) -> list[list[CopyVerdict]]:
        return copies_within(self.blocks.searched, asked, rule, eps, self.spec, device=self.device)

    def pairs(
        self, rule: OwnThreshold, skip: Callable[[int], bool]
    ) -> Iterator[tuple[int, list[Pair]]]:
        searched = self.blocks.searched
        return pairs_within(
            self.blocks, rule, self.spec, skip=skip, searched=searched, device=self.device
        )
