"""The columns of a store's tables, and the header that names the metric and the views.

``images`` has a row an image: ``id`` (the SHA-256 of the file's bytes, or the caller's name),
``bytes`` (the file's size; null for images that were handed in as tensors), ``height``, ``width``,
then per view (:mod:`percert.search.ingest.views`) the raw embedding in ``h``, its norm, the proven
bound at the view's size, the error of pixel rounding and that of half precision, and the likeness
to the background (:mod:`percert.search.background`), by which it has a threshold of its own;
``time``. ``background`` holds that background. ``files`` has a row a file:
``path``, the ``id`` that it held, its ``bytes`` and ``mtime_ns`` then; ``time``. ``roots`` has the
``path`` of each folder that was added. All have a primary key by which LanceDB finds two writers of
the same row.
"""

import datetime
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from percert.search.tables.earlier import name_today

if TYPE_CHECKING:
    from percert.metrics.metric import Metric


@dataclass(frozen=True)
class MetricId:
    """All that decides what an embedding is and what is proven of it.

    ``weights`` is the SHA-256 of the network's weights, ``bound`` the proven Lipschitz bound of the
    network alone (a stored image's own bound has the norm of its resize besides), ``constant`` the
    c appended before normalising, ``feature_error`` the relative float error of an embedding of
    ``width`` values, ``resolution`` the (height, width) that the network sees, ``resize`` how.
    """

    name: str
    weights: str
    bound: float
    constant: float
    feature_error: float
    width: int
    resolution: tuple[int, int]
    resize: str
    precision: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def metric_id(metric: "Metric") -> MetricId:
    """The identity of ``metric``. Raises ``ValueError`` for one without a proven bound.

    >>> from percert.metrics.certified.lipsim import Thumbnail
    >>> found = metric_id(Thumbnail(8))
    >>> found.name, found.width, found.resolution, found.bound
    ('thumbnail-8', 192, (8, 8), 1.0)
    """
    # Here: to read what a store was made with takes no network.
    import torch

    from percert.certify.features import certifiable
    from percert.lipschitz.network import weights_hash

    proven = certifiable(metric)
    with torch.no_grad():
        probe = proven.embed(torch.full((1, 3, *proven.resolution), 0.5))
    resize = f"{proven.resize.mode}{', antialiased' if proven.resize.antialias else ''}"
    weights = weights_hash(proven.network)
    return MetricId(
        name=name_today(proven.name, weights),
        weights=weights,
        bound=proven.bound(proven.resolution).value,
        constant=proven.constant,
        feature_error=proven.feature_error,
        width=probe.shape[1],
        resolution=proven.resolution,
        resize=resize,
        precision=str(probe.dtype).removeprefix("torch."),
    )


