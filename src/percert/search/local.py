"""The local engine: files read, hashed and decoded on this machine, ahead of the network."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from percert.images import ImageError
from percert.search.decode import Decoded, Decoders, Encoded, read_source
from percert.search.embed_views import Preparation
from percert.search.known import Known
from percert.search.outcome import Outcome, Settings, Stages, Step
from percert.search.sources import Source, iter_sources

#: Images, and bytes of them, that are read and decoded ahead of the network.
AHEAD = 256
AHEAD_BYTES = 256 << 20
#: They wait for the disk, and hash.
READERS = 2
#: Above this many decoders threads would wait for Python's lock.
MOST_THREADS = 4
S = TypeVar("S")
T = TypeVar("T")


def local_steps(
    files: Iterable[Path], known: Known, how: Preparation, settings: Settings, stages: Stages
) -> Iterator[Step]:
    """What is to be done for each image of ``files``, in order, decoded where need be."""
    count = settings.decoders or _cores()
    kind = settings.decode_in or ("threads" if count <= MOST_THREADS else "processes")
    first: dict[str, ImageError | None] = {}  # by id: what this run has begun to decode
    with ExitStack() as stack:
        readers = ThreadPoolExecutor(READERS)
        stack.callback(readers.shutdown, wait=True, cancel_futures=True)
        decoders = stack.enter_context(Decoders(how, count, kind, settings.max_memory))

        def read(source: Source | ImageError) -> "Future[Encoded | ImageError | None]":
            if isinstance(source, ImageError):
                return _done(source)
            if known.unchanged_id(source) is not None:
                return _done(None)
            return readers.submit(read_source, source)

        def decode(item: Source | Encoded | ImageError) -> "Future[Decoded | ImageError] | None":
            if not isinstance(item, Encoded) or item.id in known.ids or item.id in first:
                return None
            first[item.id] = None
            return decoders.submit(item)

        for item, future in in_order(
            _read_items(in_order(iter_sources(files, known.is_unchanged), read)), decode
        ):
            if future is None or not isinstance(item, Encoded):
                yield _without_decoding(item, known, first)
                continue
            began = time.perf_counter()
            decoded = decoders.result(item, future)
            stages.waiting += time.perf_counter() - began
            stages.reading += item.seconds
            if isinstance(decoded, ImageError):
                first[item.id] = decoded
                yield _bad(item.source.key, decoded)
                continue
            stages.decoding += decoded.decoding
            stages.resizing += decoded.resizing
            yield Step(
                Outcome(item.source.key, "added", item.id),
                prepared=decoded.prepared,
                file=item.file(),
                replaced=known.id_at(item.source.key),
            )


def _read_items(
    pairs: "Iterable[tuple[Source | ImageError, Future[Encoded | ImageError | None]]]",
) -> Iterator[Source | Encoded | ImageError]:
    for source, future in pairs:
        yield future.result() or source


def _without_decoding(
    item: Source | Encoded | ImageError, known: Known, first: dict[str, ImageError | None]
) -> Step:
    if isinstance(item, ImageError):
        return _bad(str(item.path), item)
    if isinstance(item, Source):
        return Step(Outcome(item.key, "unchanged", known.id_at(item.key)))
    failure = first.get(item.id)
    if failure is not None:
        return _bad(item.source.key, failure)
    return known.known_step(item.file())


def _bad(path: str, error: ImageError) -> Step:
    return Step(Outcome(path, "bad", reason=error.reason))


def in_order(
    items: Iterable[S], submit: Callable[[S], T], ahead: int = AHEAD, room: int = AHEAD_BYTES
) -> Iterator[tuple[S, T]]:
    """Submit each item, and give it back in its order once ``ahead`` others or ``room`` are out.

    ``room`` is in bytes, which items of the types of this module know of themselves.

    >>> with ThreadPoolExecutor() as pool:
    ...     squares = in_order([3, 4], lambda x: pool.submit(pow, x, 2))
    ...     [future.result() for _, future in squares]
    [9, 16]
    """
    waiting: deque[tuple[S, T]] = deque()
    held = 0
    for item in items:
        waiting.append((item, submit(item)))
        held += _bytes(item)
        while len(waiting) >= ahead or (waiting and held > room):
            done = waiting.popleft()
            held -= _bytes(done[0])
            yield done
    yield from waiting


def _bytes(item: object) -> int:
    if isinstance(item, Encoded):
        return len(item.data)
    return max(item.size, 0) if isinstance(item, Source) else 0


def _done(result: T) -> "Future[T]":
    future: Future[T] = Future()
    future.set_result(result)
    return future


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
