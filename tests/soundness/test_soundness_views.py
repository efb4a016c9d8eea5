"""Attacks on copies that are certain by a stored view: turned, tilted, bordered, cut, inside."""

import pytest
import torch
from tests.search.conftest import smooth_image

from percert.audit.attacks import ascend
from percert.images.insets import find_insets
from percert.metrics.catalog import create_metric
from percert.search import open_store
from percert.search.ingest.tilted import tilt
from percert.search.ingest.views import find_view

pytest.importorskip("lancedb", reason="the store needs the extra 'search'")

EPS = 1.0
IMAGE = smooth_image(2, (96, 128))


def pasted():
    image = smooth_image(99, (180, 220))
    image[:, 40:136, 50:178] = IMAGE
    return image


COPIES = {
    "turned-90": IMAGE.rot90(1, (-2, -1)),
    "turned-180": IMAGE.flip(-2),
    "tilted-left": tilt(IMAGE, 13.0),
    "tilted-right": tilt(IMAGE, -17.0),
    "centre-50": IMAGE[..., 22:74, 30:98],
    "bordered": torch.nn.functional.pad(IMAGE, (24, 24, 18, 18), value=0.3),
    "inside": pasted(),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    metric = create_metric("lipsim-tiny", device="cpu")
    found = open_store(tmp_path_factory.mktemp("views") / "store", metric, views="exhaustive")
    found.add([smooth_image(seed, (96, 128)) for seed in range(5)], [str(n) for n in range(5)])
    return found


@pytest.mark.parametrize("kind", COPIES)
def test_no_attack_within_the_radius_undoes_a_certain_copy(store, kind):
    """Gradient ascent on the whole rule, through every view; past the radius it may succeed."""
    query = COPIES[kind].clamp(0.02, 0.98)
    (answer,) = store.copies([query], 0.5, eps=EPS, insets=kind == "inside")
    parts = [(lambda x: x, answer.results)]
    if kind == "inside":
        assert answer.results == ()
        parts = [(one.inset.cut, one.results) for one in answer.insets if one.results]
        assert [one.inset for one in answer.insets] == list(find_insets(query))
    ((cut, results),) = parts
    (match,) = [one for one in results if one.certain and one.id == "2"]
    assert match.radius > EPS
    assert kind in ("inside", match.view)
    (block,) = store.blocks()
    row = list(block.ids).index("2") * block.views
    kept = block.embeddings[row : row + block.views].double()
    limits = 0.5 - 0.5 * block.likeness[row : row + block.views].double()
    asked = sorted({find_view(name).asked for name in store.views})
    places = [asked.index(find_view(name).asked) for name in store.views]

    def outside(x):
        part = cut(x).clamp(0, 1)
        seen = [store.metric.embed(find_view(name)(part)).double() for name in asked]
        like = [
            torch.nn.functional.cosine_similarity(seen[place], own[None])
            for place, own in zip(places, kept, strict=True)
        ]
        return -(limits[:, None] - 1 + torch.stack(like)).amax(0)

    reached = []
    for share in (0.999, 2.0):
        moved = ascend(
            outside,
            query[None],
            torch.tensor([share * match.radius]),
            steps=15,
            generator=torch.Generator().manual_seed(1),
        )
        reached.append(float(outside(moved.double())))
    before, (within, beyond) = float(outside(query[None].double())), reached
    assert before < within < 1e-6
    assert beyond > 0  # a radius twice as long would be found out
