"""Search a store for the images nearest to one, and for copies of it; what the store holds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor

from percert.app.errors import RefusedRequest, in_fields
from percert.app.images import Upload, fit
from percert.app.resources import readable_store
from percert.app.worker import Worker
from percert.images import ImageError, Inset, load_image
from percert.reports.table import finite

if TYPE_CHECKING:
    from percert.search import Copies, Nearest, Store

#: The longer side of the small pictures of stored images.
SMALL = 192


@dataclass(frozen=True)
class StoredImage:
    """One stored image and the query; see ``percert index search``.

    Files are given by name and folder: ``path`` is the first that holds it, ``paths`` are all.
    ``radius`` is ``None`` where it is infinite, ``threshold`` the stored image's own, where copies
    are asked for. ``own_id`` and ``own_ids`` are the user's own of these files, where the store
    keeps any (``percert index add --ids``).
    """

    id: str
    path: str | None
    paths: list[str]
    view: str
    distance: float
    lower: float
    upper: float
    certain: bool
    radius: float | None
    threshold: float | None = None
    own_id: str | None = None
    own_ids: list[str | None] | None = None


@dataclass(frozen=True)
class PartnerImage:
    """One stored image and the query by the store's partner; a copy up to its own threshold."""

    id: str
    path: str | None
    paths: list[str]
    distance: float
    threshold: float
    copy: bool
    own_id: str | None = None
    own_ids: list[str | None] | None = None


@dataclass(frozen=True)
class PartnerFound:
    """What the partner says, which proves nothing; see ``percert index copies``.

    A share ``wrong`` of queries that are copies of nothing would be given one; ``counted`` says
    whether that was, or is extrapolated. ``without`` stored images have no row of the partner.
    """

    metric: str
    weights: str
    wrong: float
    counted: bool
    strangers: str
    compared: int
    without: int
    results: list[PartnerImage]


@dataclass(frozen=True)
class NearestAnswer:
    """The nearest stored images; radii are ``None`` where they are infinite.

    ``candidates`` (all that could be the first after a change of ``eps``) and ``certain`` are
    ``None`` without an eps.
    """

    query: str
    k: int
    metric: str
    results: list[StoredImage]
    radius_first: float | None
    radius_top_k: float | None
    eps: float | None = None
    candidates: list[StoredImage] | None = None
    certain: bool | None = None
    partner: PartnerFound | None = None


@dataclass(frozen=True)
class StoreRule:
    """By which stored images copies are told; see ``percert.search.Rule``.

    Of queries that are copies of nothing the share ``wrong`` gets an answer (``None`` where that is
    not known); ``counted`` says that it is not extrapolated.
    """

    threshold: float
    weight: float
    background: str | None
    source: str | None
    wrong: float | None
    counted: bool | None


@dataclass(frozen=True)
class InsetFound:
    """Copies of a picture found inside the query; see ``percert index copies --insets``."""

    inset: Inset
    results: list[StoredImage]


@dataclass(frozen=True)
class CopiesAnswer:
    """Certain and possible copies among the stored images: proven that there is none besides.

    Certain ones stay copies under any tamper of up to ``eps``. A copy is within the ``threshold``
    of a stored image's own, ``rule`` says which. ``verdict`` is of both metrics: ``certain``,
    ``found`` (a copy by either, without proof), ``possible`` (a tamper of ``eps`` could make one),
    or ``nothing`` here resembles it. ``insets`` are the pictures inside the query, where they were
    asked for; a copy of one is ``found``.
    """

    query: str
    rule: StoreRule
    eps: float
    metric: str
    results: list[StoredImage]
    verdict: Literal["certain", "found", "possible", "nothing"]
    partner: PartnerFound | None = None
    insets: list[InsetFound] | None = None


#: Asks a store about images of names; settings follow.
AskStore: TypeAlias = Callable[..., "Iterable[Nearest | Copies]"]


def ask_nearest(
    store: "Store", images: list[Tensor], names: list[str], k: int, eps: float | None
) -> "Iterable[Nearest]":
    """The fields of a :class:`NearestAnswer` of each image, as they are asked for."""
    return store.search(images, k, eps, names=names)


def ask_copies(
    store: "Store",
    images: list[Tensor],
    names: list[str],
    wrong: float | None,
    threshold: float | None,
    eps: float | None,
    insets: bool = False,
) -> "Iterable[Copies]":
    """The fields of a :class:`CopiesAnswer` of each image, as they are asked for."""
    return store.copies(images, threshold, eps, wrong=wrong, names=names, insets=insets)


def open_first(worker: Worker) -> None:
    """Open the store before anybody asks: imports, and the metric's matrices."""
    worker.resources.opened_store()


