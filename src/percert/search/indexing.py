"""Indexing a collection in one call: all images of files and folders are added to a store."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from percert.images import LeftOut
from percert.metrics.descriptor import Descriptor
from percert.metrics.metric import Metric
from percert.search.info import stored_metric
from percert.search.ingest.listed import listed_images
from percert.search.ingest.sources import AddOutcome, AddSettings, count_images
from percert.search.open import open_store
from percert.search.own_ids import keep_own_ids
from percert.search.partner.fill import Filled
from percert.search.store import Store
from percert.search.tables.commit import Pruned

#: Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], object]
#: The views of a new store, where none are named.
VIEWS = "standard"


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """How images are added by :func:`index_images`.

    ``views`` are those of a new store (by default the set ``standard``), ``adding`` how images are
    decoded and embedded. ``paths_below`` and ``ids`` are of parquet files that list paths
    (:func:`~percert.search.ingest.listed.listed_images`). With ``prune`` files that no longer exist
    are forgotten at the end. ``engine`` "ray" works on the Ray cluster at ``address``, or on one of
    this machine, with ``workers`` networks, each on its ``device``.
    """

    views: str | None = None
    adding: AddSettings = field(default_factory=AddSettings)
    paths_below: Path | None = None
    ids: str | None = None
    prune: bool = False
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    workers: int | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Indexed:
    """What became of the ``total`` images of a call of :func:`index_images`.

    ``counts`` are those that were added, moved, duplicate and unchanged, ``bad`` those that could
    not be added, ``left_out`` what the search of folders passed over. ``pruned`` is ``None`` unless
    asked for. ``partner`` are the rows of the store's partner that were made.
    """

    store: Store
    total: int
    counts: dict[str, int]
    bad: list[AddOutcome]
    left_out: list[LeftOut]
    pruned: Pruned | None
    partner: Filled


def index_images(
    path: str | os.PathLike[str],
    inputs: Sequence[Path],
    metric: Metric | None,
    settings: IndexSettings | None = None,
    *,
    partner: Descriptor | Literal[False] | None = None,
    strangers: Sequence[Path] | None = None,
    progress: Progress = lambda step, done, total: None,
    each: Callable[[AddOutcome], object] = lambda outcome: None,
    warn: Callable[[str], object] = lambda sentence: None,
) -> Indexed:
    """Add the images of ``inputs`` (files, folders, parquet files) to the store at ``path``.

    The store is made where there is none. ``partner`` becomes the store's, its rule made by
    ``strangers`` where these are given (:meth:`percert.search.partner.Partner.set`); ``warn`` says
    where that changes one which the store has. ``each`` is called with every outcome, once it is
    stored for good. Killed, the same call resumes. Raises ``ValueError`` where there are no images,
    before a store is made, and for what :func:`~percert.search.open_store` refuses.

    >>> import tempfile, torch
    >>> from percert.images import save_image
    >>> from percert.metrics.certified.lipsim import Thumbnail
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_image(torch.rand(3, 20, 30), f"{folder}/a.png")
    ...     index_images(f"{folder}/store", [Path(folder, "a.png")], Thumbnail(8)).counts
    {'added': 1, 'moved': 0, 'duplicate': 0, 'unchanged': 0}
    """
    settings = settings or IndexSettings()
    left_out: list[LeftOut] = []
    listed = listed_images(inputs, paths_below=settings.paths_below, ids=settings.ids)
    total = count_images(listed.files, left_out) + len(listed.bad)
    if not total:
        raise ValueError(f"{', '.join(map(str, listed.files))}: no images found")
    views = settings.views or (VIEWS if stored_metric(path) is None else None)
    store = open_store(path, metric, views=views, partner=partner)
    if partner:
        now, before = store.partner.set(partner, strangers, partial(progress, "strangers"))
        if before is not None and before != now.rule:
            warn(
                f"partner {now.name}: one in a million pairs of strangers is now at a score of "
                f"{now.rule.level(1e-6):.4f} or more, {before.level(1e-6):.4f} before; all "
                "thresholds are made anew"
            )
    if store.partner.id is not None:
        store.partner.descriptor()  # what is missing of it is said before anything is added
    if settings.engine == "ray":
        outcomes = store.iter_ray_add(
            listed.files,
            settings.adding,
            address=settings.address,
            workers=settings.workers,
            device=settings.device,
        )
    else:
        outcomes = store.iter_add(listed.files, settings.adding)
    keep_own_ids(store.path, listed.own_ids)  # before anything is said to be stored
    counts, bad = count_outcomes(outcomes, total, progress, each)
    bad = [*(AddOutcome(row, "bad", reason=why) for row, why in listed.bad), *bad]
    pruned = store.prune(listed.files) if settings.prune else None
    filled = store.partner.fill(progress=partial(progress, "partner"))
    return Indexed(store, total, counts, bad, left_out, pruned, filled)


def count_outcomes(
    outcomes: Iterable[AddOutcome],
    total: int,
    progress: Progress,
    each: Callable[[AddOutcome], object] = lambda outcome: None,
) -> tuple[dict[str, int], list[AddOutcome]]:
    """How many of ``total`` were added, moved, duplicate and unchanged; and the bad ones."""
    counts = Counter(added=0, moved=0, duplicate=0, unchanged=0)
    bad = []
    for done, outcome in enumerate(outcomes):
        progress("adding", done, total)
        if outcome.what == "bad":
            bad.append(outcome)
        else:
            counts[outcome.what] += 1
            each(outcome)
    return dict(counts), bad
