"""The store of an index: embeddings of images in LanceDB, in a folder or an object store."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.metric import Metric
from percert.search.ingest.views import parse_views
from percert.search.tables.location import is_store, open_tables
from percert.search.tables.schema import (
    MetricId,
    StoreHeader,
    check_same_metric,
    is_one_of,
    metric_id,
)

if TYPE_CHECKING:
    from percert.search.ingest.add import Added
    from percert.search.query.results import Answers, Copies, Duplicates, Nearest
    from percert.search.tables.prune import Pruned
    from percert.search.verify import Verdict

#: Bytes of embeddings that a store keeps in memory between queries.
MEMORY = 512 << 20
#: Values of a block that is read, 16 MiB: what is larger, malloc takes from the system, page by
#: page, every time. Of one that is kept: the fewer blocks, the less is done for each.
BLOCK_VALUES, KEPT_VALUES = 4 << 20, 16 << 20
#: Bytes of an image's name.
NAME_BYTES = 80


@dataclass(frozen=True)
class Block:
    """Some images of a store, in its order: ``m`` of them with ``views`` embeddings each.

    ``embeddings`` ``(m * views, k)`` float32 holds the raw h, all views of an image side by side:
    row r is view ``r % views`` of image ``ids[r // views]``. ``norms``, ``bounds`` and
    ``pixel_errors`` ``(m * views,)`` float64: |h|, the proven bound of h at the view's size, and
    the rounding of the pixels in pixel units (``pixel_error`` of
    :func:`percert.certify.features.pixel_features`). All lie on the CPU, and are not to be changed.
    """

    ids: "Ids"
    embeddings: Tensor
    norms: Tensor
    bounds: Tensor
    pixel_errors: Tensor
    views: int

    @property
    def view(self) -> Tensor:
        """``(m * views,)`` int64: which of :attr:`Store.views` each row is."""
        return torch.arange(self.views).repeat(len(self.ids))


@final
class Ids(Sequence[str]):
    """Names of images, kept as Arrow has them and made Python strings where they are asked for."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.column[index].to_pylist()
        return self.column[index].as_py()


@final
class Store:
    """An opened store; :func:`open_store` makes it. It shows the state of when it was opened.

    What the store itself adds and removes it shows at once, what others do after :meth:`refresh`.
    """

    def __init__(
        self,
        path: str,
        images: Any,
        files: Any,
        header: StoreHeader,
        metric: EmbeddingMetric | None,
        memory: int = MEMORY,
    ) -> None:
        self.path = path
        self.images = images
        self.files = files
        self.header = header
        self.metric = metric
        self.memory = memory
        self._kept: tuple[int, list[Block]] = (-1, [])

    @property
    def metric_id(self) -> MetricId:
        """Name, weights hash and bound of the metric that all embeddings here are from."""
        return self.header.metric

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views that each image is stored with, the whole image first."""
        return self.header.views

    @property
    def count(self) -> int:
        """How many images there are, each counted once however many files hold it."""
        return int(self.images.count_rows())

    @property
    def version(self) -> int:
        """Another number after every change of the images: what is kept for one is stale then."""
        return int(self.images.version)

    def refresh(self) -> None:
        """Show what others have added and removed since the store was opened."""
        self.images.checkout_latest()
        self.files.checkout_latest()

    def embedder(self) -> EmbeddingMetric:
        """The metric. Raises ``ValueError`` for a store that was opened without one."""
        if self.metric is None:
            raise ValueError(f"{self.path}: opened without a metric, which this needs")
        return self.metric

    def blocks(self, rows: int | None = None) -> Iterator[Block]:
        """All images, in blocks of at most ``rows`` embeddings (but at least one image).

        By default a block holds 16 MiB. Memory holds a few blocks at a time, however large the
        store; where all of it takes at most :attr:`memory` bytes, it is kept for the next query,
        in blocks of 64 MiB.
        Iterate twice, and the order is the same, unless the store has been changed in between.
        """
        from percert.search.tables.scan import scan_blocks

        if rows is None:
            return self._kept_blocks()
        return scan_blocks(self.images, self.header, rows)

    def _kept_blocks(self) -> Iterator[Block]:
        from percert.search.tables.scan import scan_blocks

        version, kept = self._kept
        now = self.version
        if version == now:
            yield from kept
            return
        self._kept = -1, []
        some: list[Block] | None = [] if self._bytes() <= self.memory else None
        values = BLOCK_VALUES if some is None else KEPT_VALUES
        rows = max(1, values // self.metric_id.width)
        for block in scan_blocks(self.images, self.header, rows):
            if some is not None:
                some.append(block)
            yield block
        if some is not None:
            self._kept = now, some

    def _bytes(self) -> int:
        """About what all blocks take together."""
        each = 4 * self.metric_id.width + 24
        return self.count * (each * len(self.views) + NAME_BYTES)

    def rows(self, columns: Sequence[str], ids: Sequence[str] | None = None) -> Any:
        """A ``pyarrow.Table`` of ``columns`` of all images, or of those of ``ids`` that are there.

        The columns: ``id``, ``bytes``, ``height``, ``width``, ``h``, ``norm``, ``bound``,
        ``pixel_error``, ``time``; ``path``, the first in order of the files that hold the image
        (null for an image without one), and ``paths``, the list of all; ``metric`` and ``weights``.
        Raises ``ValueError`` for another column. With ``ids``, the rows come in their order.
        """
        from percert.search.tables.scan import scan_rows

        return scan_rows(self.images, self.files, self.header, columns, ids)

    def find_path(self, path: str | os.PathLike[str]) -> str | None:
        """The id of the image that the file ``path`` held when it was added, or ``None``."""
        from percert.search.ingest.sources import path_key

        (condition,) = is_one_of("path", [path_key(path)])
        found = self.files.search().where(condition).select(["id"]).to_arrow()
        return found["id"][0].as_py() if len(found) else None

    def add(self, images: Tensor | Sequence[Tensor], ids: Sequence[str]) -> "Added":
        """Store images ``(n, 3, h, w)`` in [0, 1], or a list of ``(3, h, w)``, under ``ids``.

        An id that is there already keeps what it has. When this returns, all are stored, and stay
        so. Raises ``ValueError`` for what are not images, and for ids that are not one per image.
        See :func:`percert.search.ingest.add.add_files` for files.
        """
        from percert.search.ingest.add import add_tensors

        return add_tensors(self, images, ids)

    def search(
        self, images: Tensor | Sequence[Tensor], k: int = 10, eps: float | None = None
    ) -> "Answers[Nearest]":
        """The ``k`` nearest images to each query; see
        :func:`percert.search.query.queries.search`."""
        from percert.search.query.queries import search

        return search(self, images, k, eps)

    def copies(
        self, images: Tensor | Sequence[Tensor], threshold: float, eps: float | None = None
    ) -> "Answers[Copies]":
        """All copies of each query; see :func:`percert.search.query.queries.copies`."""
        from percert.search.query.queries import copies

        return copies(self, images, threshold, eps)

    def duplicates(
        self, threshold: float, *, out: str | os.PathLike[str] | None = None
    ) -> "Duplicates":
        """All pairs within ``threshold``; see :func:`percert.search.query.queries.duplicates`."""
        from percert.search.query.queries import duplicates

        return duplicates(self, threshold, out=out)

    def remove(self, ids: Sequence[str]) -> int:
        """Remove the images ``ids``, and what is known of their files; how many there were."""
        from percert.search.tables.remove import remove_images

        return remove_images(self, ids)

    def prune(
        self,
        below: Sequence[str | os.PathLike[str]] | None = None,
        *,
        dry_run: bool = False,
    ) -> "Pruned":
        """Forget the files that are gone; see :func:`percert.search.tables.prune.prune_store`."""
        from percert.search.tables.prune import prune_store

        return prune_store(self, below, dry_run=dry_run)

    def verify(self, again: int = 0) -> "Verdict":
        """Whether the store is sound; see :func:`percert.search.verify.verify_store`."""
        from percert.search.verify import verify_store

        return verify_store(self, again)

    def info(self) -> dict[str, Any]:
        """What ``percert index info`` says: counts, metric, views and size."""
        from percert.search.info import describe_tables

        return describe_tables(self.path, self.images, self.files, self.header)


def open_store(
    path: str | os.PathLike[str],
    metric: Metric | None = None,
    *,
    create: bool = True,
    views: str | Sequence[str] | None = None,
    memory: int = MEMORY,
) -> Store:
    """The store at ``path``, a folder or an address such as ``s3://bucket/name``.

    Where there is none, ``create`` makes one for ``metric`` and ``views`` (the name of a set of
    :data:`percert.search.ingest.views.VIEW_SETS`, or names of views; by default the set ``whole``).
    A
    store that exists must be of the same metric, weights included, and of the same views unless
    none are named: otherwise ``ValueError``, with both hashes. Without a ``metric``, the store can
    be looked at, verified and removed from, but nothing can be embedded. Embeddings of up to
    ``memory`` bytes in all are kept between queries; a larger store is read anew by each.

    >>> import tempfile
    >>> from percert.metrics.certified.lipsim import thumbnail
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = open_store(f"{folder}/photos.store", thumbnail(8))
    ...     added = store.add(torch.rand(2, 3, 32, 32), ids=["a", "b"])
    ...     store.count, [len(block.ids) for block in store.blocks()]
    (2, [2])
    """
    name = os.fspath(path)
    wanted = None if views is None else parse_views(views)
    given = None if metric is None else metric_id(metric)
    new = StoreHeader(given, wanted or parse_views("whole")) if create and given else None
    images, files, header = open_tables(name, new)
    if given is not None:
        check_same_metric(header.metric, given, name)
    if wanted is not None and wanted != header.views:
        raise ValueError(
            f"{name}: holds the views {', '.join(header.views)}, found {', '.join(wanted)}"
        )
    embedder = metric if isinstance(metric, EmbeddingMetric) else None
    return Store(name, images, files, header, embedder, memory)


def stored_metric(path: str | os.PathLike[str]) -> MetricId | None:
    """The identity of the metric of the store at ``path``; ``None`` where there is no store yet.

    >>> stored_metric("/no/such/folder") is None
    True
    """
    name = os.fspath(path)
    if not is_store(name):
        return None
    return open_tables(name, None)[2].metric