def parse_metric_id(text: str) -> MetricId:
    """The inverse of :meth:`MetricId.to_json`, named as today; ``ValueError`` for anything else."""
    try:
        found = json.loads(text)
        known = {field.name for field in fields(MetricId)}
        if set(found) != known:
            raise ValueError(f"expected the fields {sorted(known)}, found {sorted(found)}")
        height, width = found.pop("resolution")
        found["name"] = name_today(found["name"], found["weights"])
        return MetricId(**found, resolution=(int(height), int(width)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"not the identity of a metric: {error}") from error


def check_same_metric(stored: MetricId, given: MetricId, store: str) -> None:
    """Raise ``ValueError``, with both hashes, unless the two are the same.

    The one given may be more exact, for embeddings are taken as they are stored: float64 where a
    store was made in float32, with less error to allow for.
    """
    exact = given.precision in (stored.precision, "float64")
    if exact and given.feature_error <= stored.feature_error:
        given = replace(given, precision=stored.precision, feature_error=stored.feature_error)
    if stored == given:
        return
    if (stored.name, stored.weights) != (given.name, given.weights):
        raise ValueError(
            f"{store}: holds embeddings of {stored.name} with weights {stored.weights}, "
            f"found {given.name} with weights {given.weights}"
        )
    for field in fields(MetricId):
        ours, theirs = getattr(stored, field.name), getattr(given, field.name)
        if ours != theirs:
            raise ValueError(
                f"{store}: holds embeddings of {stored.name} (weights {stored.weights}) with "
                f"{field.name} {ours}, found {theirs} (weights {given.weights})"
            )


#: Of the store's layout; a store of a later one is refused. One of the first has float32 embeddings
#: and no likeness: it is asked with one threshold for all.
FORMAT = 2
_MARK = b"percert"
_KEY = {b"lance-schema:unenforced-primary-key": b"true"}
T = TypeVar("T")


@dataclass(frozen=True)
class BackgroundId:
    """Which background a store's thresholds are by: its hash, the weight of a likeness to it, and
    its source, ``"shipped"`` with the metric or the ``"collection"``.
    """

    hash: str
    weight: float
    source: str


@dataclass(frozen=True)
class StoreHeader:
    """What holds for every row: the metric, and the names of the views in the order of ``h``.

    ``background`` is ``None`` where one threshold is for all.
    """

    metric: MetricId
    views: tuple[str, ...]
    background: BackgroundId | None = None
    layout: int = FORMAT

    @property
    def half(self) -> bool:
        """Whether embeddings are kept in half precision: those of a size that it can hold."""
        height, width = self.metric.resolution
        longest = self.metric.bound * (3 * height * width) ** 0.5
        return self.layout > 1 and 1 <= longest <= 2**15

    @property
    def weight(self) -> float:
        """How much the likeness of a stored image counts for its threshold."""
        return 0.0 if self.background is None else self.background.weight

    def to_metadata(self) -> dict[bytes, bytes]:
        text: dict[str, Any] = {"format": self.layout, "metric": self.metric.to_json()}
        text["views"] = list(self.views)
        if self.layout > 1:
            text["background"] = None if self.background is None else asdict(self.background)
        return {_MARK: json.dumps(text).encode()}


@dataclass(frozen=True)
class ImageRow:
    """One image before it is stored: ``h`` is ``(views, k)`` float32, the others ``(views,)``.

    Without a ``likeness`` it resembles nothing.
    """

    id: str
    bytes: int | None
    size: tuple[int, int]
    h: npt.NDArray[np.float32]
    bound: npt.NDArray[np.float64]
    pixel_error: npt.NDArray[np.float64]
    likeness: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class FileRow:
    """One file: which image it holds."""

    path: str
    id: str
    bytes: int
    mtime_ns: int


def read_header(metadata: dict[bytes, bytes] | None, store: str) -> StoreHeader:
    """The header in a table's metadata. Raises ``ValueError`` where it is none of ours."""
    try:
        text = json.loads((metadata or {})[_MARK])
        layout, own = text["format"], text.get("background")
        if layout not in range(1, FORMAT + 1):
            raise ValueError(f"layout {layout}, expected {FORMAT}: made by a later percert")
        background = None if own is None else BackgroundId(**own)
        return StoreHeader(
            parse_metric_id(text["metric"]), tuple(text["views"]), background, layout
        )
    except KeyError:
        raise ValueError(f"{store}: a LanceDB table, but not made by percert") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{store}: {error}") from error


def images_schema(header: StoreHeader) -> Any:
    """The Arrow schema of ``images``, the header in its metadata."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    views = len(header.views)
    each = pa.list_(pa.float64(), views)
    precision = pa.float16() if header.half else pa.float32()
    fields = [
        pa.field("id", pa.string(), nullable=False, metadata=_KEY),
        pa.field("bytes", pa.int64()),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("h", pa.list_(precision, views * header.metric.width), nullable=False),
        pa.field("norm", each, nullable=False),
        pa.field("bound", each, nullable=False),
        pa.field("pixel_error", each, nullable=False),
        *([pa.field("likeness", each, nullable=False)] if header.layout > 1 else []),
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
    ]
    return pa.schema(fields, metadata=header.to_metadata())


def files_schema() -> Any:
    """The Arrow schema of ``files``."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False, metadata=_KEY),
            pa.field("id", pa.string(), nullable=False),
            pa.field("bytes", pa.int64(), nullable=False),
            pa.field("mtime_ns", pa.int64(), nullable=False),
            pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        ]
    )


