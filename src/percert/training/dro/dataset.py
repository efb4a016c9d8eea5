"""The augmented data set D of Algorithm 2: a folder of shards, drawn from without loading it.

In memory are a few numbers an image (about 70 bytes); pixels are read from disk when they are
drawn. The folder may grow meanwhile: :meth:`AdversarialDataset.refresh` takes up what is new.
"""

import json
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from percert.device import usable_cores
from percert.extras import install_extra
from percert.files import replacing
from percert.training.dro.shards import (
    Facts,
    Shard,
    check_shard,
    clean_facts,
    decode_png,
    joined,
    list_shards,
    read_facts,
)
from percert.training.dro.weighting import (
    Bytes,
    Floats,
    Ints,
    Scheme,
    WeightedSampler,
    example_weights,
    step_scale,
)

SHARDS, INFO = "shards", "dataset.json"
#: Files that are kept open; each holds its index of row groups in memory.
OPEN_FILES = 32
#: Images of so many pixels are worth a thread of their own.
LARGE = 128 * 128
#: Images that wait to be decoded, for each thread.
AHEAD = 4
#: Data sets of up to so many bytes of pixels are kept decoded once they were read whole.
CACHE_BYTES = 256 << 20


@dataclass(frozen=True)
class DatasetInfo:
    """What is the same for all of D: N (``count``), (height, width), the number of classes.

    ``weights`` says what the column ``weight`` holds; ``settings`` how D was made.
    """

    count: int
    size: tuple[int, int]
    classes: int
    weights: Scheme
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_info(folder: Path, about: DatasetInfo) -> None:
    """Write ``dataset.json``, whole or not at all."""
    with replacing(folder / INFO) as unfinished:
        unfinished.write_text(json.dumps({"format": 1, **asdict(about)}, indent=2) + "\n")


def read_info(folder: Path) -> DatasetInfo | None:
    """What ``dataset.json`` says, or ``None``. Raises ``ValueError`` for another format."""
    try:
        found = json.loads((folder / INFO).read_text(encoding="utf-8"))
        if found.pop("format") != 1:
            raise ValueError("another format")
        return DatasetInfo(**found | {"size": tuple(found["size"])})
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / INFO}: does not describe a data set ({error})") from None


