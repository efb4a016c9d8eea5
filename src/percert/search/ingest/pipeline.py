"""Reads, hashes and decodes files on this machine, in threads or processes ahead of the network."""

import hashlib
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch

from percert.device import usable_cores
from percert.images import ImageError
from percert.images.load import decode_image
from percert.search.ingest.sources import (
    AddOutcome,
    AddSettings,
    AddStep,
    DecodeIn,
    Snapshot,
    Source,
    StageSeconds,
    iter_sources,
)
from percert.search.ingest.views import Preparation, Prepared, prepare_image
from percert.search.tables.schema import FileRow


@dataclass(frozen=True)
class Encoded:
    """A source that has been read: its bytes, their SHA-256 as the image's id, and the seconds."""

    source: Source
    data: bytes
    id: str
    seconds: float

    def file(self) -> FileRow:
        """The row of the file in the store."""
        return FileRow(self.source.key, self.id, len(self.data), self.source.mtime_ns)


@dataclass(frozen=True)
class Decoded:
    """A prepared image, and the seconds that decoding it and cutting and resizing views took."""

    prepared: Prepared
    decoding: float
    resizing: float


def read_source(source: Source) -> Encoded | ImageError:
    """Read and hash ``source``: the id is that of the very bytes that are decoded after."""
    began = time.perf_counter()
    try:
        data = source.read()
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(source.key, f"cannot be read ({error.strerror})")
    return Encoded(source, data, hashlib.sha256(data).hexdigest(), time.perf_counter() - began)


def decode_source(
    data: bytes, name: str, id: str, how: Preparation, max_memory: int | None
) -> Decoded | ImageError:
    """Decode and prepare one image; an image that is bad comes back as its error."""
    started = time.perf_counter()
    try:
        image = decode_image(data, name, max_memory=max_memory)
    except ImageError as error:
        return error
    decoded = time.perf_counter()
    try:
        prepared = prepare_image(image, id, len(data), how)
    except MemoryError:
        return ImageError(name, "needs more memory than there is")
    return Decoded(prepared, decoded - started, time.perf_counter() - decoded)


class Decoders:
    """A pool that decodes: threads start at once; processes survive a decoder that crashes.

    Threads share Python's lock, and about half of the work of an image holds it, so more than a few
    gain little. Used in a ``with`` block.
    """

    def __init__(
        self, how: Preparation, count: int, kind: DecodeIn, max_memory: int | None
    ) -> None:
        if count < 1:
            raise ValueError(f"decoders: expected at least 1, found {count}")
        self.kind = kind
        self.work = partial(decode_source, how=how, max_memory=max_memory)
        # torch keeps the number of its threads for each thread of Python, and begins with the one
        # set last. Decoders are many already, so each gets one; the caller keeps its own.
        self.threads = torch.get_num_threads()
        self.pool: Executor = (
            ThreadPoolExecutor(count, "decoder", torch.set_num_threads, (1,))
            if kind == "threads"
            else _process_pool(count)
        )
        self.lone: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for pool in (self.pool, self.lone):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self.threads)

    def submit(self, encoded: Encoded) -> "Future[Decoded | ImageError]":
        """Start decoding ``encoded``."""
        arguments = encoded.data, encoded.source.key, encoded.id
        try:
            return self.pool.submit(self.work, *arguments)
        except BrokenProcessPool:
            # What was in it is decoded again by `result`, which starts a pool of its own.
            broken: Future[Decoded | ImageError] = Future()
            broken.set_exception(BrokenProcessPool())
            return broken

    def result(
        self, encoded: Encoded, future: "Future[Decoded | ImageError]"
    ) -> Decoded | ImageError:
        """The result of ``encoded``; an image whose decoder crashes is a bad one like any other.

        A crash takes the whole pool with it, so those that were in it are decoded once more, each
        alone, to find the one that crashes.
        """
        try:
            return future.result()
        except BrokenProcessPool:
            self.lone = self.lone or _process_pool(1)
        try:
            return self.lone.submit(
                self.work, encoded.data, encoded.source.key, encoded.id
            ).result()
        except BrokenProcessPool:
            self.lone = None
            return ImageError(encoded.source.key, "its decoder crashed")


def _process_pool(count: int) -> ProcessPoolExecutor:
    # Never forked: this process has torch's threads, and a lock that one of them holds would stay
    # locked in the child for good.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        count, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    )


#: Images, and bytes of them, that are read and decoded ahead of the network.
AHEAD = 256
AHEAD_BYTES = 256 << 20
#: They wait for the disk, and hash.
READERS = 2
#: Above this many decoders threads would wait for Python's lock.
MOST_THREADS = 4
S = TypeVar("S")
T = TypeVar("T")


def decoded_steps(
    files: Iterable[Path],
    known: Snapshot,
    how: Preparation,
    settings: AddSettings,
    stages: StageSeconds,
) -> Iterator[AddStep]:
    """A step for each image of ``files``, in order, decoded first if it is not stored yet."""
    count = settings.decoders or usable_cores()
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
            yield AddStep(
                AddOutcome(item.source.key, "added", item.id),
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
    item: Source | Encoded | ImageError, known: Snapshot, first: dict[str, ImageError | None]
) -> AddStep:
    if isinstance(item, ImageError):
        return _bad(str(item.path), item)
    if isinstance(item, Source):
        return AddStep(AddOutcome(item.key, "unchanged", known.id_at(item.key)))
    failure = first.get(item.id)
    if failure is not None:
        return _bad(item.source.key, failure)
    return known.known_step(item.file())


def _bad(path: str, error: ImageError) -> AddStep:
    return AddStep(AddOutcome(path, "bad", reason=error.reason))


def in_order(
    items: Iterable[S], submit: Callable[[S], T], ahead: int = AHEAD, room: int = AHEAD_BYTES
) -> Iterator[tuple[S, T]]:
    """Submit the items, and yield each with its future, in order, some ahead of the consumer.

    At most ``ahead`` items, of at most ``room`` bytes together, are submitted and not yet yielded;
    only items of the types of this module have a size.

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
