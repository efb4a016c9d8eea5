"""Adding images to a store."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from percert.check import check_images
from percert.search.commit import commit
from percert.search.embed_views import embed_prepared, preparation, prepare_image
from percert.search.rows import in_parts, is_one_of

if TYPE_CHECKING:
    from percert.search.store import Store

#: Images that go through the network at once.
BATCH = 64


@dataclass
class Added:
    """What came of adding: ids of the images ``added``, and of those ``known`` before."""

    added: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


def add_tensors(store: "Store", images: Tensor | Sequence[Tensor], ids: Sequence[str]) -> Added:
    """See :meth:`percert.search.store.Store.add`."""
    if len(images) != len(ids):
        raise ValueError(f"ids: expected {len(images)}, one per image, found {len(ids)}")
    if len(set(ids)) != len(ids):
        raise ValueError("ids: expected each once, found some twice")
    metric = store.embedder()
    for image, id in zip(images, ids, strict=True):
        check_images(image[None], f"image {id}")
    how = preparation(store.header, metric)
    known = known_ids(store, ids)
    added: list[str] = []
    fresh = [(image, id) for image, id in zip(images, ids, strict=True) if id not in known]
    for part in in_parts(fresh, BATCH):
        prepared = [prepare_image(image.detach().cpu(), id, None, how) for image, id in part]
        commit(store, embed_prepared(metric, prepared), [])
        added += [id for _, id in part]
    return Added(added, [id for id in ids if id in known])


def known_ids(store: "Store", ids: Sequence[str]) -> set[str]:
    """Those of ``ids`` that are in the store."""
    store.refresh()
    found: set[str] = set()
    for condition in is_one_of("id", ids):
        found.update(
            store.images.search().where(condition).select(["id"]).to_arrow()["id"].to_pylist()
        )
    return found
