"""What a teacher says of images: computed once, kept on disk, and made into a student's targets."""

import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from percert.files import replacing
from percert.tensors import Embeddings
from percert.training.distillation.teachers import Teacher

#: One record of the index: the image's key, a checksum of its embedding, and how many records of
#: the same batch follow. A batch counts only once its last record, with 0 to follow, is there.
RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("crc", "<u4"), ("follow", "<u4")])
#: New records are kept in a dictionary until there are this many, then sorted in.
FOLD = 1 << 16


def image_key(content: bytes, variant: str = "") -> bytes:
    """16 bytes that name an image by its encoded ``content`` and the ``variant`` made of it.

    >>> image_key(b"pixels") == image_key(b"pixels"), image_key(b"pixels") == image_key(b"", "flip")
    (True, False)
    """
    digest = hashlib.blake2b(content, digest_size=16, person=b"percert-teacher")
    digest.update(b"\0" + variant.encode())
    return digest.digest()


@dataclass(eq=False)
class _Segment:
    """Two files that one process appended to: ``NAME.keys`` and ``NAME.vectors``."""

    stem: Path
    rows: int = 0
    vectors: npt.NDArray[np.generic] | None = field(default=None, repr=False)


class EmbeddingCache:
    """The embeddings of one teacher in ``folder/FINGERPRINT``, by :func:`image_key`.

    Every process appends to files of its own and reads those of all, so that several may share a
    cache. Vectors are written before the keys that lead to them, and each has a checksum: what a
    killed process left half written is not there. ``dtype`` is how they are stored, float32 or
    float16; :meth:`put` returns what will be read. The memory needed is 32 bytes an image.
    Use it as a context manager, or :meth:`close` it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, EmbeddingCache(Path(folder), "abc") as cache:
    ...     _ = cache.put([image_key(b"1")], torch.tensor([[1.0, 2.0]]))
    ...     cache.get(image_key(b"1")), cache.get(image_key(b"2"))
    (tensor([1., 2.]), None)
    """

    def __init__(self, folder: Path, fingerprint: str, *, dtype: str = "float32") -> None:
        if dtype not in ("float32", "float16"):
            raise ValueError(f"teacher cache: expected float32 or float16, found {dtype!r}")
        self.folder = folder / f"{fingerprint[:32]}-{dtype}"
        self.dtype = np.dtype(dtype)
        self.width: int | None = None
        self._segments: list[_Segment] = []
        self._high = np.empty(0, np.uint64)
        self._rest = np.empty(0, [("low", "<u8"), ("segment", "<u4"), ("row", "<u8")])
        self._recent: dict[tuple[int, int], tuple[int, int]] = {}
        self._out: tuple[BinaryIO, BinaryIO, _Segment] | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.refresh()

    def __enter__(self) -> "EmbeddingCache":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._high) + len(self._recent)

    def close(self) -> None:
        """Close the files that this process appends to."""
        if self._out is not None:
            self._out[0].close()
            self._out[1].close()
            self._out = None

    def get(self, key: bytes) -> Tensor | None:
        """The embedding ``(d,)`` of an image, float32, or ``None``."""
        place = self._find(*_halves(key))
        if place is None:
            return None
        segment, row = self._segments[place[0]], place[1]
        vector = self._vectors(segment, row)
        return torch.from_numpy(np.array(vector, dtype=np.float32))

    def put(self, keys: Sequence[bytes], embeddings: Embeddings) -> Embeddings:
        """Append a batch; returns it as :meth:`get` will, rounded to the cache's type.

        Raises ``ValueError`` for embeddings of another width than those that are there.
        """
        values = embeddings.detach().cpu().numpy().astype(self.dtype)
        if values.ndim != 2 or len(values) != len(keys):
            raise ValueError(
                f"teacher cache: expected {len(keys)} embeddings, found {tuple(embeddings.shape)}"
            )
        self._check_width(values.shape[1])
        vectors, index, segment = self._writer()
        records = np.zeros(len(keys), RECORD)
        for row, key in enumerate(keys):
            crc = zlib.crc32(values[row].tobytes())
            records[row] = (*_halves(key), crc, len(keys) - 1 - row)
        vectors.write(values.tobytes())
        vectors.flush()
        index.write(records.tobytes())
        index.flush()
        number = self._segments.index(segment)
        for row, key in enumerate(keys):
            self._recent[_halves(key)] = (number, segment.rows + row)
        segment.rows += len(keys)
        return torch.from_numpy(values.astype(np.float32))

    def refresh(self) -> None:
        """Read the index records that other processes have appended."""
        known = {segment.stem for segment in self._segments}
        mine = None if self._out is None else self._out[2]
        for path in sorted(self.folder.glob("*.keys")):
            if path.with_suffix("") not in known:
                self._segments.append(_Segment(path.with_suffix("")))
        if self.width is None and (self.folder / "width.json").is_file():
            self.width = int(json.loads((self.folder / "width.json").read_text()))
        for number, segment in enumerate(self._segments):
            if segment is not mine:
                self._take_in(number, segment)

    def _take_in(self, number: int, segment: _Segment) -> None:
        path = segment.stem.with_suffix(".keys")
        records = np.fromfile(path, RECORD, offset=segment.rows * RECORD.itemsize)
        ends = np.flatnonzero(records["follow"] == 0)
        records = records[: ends[-1] + 1] if len(ends) else records[:0]
        if not len(records) or self.width is None:
            return
        size = segment.stem.with_suffix(".vectors").stat().st_size
        whole = size // (self.width * self.dtype.itemsize) - segment.rows
        records = records[: max(0, whole)]
        for row, record in enumerate(records):
            self._recent[int(record["high"]), int(record["low"])] = (number, segment.rows + row)
        segment.rows += len(records)
        if len(self._recent) > FOLD:
            self._fold()

    def _fold(self) -> None:
        """Sort the recent records into the arrays."""
        fresh = np.empty(len(self._recent), self._rest.dtype)
        high = np.empty(len(fresh), np.uint64)
        for i, ((upper, lower), (number, row)) in enumerate(self._recent.items()):
            high[i], fresh[i] = upper, (lower, number, row)
        every, rest = np.concatenate((self._high, high)), np.concatenate((self._rest, fresh))
        order = np.argsort(every, kind="stable")
        self._high, self._rest = every[order], rest[order]
        self._recent = {}

    def _find(self, high: int, low: int) -> tuple[int, int] | None:
        found = self._recent.get((high, low))
        if found is not None:
            return found
        at = int(np.searchsorted(self._high, np.uint64(high)))
        while at < len(self._high) and self._high[at] == high:
            if self._rest["low"][at] == low:
                return int(self._rest["segment"][at]), int(self._rest["row"][at])
            at += 1
        return None

    def _vectors(self, segment: _Segment, row: int) -> npt.NDArray[np.generic]:
        assert self.width is not None  # there are rows
        if segment.vectors is None or row >= len(segment.vectors):
            path = segment.stem.with_suffix(".vectors")
            rows = path.stat().st_size // (self.width * self.dtype.itemsize)
            segment.vectors = np.memmap(path, self.dtype, "r", shape=(rows, self.width))
        vector: npt.NDArray[np.generic] = segment.vectors[row]
        index = np.fromfile(
            segment.stem.with_suffix(".keys"), RECORD, 1, offset=row * RECORD.itemsize
        )
        if zlib.crc32(vector.tobytes()) != int(index["crc"][0]):
            raise ValueError(
                f"{segment.stem}.vectors: row {row} is damaged; delete this file and its .keys"
            )
        return vector

    def _check_width(self, width: int) -> None:
        if self.width is None:
            with replacing(self.folder / "width.json") as unfinished:
                unfinished.write_text(json.dumps(width))
            self.width = width
        if width != self.width:
            raise ValueError(
                f"teacher cache {self.folder}: holds embeddings of {self.width} values, "
                f"found {width}"
            )

    def _writer(self) -> tuple[BinaryIO, BinaryIO, _Segment]:
        if self._out is None:
            segment = _Segment(self.folder / f"segment-{os.getpid()}-{secrets.token_hex(8)}")
            vectors = segment.stem.with_suffix(".vectors").open("xb")
            index = segment.stem.with_suffix(".keys").open("xb")
            self._segments.append(segment)
            self._out = (vectors, index, segment)
        return self._out


