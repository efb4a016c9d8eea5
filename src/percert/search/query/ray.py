"""Queries on a Ray cluster: each worker keeps a part of the rows of the store.

Each worker opens the store itself, at the same folder or address, and reads the part and the
version that a query names. The driver embeds the queries and merges the results
(:mod:`percert.search.query.merging`). Ray restarts a worker that is lost, and repeats the call.
"""

import collections
import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from percert.certify.features import PixelFeatures
from percert.certify.own_threshold import OwnThreshold
from percert.ray_session import ray_session, worker_count
from percert.search.query.distances import EmbeddingSpec, Queries
from percert.search.query.merging import merge_copies, merge_rivals, merge_top_rows
from percert.search.query.nearest import NearestImages, Passes, nearest_by
from percert.search.query.pairs import AT_ONCE, Best, Pair, in_order, pairs_of_part
from percert.search.query.range_search import CopyVerdict, copies_within
from percert.search.query.second_pass import OpenQueries, RivalRows, rivals_within
from percert.search.query.top_k import TopRows, nearest_rows
from percert.search.tables.cache import MEMORY, EmbeddingBlocks
from percert.search.tables.location import Tables, open_tables
from percert.search.tables.scan import Block, scan_blocks

#: How often a lost worker is restarted, and its call repeated.
RESTARTS = 3
#: Parts of a self-join that each worker has queued, so that none waits for the next.
AHEAD = 2


@dataclass(frozen=True)
class Part:
    """The part of a store that a worker keeps: the places of its images at a version."""

    version: int
    places: range


class RayWorker:
    """A Ray actor that keeps one part of a store from query to query."""

    def __init__(self, path: str, spec: EmbeddingSpec, device: str, memory: int) -> None:
        if device == "cpu":
            torch.set_num_threads(1)  # the processors are shared out among the workers
        self.tables = open_tables(path)
        self.spec, self.device, self.memory = spec, device, memory
        self._kept: tuple[Part, EmbeddingBlocks] | None = None

    def blocks(self, part: Part) -> EmbeddingBlocks:
        """The rows of ``part``."""
        if self._kept is None or self._kept[0] != part:
            self.tables.images.checkout(part.version)
            self._kept = part, EmbeddingBlocks(self.tables, self.memory, part.places)
        return self._kept[1]

    def nearest(self, part: Part, queries: Queries, depth: int) -> TopRows:
        return nearest_rows(self.blocks(part).searched(), queries, depth, device=self.device)

    def rivals(self, part: Part, some: OpenQueries) -> list[RivalRows]:
        blocks = self.blocks(part).searched()
        return list(rivals_within(blocks, some, self.spec.constant, device=self.device))

    def copies(
        self,
        part: Part,
        asked: Mapping[str, Sequence[PixelFeatures]],
        rule: OwnThreshold,
        eps: float,
    ) -> list[list[CopyVerdict]]:
        blocks = self.blocks(part).searched
        return copies_within(blocks, asked, rule, eps, self.spec, device=self.device)

    def pairs(self, part: Part, block: Block, place: int, rule: OwnThreshold) -> Best:
        blocks, start = self.blocks(part).searched(), part.places.start
        return pairs_of_part(blocks, block, place, rule, self.spec, start, device=self.device)


@dataclass(frozen=True, eq=False)
class RayEngine:
    """Runs queries on ``workers``, actors of ``ray``; made by :func:`ray_engine`."""

    ray: Any
    workers: Sequence[Any]
    tables: Tables
    spec: EmbeddingSpec

    def parts(self) -> list[Part]:
        """The images as they are now, divided evenly among the workers."""
        images, count = self.tables.images, len(self.workers)
        total, version = int(images.count_rows()), int(images.version)
        ends = [at * total // count for at in range(count + 1)]
        return [Part(version, range(*pair)) for pair in itertools.pairwise(ends)]

    def nearest(
        self, asked: Sequence[PixelFeatures], k: int, eps: float | None
    ) -> list[NearestImages]:
        parts = self.parts()
        sizes, views = [len(part.places) for part in parts], self.spec.views

        def top(queries: Queries, depth: int) -> TopRows:
            found = self._of_all("nearest", parts, queries, depth)
            return merge_top_rows(found, sizes, depth, self.spec.constant)

        def rivals(some: OpenQueries) -> list[RivalRows]:
            return merge_rivals(self._of_all("rivals", parts, some), sizes, views)

        return nearest_by(Passes(top, rivals), asked, k, eps, self.spec)

    def copies(
        self, asked: Mapping[str, Sequence[PixelFeatures]], rule: OwnThreshold, eps: float
    ) -> list[list[CopyVerdict]]:
        parts = self.parts()
        found = self._of_all("copies", parts, asked, rule, eps)
        return merge_copies(found, [len(part.places) for part in parts])

    def pairs(
        self, rule: OwnThreshold, skip: Callable[[int], bool]
    ) -> Iterator[tuple[int, list[Pair]]]:
        parts, place = self.parts(), 0
        asked: collections.deque[tuple[int, list[Any]]] = collections.deque()
        for number, block in enumerate(scan_blocks(self.tables, AT_ONCE * self.spec.views)):
            if not skip(number):
                asked.append((number, self._ask("pairs", parts, block, place, rule)))
            place += len(block.ids)
            if len(asked) > AHEAD:
                yield self._pairs_of(*asked.popleft())
        while asked:
            yield self._pairs_of(*asked.popleft())

    def _pairs_of(self, number: int, references: list[Any]) -> tuple[int, list[Pair]]:
        best: Best = {}
        for one in self._answers(references):
            best |= one  # each worker's pairs are with images of its own
        return number, in_order(best)

    def _ask(self, what: str, parts: Sequence[Part], *question: Any) -> list[Any]:
        shared = [self.ray.put(one) for one in question]
        return [
            getattr(worker, what).remote(part, *shared)
            for worker, part in zip(self.workers, parts, strict=True)
        ]

    def _answers(self, references: list[Any]) -> list[Any]:
        try:
            found: list[Any] = self.ray.get(references)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ValueError):
                raise error.cause from None
            raise
        except self.ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(f"ray: a worker failed ({reason})") from error
        return found

    def _of_all(self, what: str, parts: Sequence[Part], *question: Any) -> list[Any]:
        return self._answers(self._ask(what, parts, *question))


@contextlib.contextmanager
def ray_engine(
    tables: Tables,
    spec: EmbeddingSpec,
    *,
    address: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    memory: int = MEMORY,
) -> Iterator[RayEngine]:
    """An engine on the Ray cluster at ``address``, or on one of this machine.

    Each of ``workers`` (by default one a GPU, or one a processor) keeps ``memory`` bytes of rows at
    most. Raises ``ValueError`` where Ray is missing or the cluster cannot be reached.
    """
    with ray_session(address, workers) as ray:
        count, gpu = worker_count(ray, workers, gpus=device != "cpu")
        options = {"num_gpus": 1, "num_cpus": 0} if gpu else {"num_cpus": 1}
        actor = ray.remote(max_restarts=RESTARTS, max_task_retries=RESTARTS, **options)(RayWorker)
        where = "cuda" if gpu else "cpu"
        made = [actor.remote(tables.path, _bare(spec), where, memory) for _ in range(count)]
        try:
            yield RayEngine(ray, made, tables, spec)
        finally:
            for one in made:
                ray.kill(one)


def _bare(spec: EmbeddingSpec) -> EmbeddingSpec:
    """The spec without its tensors on a GPU, to be sent to workers."""
    content = spec.content
    if content is None:
        return spec
    return replace(spec, content=replace(content, axes=content.axes.cpu()))