class AdversarialDataset:
    """The augmented data set D in ``folder``; made by :func:`open_dataset`.

    ``facts`` has a row an image, in the order in which they were written: the ``about.count`` clean
    images first.
    """

    def __init__(self, folder: Path, about: DatasetInfo, *, verify: bool, cache_bytes: int) -> None:
        self.folder, self.about = folder, about
        self.verify, self.cache_bytes = verify, cache_bytes
        self.shards: list[Shard] = []
        self.facts: Facts = clean_facts(np.zeros(0, np.int64))
        self._groups: list[tuple[int, int]] = []
        self._starts: Ints = np.zeros(0, np.int64)
        self._open: OrderedDict[int, Any] = OrderedDict()
        self._cache: Bytes | None = None
        self.refresh()

    def __len__(self) -> int:
        return len(self.facts)

    def refresh(self) -> int:
        """Take up shards that were written since; returns the number of new images.

        Raises ``ValueError`` for one that is damaged, and where those taken up before have gone.
        """
        found = list_shards(self.folder / SHARDS)
        if found[: len(self.shards)] != self.shards:
            raise ValueError(f"{self.folder}: its shards were replaced; open it anew")
        parts, sizes, before = [self.facts], [], len(self)
        for shard in found[len(self.shards) :]:
            if self.verify:
                check_shard(shard)
            facts, groups = read_facts(shard)
            parts.append(facts)
            sizes += groups
            self._groups += [(shard.number, group) for group in range(len(groups))]
        self.shards = found
        self.facts = joined(parts)
        self._starts = np.concatenate([self._starts, before + np.cumsum([0, *sizes])[:-1]]).astype(
            np.int64
        )
        return len(self) - before

    def weights(self, scheme: Scheme | None = None) -> Floats:
        """P of every image, as stored, or by another scheme."""
        if scheme is None or scheme == self.about.weights:
            return self.facts.weight
        facts = self.facts
        return example_weights(facts.round, facts.position, self.about.count, scheme)

    def draws(self, scheme: Scheme | None = None) -> tuple[WeightedSampler, float]:
        """A sampler in proportion to P over the images there now, and the factor of P in a step."""
        weights = self.weights(scheme)
        return WeightedSampler(weights), step_scale(weights, scheme or self.about.weights)

    def read(self, rows: Ints) -> Bytes:
        """The images of ``rows`` (any order, repeated or not): uint8 ``(n, 3, h, w)``.

        A row group is read once however many of its images are wanted: few large reads are faster
        than many small ones.
        """
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise ValueError(
                f"rows: expected 0 to {len(self) - 1}, found {rows.min()}..{rows.max()}"
            )
        height, width = self.about.size
        if len(self) * 3 * height * width <= self.cache_bytes:
            return self._cached()[rows]
        wanted, back = np.unique(rows, return_inverse=True)
        pixels = np.empty((len(wanted), 3, height, width), np.uint8)
        self._decode(wanted, pixels)
        chosen: Bytes = pixels[back]
        return chosen

    def _cached(self) -> Bytes:
        height, width = self.about.size
        done = 0 if self._cache is None else len(self._cache)
        if done < len(self):
            pixels = np.empty((len(self), 3, height, width), np.uint8)
            if self._cache is not None:
                pixels[:done] = self._cache
            self._decode(np.arange(done, len(self)), pixels[done:])
            self._cache = pixels
        assert self._cache is not None
        return self._cache

    def _decode(self, rows: Ints, into: Bytes) -> None:
        """The images of ``rows``, sorted and each once; large ones by all cores at once."""
        group = np.searchsorted(self._starts, rows, side="right") - 1
        ends = np.flatnonzero(np.diff(group, append=-1)) + 1

        def one(at: int, content: bytes) -> None:
            try:
                into[at] = decode_png(content, self.about.size)
            except ValueError as error:
                raise ValueError(f"{self.folder}: image {rows[at]}: {error}") from None

        height, width = self.about.size
        workers = usable_cores() if height * width >= LARGE else 1
        with ThreadPoolExecutor(workers) as pool:
            pending: deque[Future[None]] = deque()
            start = 0
            for end in ends:
                place = int(group[start])
                encoded = self._encoded(place, rows[start:end] - self._starts[place])
                for at, content in enumerate(encoded, start):
                    if workers == 1:
                        one(at, content)
                        continue
                    pending.append(pool.submit(one, at, content))
                    if len(pending) > AHEAD * workers:
                        pending.popleft().result()
                start = int(end)
            for waited in pending:
                waited.result()

    def _encoded(self, place: int, rows: Ints) -> list[bytes]:
        number, group = self._groups[place]
        table = self._file(number).read_row_group(group, columns=["image.bytes"])
        column = table.column(0).combine_chunks().field("bytes")
        return [column[int(row)].as_py() for row in rows]

    def _file(self, number: int) -> Any:
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        try:
            file = pq.ParquetFile(self.shards[number].path, memory_map=True)
        except OSError as error:
            raise ValueError(f"{self.shards[number].path}: has gone ({error})") from None
        self._open[number] = file
        if len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return file


def open_dataset(
    folder: str | Path, *, verify: bool = True, cache_bytes: int = CACHE_BYTES
) -> AdversarialDataset:
    """D in ``folder``, perhaps still growing; needs pyarrow.

    ``verify`` reads every shard once and compares its digest. Data sets whose decoded pixels take
    at most ``cache_bytes`` are kept in memory once they are read from. Raises ``ValueError`` for a
    folder that holds none, for shards that are missing, doubled or damaged, and one without images.
    """
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError(f"data sets of shards need pyarrow: {install_extra('train')}") from None
    folder = Path(folder)
    about = read_info(folder)
    if about is None:
        raise ValueError(f"{folder}: expected an adversarial data set, found no {INFO}")
    found = AdversarialDataset(folder, about, verify=verify, cache_bytes=cache_bytes)
    if len(found) < about.count:
        raise ValueError(
            f"{folder}: expected {about.count} clean images, found {len(found)}; it is not written "
            "yet, or lost its last shards"
        )
    return found


def read_in_order(
    dataset: AdversarialDataset, rows: Ints, batch: int, *, ahead: int = 8192
) -> Iterator[tuple[Bytes, Ints]]:
    """The images of ``rows`` in batches, in order; about ``ahead`` of them are read at once.

    ``rows`` ``(..., n)`` are taken ``batch`` at a time from the last axis: images ``(..., b, 3, h,
    w)`` and their rows ``(..., b)``. Draws are scattered over all row groups: the more are read at
    once, the fewer rows are read in vain. Memory is ``ahead`` images, whatever the size of D.
    """
    together = batch * (rows.size // max(1, rows.shape[-1]))
    step = max(1, ahead // max(1, together)) * batch
    for start in range(0, rows.shape[-1], step):
        some = rows[..., start : start + step]
        images = dataset.read(some.ravel()).reshape(*some.shape, 3, *dataset.about.size)
        for at in range(0, some.shape[-1], batch):
            yield images[..., at : at + batch, :, :, :], some[..., at : at + batch]