def _halves(key: bytes) -> tuple[int, int]:
    return int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")


class TargetView(NamedTuple):
    """One image of a batch: its standard view, the key of that, and the draws of its jitter."""

    image: Tensor
    key: bytes
    draws: Tensor


@dataclass(frozen=True)
class CachedTeacher:
    """A teacher whose embeddings are looked up in a cache first, if there is one."""

    teacher: Teacher
    cache: EmbeddingCache | None

    def __call__(self, views: Sequence[TargetView], device: torch.device) -> Embeddings:
        """The teacher's embeddings ``(n, d)`` of the standard views; what is missing is computed.

        Missing ones are computed in one batch and stored together: a run that is killed and goes on
        computes the very same batches.
        """
        found = [None if self.cache is None else self.cache.get(view.key) for view in views]
        if self.cache is not None and any(value is None for value in found):
            self.cache.refresh()
            found = [
                self.cache.get(view.key) if value is None else value
                for view, value in zip(views, found, strict=True)
            ]
        missing: dict[bytes, Tensor] = {
            view.key: view.image for view, value in zip(views, found, strict=True) if value is None
        }
        fresh: dict[bytes, Tensor] = {}
        if missing:
            keys = list(missing)
            computed = self.teacher(torch.stack(list(missing.values())).to(device)).cpu()
            if self.cache is not None:
                computed = self.cache.put(keys, computed)
            fresh = dict(zip(keys, computed, strict=True))
        rows = [
            fresh[view.key] if value is None else value
            for view, value in zip(views, found, strict=True)
        ]
        return torch.stack(rows).to(device)