def ask_first(worker: Worker) -> None:
    """Put a page's two questions to the store before anybody does: its rows are read, and turned.

    The picture is noise, which is no copy of anything.
    """
    store = worker.resources.opened_store()
    noise = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))]
    list(ask_nearest(store, noise, [""], 1, None))
    list(ask_copies(store, noise, [""], None, None, None))


#: What a process computes before it is asked anything of a store; the second time rows are turned.
FIRST_OF_A_STORE = (open_first, ask_first, ask_first)


def answer_one(worker: Worker, upload: Upload, ask: AskStore, *settings: Any) -> dict[str, Any]:
    """What ``ask`` says of one image, for clients."""
    store, image = worker.resources.opened_store(), upload.image(worker.limits.pixels)
    with readable_store():
        (answer,) = ask(store, [image], [upload.name], *settings)
        return _for_clients(answer.to_json(), store)


def answer_together(
    worker: Worker, uploads: Sequence[Upload], ask: AskStore, *settings: Any
) -> list[dict[str, Any] | RefusedRequest]:
    """:func:`answer_one` of each, one pass over the store for all; or why it is refused.

    More than ``limits.pixels`` in all make several passes: together they take the memory of one.
    """
    store, found = worker.resources.opened_store(), dict[int, dict[str, Any] | RefusedRequest]()
    images: dict[int, Tensor] = {}

    def look(places: Sequence[int]) -> None:
        names = [uploads[at].name for at in places]
        try:
            with readable_store():
                answers = [
                    _for_clients(one.to_json(), store)
                    for one in ask(store, [images[at] for at in places], names, *settings)
                ]
        except ValueError as error:
            if len(places) > 1:  # one of them may be what is wrong
                for at in places:
                    look([at])
                return
            found[places[0]] = RefusedRequest(422, in_fields(error))
        else:
            found.update(zip(places, answers, strict=True))

    held = 0
    for at, upload in enumerate(uploads):
        try:
            image = upload.image(worker.limits.pixels)
        except ValueError as error:
            found[at] = RefusedRequest(422, in_fields(error))
            continue
        size = image[0].numel()
        if images and held + size > worker.limits.pixels:
            look(list(images))
            images.clear()
            held = 0
        images[at] = image
        held += size
    if images:
        look(list(images))
    return [found[at] for at in range(len(uploads))]


def shown_path(path: str) -> str:
    """The file's name and folder: where a server keeps its folders is nobody's business.

    >>> shown_path("/srv/data/photos/3.png"), shown_path("s3://bucket/3.png"), shown_path("3.png")
    ('photos/3.png', 'bucket/3.png', '3.png')
    """
    return "/".join(path.replace("\\", "/").rstrip("/").split("/")[-2:])


def _for_clients(answer: dict[str, Any], store: "Store") -> dict[str, Any]:
    from percert.search.own_ids import with_own_ids

    found: dict[str, Any] = finite(with_own_ids(answer, store.path))
    beside = (found.get("partner") or {}).get("results", ())
    inside = [one for inset in found.get("insets") or () for one in inset["results"]]
    for one in [*found["results"], *(found.get("candidates") or ()), *beside, *inside]:
        one["path"] = None if one["path"] is None else shown_path(one["path"])
        one["paths"] = [shown_path(path) for path in one["paths"]]
    return found


def small_picture(worker: Worker, image_id: str) -> Tensor:
    """A stored image, reduced; only files that the store itself names are ever read.

    Raises :class:`RefusedRequest` (404) for an unknown id and a file that is gone.
    """
    store = worker.resources.opened_store()
    with readable_store():
        paths = store.paths([image_id]).get(image_id, [])
    reason = "the store knows no file of that image"
    for path in paths:  # all hold the same bytes, and the first may be gone
        try:
            image = load_image(Path(path), max_pixels=worker.limits.pixels)
        except ImageError as error:
            reason = error.reason
        else:
            return fit(image, SMALL)
    raise RefusedRequest(404, f"Its file cannot be shown: {reason}.")


@dataclass(frozen=True)
class StoreAbout:
    """The store that is searched; ``version`` is another after every change of it."""

    images: int
    version: int
    metric: str
    views: list[str]


def describe_store(worker: Worker) -> StoreAbout:
    """What the store holds now; no metric is loaded for that."""
    path = worker.resources.store
    if path is None:
        raise RefusedRequest(422, "The server was started without a store (--store).")
    with readable_store():
        from percert.search import open_store

        try:
            store = open_store(path, create=False)
        except ValueError as error:  # there is none any longer
            raise RuntimeError(str(error)) from error
        return StoreAbout(store.count, store.version, store.metric_id.name, list(store.views))
