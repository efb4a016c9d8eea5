"""Shards of D: parquet files of images that are whole or not there, and say so themselves.

A shard is called ``NUMBER-DIGEST.parquet``; the digest is the start of the SHA-256 of its bytes. So
a folder of shards needs no index that could be torn: what is listed is complete, a byte changed
anywhere is found when the folder is opened, and a number left out is a shard that was lost.

Images are PNG files of one kind, 8-bit RGB with no row filter, in one chunk of data: any reader
opens them. That kind is known by its first bytes and needs no parser, and is read ten times as fast
as any PNG; whatever else is left to Pillow.
"""

import hashlib
import io
import re
import struct
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from percert.files import file_sha256, write_whole
from percert.training.dro.weighting import Bytes, Floats, Ints

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Where the data starts: after the signature, the header's 25 bytes, and a chunk's first 8.
DATA = 41
#: zlib's level. At 32 x 32 more of it shrinks the files by a few per cent, for thrice the time.
LEVEL = 1


def encode_png(image: Bytes) -> bytes:
    """uint8 ``(3, h, w)`` as a PNG file, lossless.

    >>> import numpy as np
    >>> image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    >>> bool((decode_png(encode_png(image), (4, 4)) == image).all())
    True
    """
    _, height, width = image.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = image.transpose(1, 2, 0).reshape(height, 3 * width)
    data = zlib.compress(rows.tobytes(), LEVEL)
    return _head((height, width)) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def decode_png(content: bytes, size: tuple[int, int]) -> Bytes:
    """The pixels of a PNG (or any other picture) of ``size`` (h, w): uint8 ``(3, h, w)``.

    Raises ``ValueError`` for what is no picture, or one of another size.
    """
    height, width = size
    if content.startswith(_head(size)) and content[DATA - 4 : DATA] == b"IDAT":
        end = DATA + int.from_bytes(content[DATA - 8 : DATA - 4], "big")
        try:
            raw = np.frombuffer(zlib.decompress(content[DATA:end]), np.uint8)
        except zlib.error as error:
            raise ValueError(f"a damaged PNG ({error})") from None
        if raw.size == height * (1 + 3 * width):
            rows = raw.reshape(height, 1 + 3 * width)
            if not rows[:, 0].any():
                plain: Bytes = rows[:, 1:].reshape(height, width, 3).transpose(2, 0, 1)
                return plain
    try:
        with Image.open(io.BytesIO(content)) as file:
            pixels = np.asarray(file.convert("RGB"))
    except OSError as error:
        raise ValueError(f"not a picture ({error})") from None
    if pixels.shape[:2] != size:
        raise ValueError(f"expected {height} x {width} pixels, found {pixels.shape[:2]}")
    found: Bytes = pixels.transpose(2, 0, 1)
    return found


def _head(size: tuple[int, int]) -> bytes:
    """Signature and header: 8 bits, RGB, deflate, the usual filters, not interlaced."""
    height, width = size
    return SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = kind + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


Bools = npt.NDArray[np.bool_]

NAME = re.compile(r"(?P<number>\d{6})-(?P<digest>[0-9a-f]{16})\.parquet")
#: Rows and bytes that are read at once, at most: to draw one image is to read its group.
ROW_GROUP, GROUP_BYTES = 256, 2 << 20