@dataclass(frozen=True)
class Target:
    """Maps teacher embeddings to a student's targets: times ``scale``, perhaps some axes of them.

    With ``unit`` their directions alone. ``mean`` ``(d,)`` and ``axes`` ``(k, d)`` are those of
    unit embeddings, or ``None``.
    """

    scale: float
    unit: bool = False
    mean: Tensor | None = None
    axes: Tensor | None = None

    def __call__(self, embeddings: Embeddings) -> Embeddings:
        if self.mean is None or self.axes is None:
            shown = F.normalize(embeddings, dim=1) if self.unit else embeddings
            return shown * self.scale
        mean, axes = self.mean.to(embeddings.device), self.axes.to(embeddings.device)
        centred = F.normalize(embeddings, dim=1) - mean
        return F.normalize(centred @ axes.T, dim=1) * self.scale


def fit_target(embeddings: Embeddings, dimensions: int, scale: float) -> Target:
    """The target of ``dimensions`` principal components of ``embeddings``.

    >>> norms = fit_target(torch.randn(50, 8), 4, 10.0)(torch.randn(3, 8)).norm(dim=1)
    >>> bool(torch.allclose(norms, torch.tensor(10.0)))
    True
    """
    if dimensions > min(embeddings.shape):
        raise ValueError(
            f"teacher: expected at most {min(embeddings.shape)} dimensions from "
            f"{len(embeddings)} embeddings of {embeddings.shape[1]} values, found {dimensions}"
        )
    units = F.normalize(embeddings.double(), dim=1)
    mean = units.mean(0)
    # Of the d x d covariance: a singular value decomposition of n rows costs far more.
    _, vectors = torch.linalg.eigh((units - mean).T @ (units - mean))
    axes = vectors.T.flip(0)
    return Target(scale, True, mean.float(), axes[:dimensions].float().contiguous())


def saved_target(path: Path, scale: float) -> Target | None:
    """The target that :func:`save_target` wrote, or ``None``."""
    if not path.is_file():
        return None
    held = load_file(path)
    return Target(scale, True, held["mean"], held["axes"])


def save_target(target: Target, path: Path) -> None:
    """Write a fitted target, whole or not at all: a run that goes on must not fit another."""
    assert target.mean is not None  # fitted
    assert target.axes is not None
    with replacing(path) as unfinished:
        save_file({"mean": target.mean, "axes": target.axes}, unfinished)
