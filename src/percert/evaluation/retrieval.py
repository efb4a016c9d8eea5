"""The nearest image before and after an attack on the query (LipSim, section 5.3).

Every query is an image of the collection, and looked for among the others. The attack moves its
embedding as far as it can (Eq. 14), without knowing what the nearest image is.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from percert.attacks.attack import Attack
from percert.attacks.goal import MoveEmbedding
from percert.certify.features import PixelFeatures
from percert.certify.nearest import nearest_of_features
from percert.evaluation.copies.detector import Detector
from percert.evaluation.copies.gallery import Gallery, gallery_of, join_galleries
from percert.images import round_to_8bit
from percert.reports.records import columns_of
from percert.runs.certified import check_unchanged
from percert.runs.engine import Done, Kept, Progress, RunFolder, Step, batches, read_all, silent
from percert.runs.items import ImageItem, output_name, read_sample, read_samples
from percert.tensors import Embeddings, Images, l2_norm

#: How many queries are attacked together.
TOGETHER = 8


@dataclass(frozen=True)
class RetrievalRow:
    """One query by one detector.

    ``first`` is its nearest image, ``after`` and ``after_8bit`` that of the attacked query as it
    came and as a file. ``radius`` is the l2 length in the query's pixels within which no change
    whatever makes another image the first, ``None`` without certificates. ``l2`` is how far the
    attack went. Labels are ``None`` where there are none.
    """

    image: str
    detector: str
    label: int | None
    first: str
    first_label: int | None
    distance: float
    after: str
    after_label: int | None
    after_distance: float
    after_8bit: str
    unchanged: bool
    unchanged_8bit: bool
    radius: float | None
    l2: float
    l2_8bit: float


@dataclass(frozen=True)
class RetrievalScore:
    """One detector: shares of its queries.

    ``unchanged`` keep their first image under attack (``unchanged_8bit`` as files), ``certified``
    are proven to within ``eps``. ``same_class``: the first has the query's class, before and after,
    ``None`` without labels.
    """

    detector: str
    queries: int
    unchanged: float
    unchanged_8bit: float
    certified: float | None
    eps: float | None
    median_radius: float | None
    same_class: float | None
    same_class_after: float | None


@dataclass(frozen=True)
class Embedder:
    """A detector as what an attack on embeddings takes: its values are the embedding."""

    detector: Detector

    def embed(self, images: Images) -> Embeddings:
        return self.detector.values(images).flatten(1)

    def __call__(self, reference: Images, candidate: Images) -> Tensor:
        return (self.embed(reference) - self.embed(candidate)).square().sum(1)


@dataclass(frozen=True, eq=False)
class DescribedItems:
    """The readable ``items`` of a collection, each detector's gallery of them, and what is bad."""

    items: list[ImageItem]
    galleries: dict[str, Gallery]
    bad: list[tuple[str, str]]


def describe_items(
    detectors: Sequence[Detector],
    items: Sequence[ImageItem],
    names: Set[str] | None = None,
    progress: Progress = silent,
) -> DescribedItems:
    """Describe the images of a collection by every detector, each read once.

    With ``names`` only those so called; whether the others can be read is told all the same.
    Raises ``ValueError`` for fewer than 3 images.
    """
    good: list[ImageItem] = []
    bad: list[tuple[str, str]] = []
    parts: dict[str, list[Gallery]] = {detector.name: [] for detector in detectors}
    for batch in batches(read_samples(items), lambda one: one.sizes, TOGETHER, in_order=True):
        if isinstance(batch, Step):
            bad.append((str(batch.bad), batch.reason))
            continue
        some = [one for one in batch if names is None or one.item.name in names]
        if some:
            images = torch.stack([one.image for one in some])
            for detector in detectors:
                parts[detector.name].append(gallery_of([detector.describe(images)]))
        good += [one.item for one in some]
        progress("describing", len(good) + len(bad), len(items))
    if len(good) < 3:
        raise ValueError(f"collection: expected at least 3 images, found {len(good)}")
    return DescribedItems(good, {name: join_galleries(some) for name, some in parts.items()}, bad)


def retrieve(
    detectors: Sequence[Detector],
    collection: DescribedItems,
    queries: Sequence[int],
    attack: Attack,
    *,
    seed: int = 0,
    done: Done = frozenset(),
) -> Iterator[Step]:
    """The rows (:class:`RetrievalRow`) of some queries at a time, with their attacked images.

    ``queries`` are places in the collection; a (image, detector) that is ``done`` is left out.
    Raises :class:`~percert.runs.certified.BrokenCertificate` where the nearest image changed
    inside of its certificate.
    """
    items = collection.items
    for detector in detectors:
        left = [place for place in queries if (items[place].name, detector.name) not in done]

        def read(place: int) -> tuple[int, Tensor]:
            return place, read_sample(items[place]).image

        found = read_all(left, read, lambda place: items[place].name)
        for batch in batches(found, lambda one: one[1].shape, TOGETHER, in_order=True):
            if isinstance(batch, Step):
                yield batch
                continue
            places = [place for place, _ in batch]
            images = torch.stack([image for _, image in batch])
            seeds = torch.tensor(places) + seed * len(items)
            moved = attack(Embedder(detector), images, MoveEmbedding(images), seeds=seeds).detach()
            gallery = collection.galleries[detector.name]
            rows = _rows(detector, gallery, items, places, images, moved)
            yield Step([asdict(row) for row in rows], list(moved))


