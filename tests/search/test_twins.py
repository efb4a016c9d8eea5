"""Twins: files with the same bytes are told of, every one, by every query."""

import shutil

import pytest

from percert.certify import copies as certify_copies
from percert.images import load_image, save_image
from percert.search import open_store
from percert.search.tables.commit import remove_files

from .conftest import smooth_image


@pytest.fixture
def store(tmp_path, metric, photos):
    """Eight images, one of them in three files and one in two, and one without a file."""
    for name in ("1 again.png", "more/1.png", "more/2.png"):
        (photos / name).parent.mkdir(exist_ok=True)
        shutil.copy(photos / f"{name.split('/')[-1][0]}.png", photos / name)
    opened = open_store(tmp_path / "store", metric, views="whole,centre-80")
    opened.add_files([photos])
    opened.add([smooth_image(100)], ["a tensor"])
    return opened


def test_twins_are_links_at_distance_0_and_a_cluster(store, photos):
    found = store.duplicates(1e-6)
    links = [(one.first_path, one.second_path, one.view, one.distance) for one in found.links]
    paths = {name: str(photos / name) for name in ("1 again.png", "1.png", "2.png")}
    more = {name: str(photos / "more" / name) for name in ("1.png", "2.png")}
    assert sorted(links) == [
        (paths["1 again.png"], paths["1.png"], "whole", 0.0),
        (paths["1 again.png"], more["1.png"], "whole", 0.0),
        (paths["2.png"], more["2.png"], "whole", 0.0),
    ]
    assert found.twins == found.links
    assert all(one.first == one.second == store.find_path(one.first_path) for one in found.links)
    assert [one.paths for one in found.clusters] == [
        (paths["1 again.png"], paths["1.png"], more["1.png"]),
        (paths["2.png"], more["2.png"]),
    ]
    assert [len(one.ids) for one in found.clusters] == [1, 1]
    assert found.compared == 9 * 8 // 2


def test_how_far_both_files_may_move_is_the_certificate_of_an_image_with_itself(store, photos):
    for link in store.duplicates(0.01).twins:
        image = load_image(link.first_path)[None]
        expected = certify_copies(store.metric, image, image, 0.01, perturbed="both").radius.item()
        # Half precision moves what is stored a little, and where it moves that counts.
        assert link.radius == pytest.approx(expected, rel=2e-2)
        assert 0 < link.radius <= expected


def test_twins_join_the_cluster_of_their_image_and_bound_its_radius(store, photos, tmp_path):
    # An edit of image 1, near enough to be linked.
    save_image((smooth_image(1, (24, 24)) + 0.02).clamp(0, 1), tmp_path / "edit.png")
    store.add_files([tmp_path / "edit.png"])
    threshold = 0.05
    found = store.duplicates(threshold)
    edit = str(tmp_path / "edit.png")
    (cluster,) = [one for one in found.clusters if edit in one.paths]
    names = [str(photos / name) for name in ("1 again.png", "1.png", "more/1.png")]
    assert set(names) <= set(cluster.paths)
    radii = [one.radius for one in found.links if {one.first, one.second} <= set(cluster.ids)]
    assert min(radii) <= cluster.radius <= max(radii)
    to_edit = [one for one in found.links if edit in (one.first_path, one.second_path)]
    assert all(one.first != one.second for one in to_edit)


def test_nearest_and_copies_name_all_files_of_an_image(store, photos):
    image = load_image(photos / "1.png")[None]
    expected = tuple(str(photos / name) for name in ("1 again.png", "1.png", "more/1.png"))
    (nearest,) = store.search(image, k=9, eps=0.1)
    (copies,) = store.copies(image, threshold=1e-6)
    for match in (nearest.results[0], nearest.candidates[0], copies.results[0]):
        assert (match.path, match.paths) == (expected[0], expected)
    (tensor,) = [match for match in nearest.results if match.id == "a tensor"]
    assert (tensor.path, tensor.paths) == (None, ())
    assert nearest.to_json()["results"][0]["paths"] == expected
    assert nearest.to_pandas()["paths"][0] == expected


def test_what_is_no_twin_any_more_is_none(store, photos):
    remove_files(store.tables, [str(photos / "more/2.png"), str(photos / "more/1.png")])
    (link,) = store.duplicates(1e-6).links
    assert link.second_path == str(photos / "1.png")