@dataclass(frozen=True, eq=False)
class Facts:
    """The columns of n images of D beside their pixels, each ``(n,)``.

    ``round`` is 0 for the clean images; ``position`` counts from 1 in each round; ``source`` is the
    clean image that one comes from, counted from 0. ``success``: it is an adversarial image;
    ``wrong``: nothing was done to it, for the model was wrong already; ``spared``: the perturbation
    of its cluster's centre was enough. ``cost`` is its distance from the clean image.
    """

    label: Ints
    weight: Floats
    round: Ints
    position: Ints
    source: Ints
    success: Bools
    wrong: Bools
    spared: Bools
    cost: Floats

    def __len__(self) -> int:
        return len(self.label)

    def select(self, rows: "Ints | slice") -> "Facts":
        """The entries of ``rows``, in that order."""
        return Facts(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def clean_facts(labels: Ints, first: int = 0) -> Facts:
    """The facts of clean images, the first of which has the number ``first``."""
    count = len(labels)
    none, number = np.zeros(count, bool), first + np.arange(count)
    return Facts(
        label=np.asarray(labels, np.int64),
        weight=np.ones(count),
        round=np.zeros(count, np.int64),
        position=number + 1,
        source=number,
        success=none,
        wrong=none,
        spared=none,
        cost=np.zeros(count),
    )


def joined(parts: list[Facts]) -> Facts:
    """All ``parts``, one after another."""
    return Facts(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Facts)
        }
    )


@dataclass(frozen=True)
class Shard:
    """One file, and its place among the others."""

    path: Path
    number: int
    digest: str


def write_shard(folder: Path, number: int, images: Bytes, facts: Facts) -> Shard:
    """Write ``images`` ``(n, 3, h, w)``, uint8, with their ``facts``; whole or not at all.

    Images become PNG files in a column ``image`` {bytes, path}, the convention of Hugging Face
    ``datasets``. Needs pyarrow.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(facts):
        raise ValueError(
            f"shard {number}: expected {len(facts)} images of uint8, found {images.dtype} "
            f"{images.shape}"
        )
    encoded = [{"bytes": encode_png(image), "path": None} for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns: dict[str, Any] = {"image": pa.array(encoded, kind)}
    columns |= {field.name: pa.array(getattr(facts, field.name)) for field in fields(facts)}
    buffer = io.BytesIO()
    largest = max((len(entry["bytes"] or b"") for entry in encoded), default=1)
    pq.write_table(
        pa.table(columns),
        buffer,
        row_group_size=max(1, min(ROW_GROUP, GROUP_BYTES // largest)),
        use_dictionary=False,
        compression="none",  # PNG files are compressed
    )
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"{number:06d}-{digest}.parquet"
    write_whole(path, content)
    return Shard(path, number, digest)


def list_shards(folder: Path) -> list[Shard]:
    """The shards of ``folder``, in order. Raises ``ValueError`` where one is missing or doubled."""
    found = []
    for path in folder.glob("*.parquet"):
        name = NAME.fullmatch(path.name)
        if name is None:
            raise ValueError(f"{path}: expected a name NUMBER-DIGEST.parquet")
        found.append(Shard(path, int(name["number"]), name["digest"]))
    found.sort(key=lambda shard: shard.number)
    for place, shard in enumerate(found):
        if shard.number < place:
            raise ValueError(f"{folder}: there are two shards of number {shard.number}")
        if shard.number > place:
            raise ValueError(f"{folder}: shard {place} is missing, number {shard.number} is there")
    return found


def check_shard(shard: Shard) -> None:
    """Raise ``ValueError`` unless the file holds the bytes that were written."""
    try:
        digest = file_sha256(shard.path)
    except OSError as error:
        raise ValueError(f"{shard.path}: cannot be read ({error})") from None
    if not digest.startswith(shard.digest):
        raise ValueError(f"{shard.path}: damaged, its bytes are not those that were written")


def read_facts(shard: Shard) -> tuple[Facts, list[int]]:
    """The columns but the images, and how many rows each row group has.

    Raises ``ValueError`` for a file that is no shard.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [field.name for field in fields(Facts)]
    try:
        with pq.ParquetFile(shard.path, memory_map=True) as file:
            missing = {"image", *names} - set(file.schema_arrow.names)
            if missing:
                raise ValueError(f"{shard.path}: no column {min(missing)!r}")
            table = file.read(columns=names)
            groups = [
                file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)
            ]
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{shard.path}: not a shard that can be read ({error})") from None
    return Facts(**{name: table.column(name).to_numpy() for name in names}), groups
