"""Thresholds of each stored image's own: against a slow twin, under attack, kept, and set anew."""

import pytest
import torch

from percert.audit.attacks import ascend
from percert.certify.own_threshold import OwnThreshold
from percert.images import load_image
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store
from percert.search.background import make_background, read_background, stored_background
from percert.search.ingest.views import VIEW_SETS, find_view
from percert.search.query.levels import RULES, own_levels
from percert.search.tables.location import open_tables
from percert.search.tables.schema import StoreHeader, metric_id
from percert.search.upgrade import iter_upgrade, without_file

from .conftest import smooth_image
from .memory_blocks import in_blocks

pytest.importorskip("lancedb")
COUNT = 90


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store of many images in small views, measured against themselves."""
    store = open_store(tmp_path_factory.mktemp("own") / "store", Thumbnail(8), views="small")
    images = [smooth_image(seed, (30, 40)) for seed in range(COUNT)]
    # Some resemble others: half of one, half of the next.
    for at in range(0, 20, 2):
        images[at] = (0.6 * images[at] + 0.4 * images[at + 1]).clamp(0, 1)
    store.add(images, [str(n) for n in range(COUNT)])
    return store, images, store.refit("collection")


def twin(store, image):
    """Of each stored image whether it has the copy, pair by pair of views, in float64."""
    (block,) = store.blocks()
    background = stored_background(store.tables)
    w = background.codes.double() * background.step @ background.axes.double()
    rows = block.embeddings.double().view(COUNT, len(store.views), -1)
    g = rows / rows.norm(dim=2, keepdim=True)
    b = (g @ w.T).amax(2)
    room = torch.full((COUNT,), -torch.inf, dtype=torch.float64)
    for at, name in enumerate(store.views):
        q = store.metric.embed(find_view(find_view(name).asked)(image)[None])[0].double()
        far = (g[:, at] - q / q.norm()).square().sum(1) / 2
        room = torch.maximum(room, store.rule(0.6).threshold - 0.5 * b[:, at] - far)
    return room


def test_copies_are_those_of_the_slow_twin(filled):
    store, images, _ = filled
    queries = [images[3], find_view("upper")(images[5]), 0.7 * images[1] + 0.3 * images[8]]
    answers = store.copies(queries, 0.6)
    counts = []
    for query, answer in zip(queries, answers, strict=True):
        room = twin(store, query)
        # What was stored in float32 was measured, and then kept in half precision.
        sure = (room.abs() > 1e-3).nonzero().flatten().tolist()
        found = {match.id for match in answer.results if match.distance <= match.threshold}
        assert {str(at) for at in sure if room[at] > 0} == found & {str(at) for at in sure}
        counts.append(len(found))
        for match in answer.results:
            own = match.threshold - match.distance
            assert own == pytest.approx(float(room[int(match.id)]), abs=1e-3)
    assert min(counts) >= 1
    assert len({match.threshold for answer in answers for match in answer.results}) > 2


def test_no_attack_on_the_whole_rule_undoes_a_certain_copy(filled):
    store, images, _ = filled
    query = (0.8 * images[7] + 0.2 * images[30]).clamp(0.02, 0.98)
    (answer,) = store.copies([query], 0.6, eps=0.1)
    match = max(answer.certain, key=lambda one: one.radius)
    assert match.radius > 0.1
    (block,) = store.blocks()
    row = list(block.ids).index(match.id) * block.views
    kept = block.embeddings[row : row + block.views].double()
    limits = 0.6 - 0.5 * block.likeness[row : row + block.views]

    def outside(x):
        rooms = []
        for at, name in enumerate(store.views):
            q = store.metric.embed(find_view(find_view(name).asked)(x)).double()
            cosine = torch.nn.functional.cosine_similarity(q, kept[at : at + 1])
            rooms.append(limits[at] - 1 + cosine)
        return -torch.stack(rooms).amax(0)

    flips = []
    for share in (0.999, 1.6):
        moved = ascend(
            outside,
            query[None],
            torch.tensor([share * match.radius]),
            steps=30,
            generator=torch.Generator().manual_seed(1),
        )
        (now,) = store.copies(moved, 0.6)
        flips.append(match.id not in {m.id for m in now.results if m.distance <= m.threshold})
    assert flips == [False, True]


def test_who_adds_images_moves_the_thresholds_of_no_others(filled):
    store, images, _ = filled
    before = store.rows(["likeness"], ["3"])["likeness"].to_pylist()
    level = store.rule(0.6)
    store.add([images[3] * 0.5 + 0.2], ["nearly 3"])
    try:
        assert store.rows(["likeness"], ["3"])["likeness"].to_pylist() == before
        assert store.rule(0.6) == level
    finally:
        store.remove(["nearly 3"])


def test_what_is_added_later_is_measured_against_the_background_that_is_kept(filled):
    store, images, refitted = filled
    assert (refitted.source, refitted.images) == ("collection", COUNT)
    assert 64 <= refitted.pictures < COUNT  # near-duplicates are left out
    assert refitted.stricter == COUNT  # before, they resembled nothing
    again = open_store(store.path, store.metric)
    assert again.tables.header.background.source == "collection"
    again.add([images[4]], ["again"])
    first, second = (
        again.rows(["likeness"], [id])["likeness"].to_pylist() for id in ["4", "again"]
    )
    again.remove(["again"])
    assert first[0] == pytest.approx(second[0], abs=1e-3)
    assert store.info()["background"]["hash"] == store.rule(0.5).background


def test_a_background_comes_back_as_it_was_and_no_row_is_longer_than_1():
    g = torch.nn.functional.normalize(torch.randn(300, 40), dim=1)
    made = make_background(g, "weights", "shipped", axes=40)
    found = read_background(made.to_bytes())
    assert found.id == made.id
    rows = found.codes.double() * found.step @ found.axes.double()
    assert rows.norm(dim=1).max() <= 1
    # A byte a coordinate says where a picture is.
    assert ((rows * g).sum(1) > 0.98).all()


def test_links_hold_while_both_images_move_and_the_threshold_with_them(filled):
    store, _, _ = filled
    found = store.duplicates(0.55)
    assert found.rule.weight == 0.5
    assert found.links
    for link in found.links:
        assert link.distance <= link.threshold <= 0.55
    # Wider at the same T, where nothing resembles anything: more links, and longer radii.
    assert any(link.radius > 0 for link in found.links)


def test_an_earlier_store_is_asked_with_one_threshold_and_upgraded(tmp_path, photos):
    metric = Thumbnail(8)
    open_tables(str(tmp_path / "old"), StoreHeader(metric_id(metric), ("whole",), None, 1))
    old = open_store(tmp_path / "old", metric)
    old.add_files([photos])
    old.add([smooth_image(50)], ["a tensor"])
    assert old.info()["precision"] == "float32"
    assert "likeness" not in old.tables.images.schema.names
    image = load_image(photos / "3.png")
    (answer,) = old.copies([image], 0.1)
    assert answer.rule.weight == 0
    assert [match.distance for match in answer.results] == pytest.approx([0], abs=1e-12)
    assert old.verify(again=2).sound
    with pytest.raises(ValueError, match="percert index upgrade"):
        old.refit("collection")
    new = open_store(tmp_path / "new", metric, views="standard")
    outcomes = [one.what for one in iter_upgrade(old.tables, new)]
    assert outcomes == ["added"] * 8
    assert [one.what for one in iter_upgrade(old.tables, new)] == ["unchanged"] * 8
    assert without_file(old.tables) == 1
    assert (new.count, new.info()["precision"]) == (8, "float16")
    assert new.views == VIEW_SETS["standard"]
    assert new.verify(again=3).sound


def test_a_store_takes_at_most_24_kilobytes_an_image_in_the_standard_set(tmp_path):
    import percert

    metric = percert.create_metric("lipsim-tiny", device="cpu")
    store = open_store(tmp_path / "store", metric, views="standard")
    store.add([smooth_image(seed, (40, 50)) for seed in range(3)], ["a", "b", "c"])
    (row, *_) = store.tables.images.search().to_arrow().to_batches()
    assert row.nbytes / 3 <= 24_000


def test_too_few_images_make_no_background(tmp_path):
    store = open_store(tmp_path / "store", Thumbnail(8))
    store.add([smooth_image(seed) for seed in range(3)], ["a", "b", "c"])
    with pytest.raises(ValueError, match="3 images that differ from each other, expected"):
        store.refit("collection")
    with pytest.raises(ValueError, match="thumbnail-8 ships no background"):
        store.refit()


def test_thresholds_of_the_last_rules_are_kept_and_no_more() -> None:
    (block,) = in_blocks(torch.rand(6, 4), images=6, likeness=torch.rand(6).double())()
    rules = [OwnThreshold(0.1 * at) for at in range(1, 8)]
    made = [own_levels(block, rule) for rule in rules]
    for rule, levels in zip(rules[-RULES:], made[-RULES:], strict=True):
        assert own_levels(block, rule) is levels
    again = own_levels(block, rules[0])
    assert again is not made[0]
    assert torch.equal(again.thresholds, made[0].thresholds)
    assert len(block.once(("levels", (0,)), dict)) == RULES
