"""Views are linear maps of norm at most 1, so their bounds hold for the image itself."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from percert.metrics.catalog import create_metric
from percert.metrics.certified.lipsim import Thumbnail
from percert.search import open_store
from percert.search.ingest.tilted import tilt
from percert.search.ingest.views import (
    VIEW_SETS,
    VIEWS,
    Preparation,
    find_view,
    parse_views,
    view_bounds,
)

from .conftest import smooth_image

SETS_HERE = ("thorough", "exhaustive")


@pytest.mark.parametrize("size", [(7, 9), (19, 16)])
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_a_selection_of_pixels(name, size):
    view, count = find_view(name), size[0] * size[1]
    pixels = torch.eye(count).view(count, 1, *size)
    matrix = view(pixels).flatten(1)
    assert matrix.shape[1] == view.size(size)[0] * view.size(size)[1]
    assert torch.equal(matrix.T @ matrix, torch.eye(matrix.shape[1]))
    assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1)


@given(st.sampled_from(sorted(VIEWS)), st.integers(1, 40), st.integers(1, 40))
def test_a_view_keeps_its_share_of_each_side_and_at_least_a_pixel(name, height, width):
    view = find_view(name)
    image = torch.arange(height * width, dtype=torch.float64).view(1, 1, height, width)
    part = view(image)
    assert part.shape[2:] == view.size((height, width))
    if view.tilt:  # as much as a tilted rectangle leaves: tests/search/test_tilted.py
        return
    part = part.rot90(-view.turns, (-2, -1))
    assert abs(part.shape[2] - view.keep * height) <= 0.5 or part.shape[2] == 1
    wide = view.keep if view.wide is None else view.wide
    assert abs(part.shape[3] - wide * width) <= 0.5 or part.shape[3] == 1


def test_corners_touch_their_corners_and_mirrors_mirror():
    image = torch.arange(100.0).view(10, 10)
    corner = {"top-left": 0, "top-right": 9, "bottom-left": 90, "bottom-right": 99}
    for place, value in corner.items():
        assert value in find_view(f"{place}-80")(image)
    plain, mirrored = find_view("top-left-80")(image), find_view("mirror-top-left-80")(image)
    assert torch.equal(mirrored, plain.flip(-1))
    assert torch.equal(find_view("whole")(image), image)


@pytest.mark.parametrize("size", [(20, 30), (8, 8), (33, 9)])
def test_the_bound_of_a_view_holds_for_changes_of_the_whole_image(size):
    """The exact operator norm of the thumbnail of every view, against the bound that is stored."""
    metric = Thumbnail(4)
    names = tuple(VIEWS)
    bounds = view_bounds(Preparation(names, metric.resize, 1.0, "float64"), size)
    basis = torch.eye(size[0] * size[1], dtype=torch.float64).view(-1, 1, *size)
    basis = torch.cat([basis, basis, basis], 1)  # grey changes
    for name, bound in zip(names, bounds, strict=True):
        part = find_view(name)(basis)
        exact = torch.linalg.matrix_norm(metric.network(metric.resize(part)), 2).item()
        assert exact / 3**0.5 <= bound * (1 + 1e-9)
        assert bound == metric.bound(part.shape[2:]).value


def test_the_default_metric_needs_no_mirror_images():
    metric = create_metric("lipsim-tiny", device="cpu")
    image = smooth_image(0, (50, 41))[None]
    for name in VIEW_SETS["standard"]:
        part = find_view(name)(image)
        distance = metric(part, part.flip(-1))
        assert distance.item() < 1e-9
    assert metric(image, find_view("top-left-80")(image)).item() > 1e-4


def test_a_crop_is_found_at_no_distance_where_its_view_is_stored(tmp_path):
    metric = Thumbnail(8)
    store = open_store(tmp_path / "store", metric, views="exhaustive")
    store.add([smooth_image(seed, (40, 60)) for seed in range(6)], [str(n) for n in range(6)])
    for name in ("centre-80", "bottom-right-90", "top-left-80", "centre-50", "turned-90"):
        crop = find_view(name)(smooth_image(3, (40, 60)))
        (block,) = store.blocks()
        h = metric.embed(crop[None]).float()
        row = int((block.embeddings - h).norm(dim=1).argmin())
        assert (block.ids[row // block.views], store.views[row % block.views]) == ("3", name)
        assert (block.embeddings[row] - h).norm() < 2**-11 * h.norm()


def test_what_a_view_is_compared_with_is_stored_before_it():
    assert parse_views("bordered") == ("whole", "middle", "bordered")
    assert parse_views(["lower", "bordered", "middle"]) == ("whole", "lower", "middle", "bordered")
    for names in (*VIEW_SETS.values(), parse_views("tilted-left,bordered")):
        for at, name in enumerate(names):
            assert find_view(name).asked in names[: at + 1]


def test_the_largest_set_finds_what_was_turned_tilted_bordered_or_cut_to_its_middle(tmp_path):
    """Copies at no distance but that of resampling, where thorough views are far."""
    metric = create_metric("lipsim-tiny", device="cpu")
    images = [smooth_image(seed, (96, 128)) for seed in range(4)]
    stores = {views: open_store(tmp_path / views, metric, views=views) for views in SETS_HERE}
    for store in stores.values():
        store.add(images, [str(number) for number in range(4)])
    image = images[2]
    made = {
        "turned-90": image.rot90(1, (-2, -1)),
        "turned-180": image.flip(-2),  # upside down: the metric sees no mirroring
        "turned-270": image.rot90(3, (-2, -1)),
        "tilted-left": tilt(image, 12.0),
        "tilted-right": tilt(image, -18.0),
        "centre-60": image[..., 20:76, 26:102],
        "bordered": torch.nn.functional.pad(image, (24, 24, 18, 18), value=1.0),
    }
    for view, copy in made.items():
        found = {name: store.search([copy], 1)[0].results[0] for name, store in stores.items()}
        near = {name: store.copies([copy], 0.3, 0.0)[0].results for name, store in stores.items()}
        assert found["exhaustive"].id == "2"
        assert [(one.id, one.view) for one in near["exhaustive"]][:1] == [("2", view)]
        assert near["exhaustive"][0].certain
        assert not any(one.id == "2" for one in near["thorough"])


@pytest.mark.parametrize("text", ["centre-70", "", "whole,nothing", ["thorough"]])
def test_unknown_views_are_refused(text):
    with pytest.raises(ValueError, match="views: expected one of the sets whole, small, standard"):
        parse_views(text)
    with pytest.raises(ValueError, match="view: expected one of whole"):
        find_view("centre-70")