def keep_retrieval(
    folder: RunFolder,
    detectors: Sequence[Detector],
    collection: DescribedItems,
    queries: Sequence[int],
    attack: Attack,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[list[RetrievalRow], Kept]:
    """:func:`retrieve` into ``folder``: the rows that are asked for, and all that was kept."""
    order = {detector.name: place for place, detector in enumerate(detectors)}
    names = {collection.items[place].name for place in queries}
    kept = folder.keep(
        columns_of(RetrievalRow),
        lambda done: retrieve(detectors, collection, queries, attack, seed=seed, done=done),
        wanted=[(name, detector) for detector in order for name in names],
        key=("image", "detector"),
        order=lambda row: (order[row["detector"]], row["image"]),
        image_file=lambda row: attacked_file(row["detector"], row["image"]),
        what="retrieving",
        progress=progress,
    )
    return [RetrievalRow(**row) for row in kept.rows if row["image"] in names], kept


def attacked_file(detector: str, name: str) -> str:
    """Where the attacked query of an image lies, from the folder of the evaluation."""
    return f"attacked/{detector}/{output_name(name)}"


def score(rows: Sequence[RetrievalRow], eps: float | None = None) -> list[RetrievalScore]:
    """The shares of each detector, in the order of ``rows``; ``eps`` is the l2 budget to certify.

    Raises :class:`~percert.runs.certified.BrokenCertificate` where certified <= unchanged does not
    hold query by query: the attack's own moves are shorter than ``eps``.
    """
    scores = []
    for name in dict.fromkeys(row.detector for row in rows):
        mine = [row for row in rows if row.detector == name]
        radii = [row.radius for row in mine if row.radius is not None]
        classed = [row for row in mine if row.label is not None]
        proven = None
        if radii and eps is not None:
            for row in mine:
                check_unchanged(f"{name}: {row.image}", row.radius, max(eps, row.l2), row.unchanged)
            proven = _share([radius > eps for radius in radii])
        scores.append(
            RetrievalScore(
                detector=name,
                queries=len(mine),
                unchanged=_share([row.unchanged for row in mine]) or 0.0,
                unchanged_8bit=_share([row.unchanged_8bit for row in mine]) or 0.0,
                certified=proven,
                eps=eps,
                median_radius=float(torch.tensor(radii).median()) if radii else None,
                same_class=_share([row.first_label == row.label for row in classed]),
                same_class_after=_share([row.after_label == row.label for row in classed]),
            )
        )
    return scores


def folders_as_labels(items: Sequence[ImageItem]) -> list[ImageItem]:
    """The items with the number of their first folder as label, where all lie in folders.

    Items that have labels keep them.

    >>> from pathlib import Path
    >>> items = [ImageItem("cat/1.png", Path("1")), ImageItem("dog/2.png", Path("2"))]
    >>> [item.label for item in folders_as_labels(items)]
    [0, 1]
    """
    if any(item.label is not None for item in items) or any("/" not in i.name for i in items):
        return list(items)
    names = sorted({item.name.split("/")[0] for item in items})
    if len(names) < 2:
        return list(items)
    return [replace(item, label=names.index(item.name.split("/")[0])) for item in items]


def _rows(
    detector: Detector,
    gallery: Gallery,
    items: Sequence[ImageItem],
    places: Sequence[int],
    images: Images,
    moved: Images,
) -> list[RetrievalRow]:
    files = round_to_8bit(moved)
    described = detector.describe(images)
    before = _nearest(detector, gallery, described.vectors, places)
    after = _nearest(detector, gallery, detector.describe(moved).vectors, places)
    after_8bit = _nearest(detector, gallery, detector.describe(files).vectors, places)
    lengths = l2_norm(moved.double() - images.double()).tolist()
    lengths_8bit = l2_norm(files.double() - images.double()).tolist()
    rows = []
    for row, place in enumerate(places):
        radius = None
        if described.features is not None:
            radius = _radius(
                described.features.rows(slice(row, row + 1)), gallery, place, before[row][0]
            )
        first, last, file = items[before[row][0]], items[after[row][0]], items[after_8bit[row][0]]
        unchanged = after[row][0] == before[row][0]
        check_unchanged(f"{detector.name}: {items[place].name}", radius, lengths[row], unchanged)
        rows.append(
            RetrievalRow(
                image=items[place].name,
                detector=detector.name,
                label=items[place].label,
                first=first.name,
                first_label=first.label,
                distance=before[row][1],
                after=last.name,
                after_label=last.label,
                after_distance=after[row][1],
                after_8bit=file.name,
                unchanged=unchanged,
                unchanged_8bit=after_8bit[row][0] == before[row][0],
                radius=radius,
                l2=lengths[row],
                l2_8bit=lengths_8bit[row],
            )
        )
    return rows


def _nearest(
    detector: Detector, gallery: Gallery, queries: Tensor, places: Sequence[int]
) -> list[tuple[int, float]]:
    """Of each query the nearest image but itself, and its distance; ties by place."""
    distances = detector.distances(queries, gallery.vectors[:, 0]).clone()
    distances[torch.arange(len(places)), list(places)] = torch.inf
    first = distances.argmin(1)
    return list(
        zip(first.tolist(), distances.gather(1, first[:, None])[:, 0].tolist(), strict=True)
    )


def _radius(query: PixelFeatures, gallery: Gallery, place: int, first: int) -> float:
    """How far the query may move with ``first`` the nearest of all but itself."""
    others = [row for row in range(len(gallery)) if row != place]
    found = nearest_of_features(query, gallery.stored(others, 0))
    # Where two are equally near, another may come first here: nothing is proven of a tie.
    return float(found.radius) if others[int(found.index)] == first else 0.0


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