def roots_schema() -> Any:
    """The Arrow schema of ``roots``."""
    import pyarrow as pa

    return pa.schema([pa.field("path", pa.string(), nullable=False, metadata=_KEY)])


def images_table(rows: Sequence[ImageRow], header: StoreHeader) -> Any:
    """``rows`` as an Arrow table.

    The norms are those of the embeddings as they are stored. What half precision takes from an
    embedding counts as an error of the image's pixels: it matters where the stored image moves.
    Raises ``ValueError`` for an embedding that half precision cannot hold.
    """
    import pyarrow as pa

    schema = images_schema(header)
    exact = np.stack([row.h for row in rows]).astype(np.float32, copy=False)
    h, error = exact, np.stack([row.pixel_error for row in rows])
    bound = np.stack([row.bound for row in rows])
    if header.half:
        with np.errstate(over="ignore", invalid="ignore"):
            h = exact.astype(np.float16)
            lost = np.nan_to_num(exact.astype(np.float64) - h.astype(np.float64))
        if (np.isinf(h) & np.isfinite(exact)).any():
            raise ValueError("embedding: too long for half precision")
        error = error + np.linalg.norm(lost, axis=2) * (1 + 1e-9) / bound
    norms = np.linalg.norm(h.astype(np.float64), axis=2)
    numbers = {"h": h, "norm": norms, "bound": bound, "pixel_error": error}
    if header.layout > 1:
        none = np.zeros(len(header.views))
        like = [none if row.likeness is None else row.likeness for row in rows]
        numbers["likeness"] = np.stack(like)
    columns = [
        pa.array([row.id for row in rows], pa.string()),
        pa.array([row.bytes for row in rows], pa.int64()),
        pa.array([row.size[0] for row in rows], pa.int32()),
        pa.array([row.size[1] for row in rows], pa.int32()),
        *(
            pa.FixedSizeListArray.from_arrays(
                pa.array(values.reshape(-1)), type=schema.field(name).type
            )
            for name, values in numbers.items()
        ),
        pa.array([_now()] * len(rows), schema.field("time").type),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def background_schema() -> Any:
    """The Arrow schema of ``background``: one row, the hash of it and all of it as bytes."""
    import pyarrow as pa

    return pa.schema([pa.field("hash", pa.string()), pa.field("data", pa.large_binary())])


def files_table(rows: Sequence[FileRow]) -> Any:
    """``rows`` as an Arrow table."""
    import pyarrow as pa

    schema = files_schema()
    columns = [
        pa.array([getattr(row, name) for row in rows], schema.field(name).type)
        for name in ("path", "id", "bytes", "mtime_ns")
    ]
    times = pa.array([_now()] * len(rows), schema.field("time").type)
    return pa.Table.from_arrays([*columns, times], schema=schema)


def is_one_of(column: str, values: Iterable[str], at_once: int = 1000) -> Iterator[str]:
    """SQL conditions that together match every row whose ``column`` is among ``values``.

    >>> list(is_one_of("path", ["it's", "b", "c"], at_once=2))
    ["path IN ('it''s', 'b')", "path IN ('c')"]
    """
    for part in in_parts(values, at_once):
        quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in part)
        yield f"{column} IN ({quoted})"


def in_parts(items: Iterable[T], at_once: int) -> Iterator[list[T]]:
    """``items`` in lists of ``at_once``, the last one perhaps shorter.

    >>> list(in_parts("abc", 2))
    [['a', 'b'], ['c']]
    """
    rest = iter(items)
    while part := list(islice(rest, at_once)):
        yield part


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
