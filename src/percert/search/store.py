"""The opened store of an index: add images to it, remove them, and query it."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, final

from torch import Tensor

from percert.certify.own_threshold import OwnThreshold
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.descriptor import Descriptor
from percert.search.info import describe_tables
from percert.search.ingest.add import Added, add_tensors, iter_add
from percert.search.ingest.ray import iter_ray_add
from percert.search.ingest.sources import AddOutcome, AddSettings, StageSeconds
from percert.search.partner.partner import Partner
from percert.search.query.answers import Answering, query_names
from percert.search.query.distances import asked_features, embedding_spec, query_features
from percert.search.query.duplicates import Progress, find_duplicates
from percert.search.query.engine import Engine, LocalEngine
from percert.search.query.inside import PICTURES, with_insets
from percert.search.query.ray import ray_engine
from percert.search.query.recommended import WRONG, has_table
from percert.search.query.results import Answers, Copies, Duplicates, Nearest
from percert.search.query.rule import Rule, partner_share, shared_rate, store_rule
from percert.search.query.threshold import AutoThreshold, choose_threshold
from percert.search.refit import Refitted, refit_store
from percert.search.tables.cache import MEMORY, EmbeddingBlocks
from percert.search.tables.commit import Pruned, prune_store, remove_images, remove_named
from percert.search.tables.files import path_key
from percert.search.tables.location import Tables
from percert.search.tables.paths import Paths
from percert.search.tables.scan import scan_rows
from percert.search.tables.schema import MetricId, is_one_of
from percert.search.verify import StoreCheck, verify_store


@final
class Store:
    """An opened store, made by :func:`percert.search.open_store`: a snapshot of that moment.

    What it adds and removes itself shows at once, what other processes do after :meth:`refresh`.
    ``blocks()`` yields all embeddings (:class:`~percert.search.tables.cache.EmbeddingBlocks`),
    ``tables`` are those of LanceDB, ``partner`` is the :class:`~percert.search.partner.Partner`.
    """

    def __init__(
        self,
        tables: Tables,
        metric: EmbeddingMetric | None = None,
        memory: int = MEMORY,
        partner: Descriptor | Literal[False] | None = None,
    ) -> None:
        self.tables = tables
        self.metric = metric
        self.blocks = EmbeddingBlocks(tables, memory)
        self._paths = Paths(tables)
        self._spec = embedding_spec(tables.header, metric)
        like = None if metric is None else next(metric.buffers(), None)
        self._device = "cpu" if like is None else str(like.device)
        self.partner = Partner(tables, partner, self._device, self._paths)
        self._engine: Engine = LocalEngine(self.blocks, self._spec, self._device)
        self._answering = Answering(self.views, self.metric_id.name, self._paths.of)

    @property
    def path(self) -> str:
        """The folder or address of the store."""
        return self.tables.path

    @property
    def metric_id(self) -> MetricId:
        """Name, weights hash and bound of the metric that all embeddings here are from."""
        return self.tables.header.metric

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views that each image is stored with, the whole image first."""
        return self.tables.header.views

    @property
    def count(self) -> int:
        """How many images there are, each counted once however many files hold it."""
        return self.blocks.once("count", lambda: int(self.tables.images.count_rows()))

    @property
    def version(self) -> int:
        """The version of the table of images, which changes with every commit: a key for caches."""
        return int(self.tables.images.version)

    def refresh(self) -> None:
        """Show what others have added and removed since the store was opened."""
        self.tables.refresh()

    def embedder(self) -> EmbeddingMetric:
        """The metric. Raises ``ValueError`` for a store that was opened without one."""
        if self.metric is None:
            raise ValueError(f"{self.path}: opened without a metric, which this needs")
        return self.metric

    def rows(self, columns: Sequence[str], ids: Sequence[str] | None = None) -> Any:
        """A ``pyarrow.Table`` of ``columns`` of all images, or of those of ``ids`` there are."""
        return scan_rows(self.tables, columns, ids)

    def paths(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """For each of ``ids`` that is stored, all files that hold the image, in order."""
        found = self.rows(["id", "paths"], ids)
        return dict(zip(found["id"].to_pylist(), found["paths"].to_pylist(), strict=True))

    def find_path(self, path: str | os.PathLike[str]) -> str | None:
        """The id of the image that the file ``path`` held when it was added, or ``None``."""
        (condition,) = is_one_of("path", [path_key(path)])
        found = self.tables.files.search().where(condition).select(["id"]).to_arrow()
        return found["id"][0].as_py() if len(found) else None

    def add(self, images: Tensor | Sequence[Tensor], ids: Sequence[str]) -> Added:
        """Store images ``(n, 3, h, w)`` in [0, 1], or a list of ``(3, h, w)``, under ``ids``.

        An id that is there already keeps what it has. When this returns, all are stored for good.
        """
        added = add_tensors(self.tables, self.embedder(), images, ids)
        self.partner.add(dict(zip(ids, images, strict=True)), added.added)
        return added

    def add_files(
        self, inputs: Iterable[str | os.PathLike[str]], settings: AddSettings | None = None
    ) -> list[AddOutcome]:
        """The outcomes of :meth:`iter_add` as a list, once all are stored.

        >>> import tempfile, torch
        >>> from percert.images import save_image
        >>> from percert.metrics.certified.lipsim import Thumbnail
        >>> from percert.search import open_store
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_image(torch.rand(3, 20, 30), f"{folder}/a.png")
        ...     store = open_store(f"{folder}/store", Thumbnail(8))
        ...     [[each.what for each in store.add_files([f"{folder}/a.png"])] for _ in range(2)]
        [['added'], ['unchanged']]
        """
        return list(self.iter_add(inputs, settings))

    def iter_add(
        self,
        inputs: Iterable[str | os.PathLike[str]],
        settings: AddSettings | None = None,
        stages: StageSeconds | None = None,
    ) -> Iterator[AddOutcome]:
        """Add files, folders and parquet files; yields each outcome once it is stored for good.

        Folders are searched as :func:`percert.images.find_images` does; a parquet file has to be
        named, and has a column ``image`` (bytes, or structs with ``bytes``). A file whose path,
        size and time of change are known is not read again; one whose bytes are known is read, but
        not embedded. ``stages`` collects the seconds that each stage takes.
        """
        return iter_add(self.tables, self.embedder(), inputs, settings, stages)

    def iter_ray_add(
        self,
        inputs: Iterable[str | os.PathLike[str]],
        settings: AddSettings | None = None,
        *,
        address: str | None = None,
        workers: int | None = None,
        device: str = "auto",
    ) -> Iterator[AddOutcome]:
        """:meth:`iter_add` on the Ray cluster at ``address``, or on one of this machine.

        ``workers`` networks run at once, each on its ``device``; see
        :func:`percert.search.ingest.ray.iter_ray_add`.
        """
        how: dict[str, Any] = {"address": address, "workers": workers, "device": device}
        return iter_ray_add(self.tables, self.embedder(), inputs, settings, **how)

    @contextlib.contextmanager
    def on_ray(
        self, *, address: str | None = None, workers: int | None = None, device: str = "auto"
    ) -> Iterator["Store"]:
        """This store, queried on the workers of a Ray cluster, with the same answers.

        Each keeps a part of the rows; arguments as in :func:`percert.search.query.ray.ray_engine`.
        """
        how: dict[str, Any] = {"address": address, "workers": workers, "device": device}
        with ray_engine(self.tables, self._spec, memory=self.blocks.memory, **how) as self._engine:
            try:
                yield self
            finally:
                self._engine = LocalEngine(self.blocks, self._spec, self._device)

    def search(
        self,
        images: Tensor | Sequence[Tensor],
        k: int = 10,
        eps: float | None = None,
        *,
        names: Sequence[str] | None = None,
        wrong: float = WRONG,
    ) -> Answers[Nearest]:
        """The ``k`` nearest stored images to each of ``images``, with radii; several in one pass.

        ``images`` are ``(n, 3, h, w)`` or a list of ``(3, h, w)`` in [0, 1], ``names`` what the
        answers call them. With ``eps``, an l2 length in the query's pixels, each answer lists all
        images that could be the first after such a move. Exact: no row is left out. A partner's
        nearest stand beside them, copies among them at their part of ``wrong``. Raises
        ``ValueError`` for a store that was opened without its metric, and for what are not images.
        """
        asked = query_features(self.embedder(), images)
        near = self._engine.nearest(asked, k, eps)
        answers = self._answering.nearest(query_names(names, len(asked)), near, k, eps)
        return Answers(self.partner.beside(answers, list(images), shared_rate(wrong)[1], k))

    def rule(
        self, threshold: float | None = None, *, wrong: float | None = None, insets: bool = False
    ) -> Rule:
        """The decision rule for copies, as every answer names it.

        Either for the rate ``wrong``, 1e-3 by default: the share of strangers that may get an
        answer, by the metric's own table, or, where it has none for this store, by the stored
        images, which are then taken to be no copies of each other. A partner has 0.95 of it. Or
        with a ``threshold`` of your own: T of :class:`~percert.certify.OwnThreshold`. Where
        ``insets`` are asked as well, the rate is that of a query with all of them. Raises
        ``ValueError`` for both, and for numbers out of range.
        """
        if threshold is None and self.partner.id is not None:
            wrong, _ = shared_rate(wrong)
        how = self.tables.header, self.count, self.choose_threshold
        return store_rule(*how, threshold, wrong, PICTURES if insets else 1)

    def _asked_rule(
        self, threshold: float | Rule | None, wrong: float | None, insets: bool = False
    ) -> tuple[Rule, float]:
        """The rule for these arguments, and the rate of wrong answers left to the partner."""
        if isinstance(threshold, Rule):
            return threshold, partner_share(threshold, wrong)
        rule = self.rule(threshold, wrong=wrong if threshold is None else None, insets=insets)
        return rule, partner_share(rule, wrong)

    @property
    def has_table(self) -> bool:
        """Whether the metric ships a calibration (a table of strangers) for such a store."""
        return has_table(self.tables.header)

    def copies(
        self,
        images: Tensor | Sequence[Tensor],
        threshold: float | Rule | None = None,
        eps: float | None = None,
        *,
        wrong: float | None = None,
        names: Sequence[str] | None = None,
        insets: bool = False,
    ) -> Answers[Copies]:
        """All stored images that each image is a copy of, or could be after a move of ``eps``.

        ``threshold`` and ``wrong`` as in :meth:`rule`, or a rule that was made before. Other
        arguments as in :meth:`search`; without ``eps`` nothing moves, and only float rounding is
        allowed for. Complete by proof: no image that is not listed becomes a copy by a move of up
        to ``eps``. A partner's copies stand beside, at 0.95 of the rate of wrong answers. With
        ``insets`` the pictures found inside an image (:func:`percert.images.insets.find_insets`:
        screenshots, collages, frames) are asked as well, at the same rate in all.
        """
        rule, shared = self._asked_rule(threshold, wrong, insets)
        every, eps, own = list(images), eps or 0.0, OwnThreshold(rule.threshold, rule.weight)

        def ask(some: Sequence[Tensor], labels: Sequence[str]) -> list[Copies]:
            asked = asked_features(self.embedder(), some, self._spec.by_asked)
            near = self._engine.copies(asked, own, eps)
            return self._answering.copies(labels, near, rule, eps)

        answers = ask(every, query_names(names, len(every)))
        if insets:
            answers = with_insets(every, answers, ask)
        return Answers(self.partner.beside(answers, every, shared))

    def duplicates(
        self,
        threshold: float | Rule | None = None,
        *,
        wrong: float | None = None,
        out: str | os.PathLike[str] | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Duplicates:
        """All pairs of stored images of which one is a copy of the other, and their clusters.

        ``threshold`` and ``wrong`` as in :meth:`rule`; each image is compared as a query is. Both
        images of a link may move, each by less than its radius in its own pixels. Files with the
        same bytes are linked at distance 0. ``out`` is a folder for the finished parts, a
        checkpoint from which a killed run resumes. A partner's pairs stand beside.
        """
        rule, shared = self._asked_rule(threshold, wrong)
        compared, folder = (self._engine.pairs, self._spec), None if out is None else Path(out)
        found = find_duplicates(self.tables, *compared, rule, out=folder, progress=progress)
        return self.partner.beside_links(found, shared)

    def choose_threshold(
        self, fpr: float = 1e-3, *, confidence: float = 0.95, seed: int = 0
    ) -> AutoThreshold:
        """A threshold by the images: :func:`percert.search.query.threshold.choose_threshold`."""
        spec, weight, how = self._spec, self.tables.header.weight, (confidence, seed)
        choose = partial(choose_threshold, self.blocks, self.count, spec, fpr, weight, *how)
        return self.blocks.once((fpr, confidence, seed), choose)

    def refit(self, source: Literal["shipped", "collection"] = "shipped") -> Refitted:
        """Recalibrate the thresholds of all stored images against another background.

        ``source`` is the ``collection`` itself, or the metric's own background
        (:mod:`percert.search.refit`).
        """
        found = refit_store(self.tables, self._spec, source)
        self.tables, self._spec = found.tables, embedding_spec(found.tables.header, self.metric)
        self.blocks = EmbeddingBlocks(self.tables, self.blocks.memory)
        self._engine = LocalEngine(self.blocks, self._spec, self._device)
        self._paths.tables = self.partner.tables = self.tables
        return found

    def remove(self, ids: Sequence[str]) -> int:
        """Remove the images ``ids`` and the rows of their files; returns how many there were."""
        removed = remove_images(self.tables, ids)
        self.partner.forget_gone()
        return removed

    def remove_named(self, names: Sequence[str]) -> tuple[int, list[str]]:
        """Remove files, folders, parquet files, or images by id: how many, and what is not here."""
        removed = remove_named(self.tables, names)
        self.partner.forget_gone()
        return removed

    def prune(
        self,
        below: Sequence[str | os.PathLike[str]] | None = None,
        *,
        dry_run: bool = False,
    ) -> Pruned:
        """Forget the files that no longer exist, and the images that no other file holds.

        ``below`` limits it to some folders. Files below a root of which nothing exists now are
        kept: an unmounted disk must not empty a store. With ``dry_run`` nothing is changed.
        """
        pruned = prune_store(self.tables, below, dry_run=dry_run)
        self.partner.forget_gone()
        return pruned

    def verify(self, again: int = 0) -> StoreCheck:
        """Check the store's integrity; ``again`` images are embedded once more and compared."""
        return verify_store(self.tables, self.metric, again)

    def info(self) -> dict[str, Any]:
        """Counts, metric, views and size, as ``percert index info`` shows them."""
        return describe_tables(self.tables)
