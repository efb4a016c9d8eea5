"""Decoding in several threads or processes, ahead of the network and in order."""

import hashlib
import multiprocessing
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import torch

from percert.images import ImageError
from percert.images.load import decode_image
from percert.search.embed_views import Preparation, Prepared, prepare_image
from percert.search.outcome import DecodeIn
from percert.search.rows import FileRow
from percert.search.sources import Source


@dataclass(frozen=True)
class Encoded:
    """A source that has been read: its bytes, their SHA-256 as the image's id, and the seconds."""

    source: Source
    data: bytes
    id: str
    seconds: float

    def file(self) -> FileRow:
        """What the store is to know of the file."""
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
    """Workers that decode. Threads start at once; processes outlive a decoder that crashes.

    Threads share Python's lock: about half of the work of an image is outside of it, so that they
    gain little beyond a few. Used in a ``with`` block.
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
        """What came of ``encoded``. One whose decoder crashes is a bad image like any other.

        A crash takes the whole pool with it, so those that were in it are decoded once more, each
        alone: that shows which one it is.
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
