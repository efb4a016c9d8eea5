"""Duplicates as groups of files: which is kept, what is its copy, and why; what is left alone."""

import os
import shutil

import pytest
import torch
from PIL import Image
from tests.search.conftest import smooth_image

from percert.images import save_image
from percert.search import open_store
from percert.search.deduplicate.files import StoredFile, preference
from percert.search.deduplicate.groups import group_files
from percert.search.query.results import Cluster, Duplicates, Link, PartnerLink
from percert.search.query.rule import Rule

THRESHOLD = 0.05


def noisy(image, seed, scale=0.02):
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return (image + scale * noise).clamp(0, 1)


@pytest.fixture
def folder(tmp_path):
    """a (40 x 40) with a twin, a noisy copy and a smaller one; b with a twin; c alone."""
    folder = tmp_path / "photos"
    folder.mkdir()
    large = smooth_image(0, (40, 40))
    save_image(large, folder / "a.png")
    shutil.copy(folder / "a.png", folder / "twin of a.png")
    save_image(noisy(large, 1), folder / "noisy.png")
    save_image(smooth_image(0, (20, 20)), folder / "small.png")
    save_image(smooth_image(1), folder / "b.png")
    shutil.copy(folder / "b.png", folder / "twin of b.png")
    save_image(smooth_image(2), folder / "c.png")
    for second, path in enumerate(sorted(folder.iterdir())):
        os.utime(path, (1_000_000_000 + second, 1_000_000_000 + second))
    return folder


@pytest.fixture
def grouped(folder, metric):
    """Adds what is in the folder, and gives its groups."""

    def make(keep="best", **how):
        store = open_store(folder.parent / "store", metric)
        store.add_files([folder])
        return group_files(store.tables, store.duplicates(THRESHOLD), keep, **how)

    return make


def names(groups):
    return [
        (group.keep.place.name, {one.file.place.name: one.evidence for one in group.copies})
        for group in groups.groups
    ]


def test_each_copy_is_named_with_what_says_so(grouped, folder):
    found = grouped("oldest")
    of_a = {"twin of a.png": "identical", "noisy.png": "certified", "small.png": "certified"}
    assert names(found) == [("a.png", of_a), ("b.png", {"twin of b.png": "identical"})]
    assert found.groups[0].copies[0].evidence == "identical"
    copies = [one for group in found.groups for one in group.copies]
    assert all(one.radius > 0 for one in copies)
    assert found.left_out == ()
    assert found.spare == sum(os.path.getsize(one.file.place) for one in copies)


@pytest.mark.parametrize(
    ("keep", "kept"),
    [("largest", "noisy.png"), ("oldest", "a.png"), ("newest", "twin of a.png")],
)
def test_which_is_kept_is_chosen(grouped, keep, kept):
    # Of those with 40 x 40 pixels the noisy one takes most bytes.
    assert kept in [name for name, _ in names(grouped(keep))]


def test_what_is_protected_is_kept_and_nobodys_copy(grouped, folder):
    (folder / "own").mkdir()
    shutil.move(folder / "small.png", folder / "own" / "small.png")
    shutil.copy2(folder / "own" / "small.png", folder / "own" / "small again.png")
    found = names(grouped("largest", protected=[folder / "own"]))
    copies = {name for _, one in found for name in one}
    assert not copies & {"small.png", "small again.png"}
    assert {"a.png", "noisy.png", "twin of a.png"} <= copies


def test_a_protected_folder_is_known_by_another_name(grouped, folder):
    (folder.parent / "link").symlink_to(folder)
    assert grouped("largest", protected=[folder.parent / "link"]).groups == ()


def test_another_keep_is_refused(grouped):
    with pytest.raises(ValueError, match="keep: expected one of best, largest, oldest, newest"):
        grouped("finest")


def test_what_is_gone_or_changed_or_a_link_is_left_alone(grouped, folder, metric):
    grouped()
    (folder / "noisy.png").unlink()
    save_image(torch.rand(3, 8, 8), folder / "small.png")
    (folder / "twin of a.png").unlink()
    (folder / "twin of a.png").symlink_to(folder / "a.png")
    store = open_store(folder.parent / "store", metric)
    found = group_files(store.tables, store.duplicates(THRESHOLD), "oldest")
    assert names(found) == [("b.png", {"twin of b.png": "identical"})]
    assert {os.path.basename(path): why for path, why in found.left_out} == {
        "noisy.png": "is gone",
        "small.png": "has changed since",
        "twin of a.png": "is a symbolic link",
    }


def test_one_file_under_two_paths_is_no_copy_of_itself(grouped, folder, metric):
    (folder.parent / "around").mkdir()
    (folder.parent / "around" / "linked").symlink_to(folder)
    os.link(folder / "c.png", folder / "hard link of c.png")
    grouped()
    store = open_store(folder.parent / "store", metric)
    store.add_files([folder.parent / "around"])
    found = group_files(store.tables, store.duplicates(THRESHOLD), "oldest")
    files = [one.keep.place for one in found.groups]
    files += [copy.file.place for one in found.groups for copy in one.copies]
    assert len({os.path.realpath(one) for one in files}) == len(files) == 6
    assert sum("is the same file as" in why for _, why in found.left_out) == 9


def test_rows_of_a_parquet_file_are_left_alone(folder, metric):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(folder / "c.png").read_bytes()] * 2
    pq.write_table(pa.table({"image": rows}), folder.parent / "rows.parquet")
    store = open_store(folder.parent / "store", metric)
    store.add_files([folder.parent / "rows.parquet", folder / "c.png"])
    found = group_files(store.tables, store.duplicates(THRESHOLD))
    assert found.groups == ()
    assert [why for _, why in found.left_out] == ["is a row of a parquet file"] * 2


def test_a_chain_is_no_group_each_copy_is_one_of_the_kept_file(folder, metric):
    store = open_store(folder.parent / "store", metric)
    store.add_files([folder])
    ids = {name: store.find_path(folder / f"{name}.png") for name in ("a", "b", "c")}

    def link(first, second, radius):
        paths = (str(folder / f"{name}.png") for name in (first, second))
        return Link(ids[first], ids[second], *paths, "whole", 0.1, 0.2, radius)

    chain = (link("a", "b", 1.0), link("b", "c", 1.0))
    whole = Cluster(tuple((ids[one], None) for one in "abc"), 1.0)
    found = Duplicates(Rule(0.2), chain, (whole,), 3, "thumbnail-8")
    assert names(group_files(store.tables, found, "oldest")) == [
        ("a.png", {"b.png": "certified", "twin of b.png": "certified"})
    ]
    unproven = Duplicates(Rule(0.2), (link("a", "c", 0.0),), (), 3, "thumbnail-8")
    assert group_files(store.tables, unproven).groups == ()
    (group,) = group_files(store.tables, unproven, "oldest", with_found=True).groups
    assert [(one.evidence, one.radius) for one in group.copies] == [("found", None)]
    partner = PartnerLink(ids["b"], ids["c"], None, None, 0.3, 0.4)
    found = Duplicates(Rule(0.2), (), (), 3, "thumbnail-8", "sscd", (partner,))
    assert group_files(store.tables, found).groups == ()
    (group,) = group_files(store.tables, found, "oldest", with_found=True).groups
    assert [(one.evidence, one.distance) for one in group.copies] == [("found", 0.3)]


def test_the_best_file_is_from_a_camera_and_compressed_least(tmp_path):
    picture = Image.fromarray((torch.rand(32, 32, 3) * 255).byte().numpy())
    exif = Image.Exif()
    exif[271] = "A camera"
    picture.save(tmp_path / "camera.jpg", quality=50, exif=exif)
    picture.save(tmp_path / "fine.jpg", quality=95)
    picture.save(tmp_path / "coarse.jpg", quality=20)
    picture.save(tmp_path / "lossless.png")
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8\xff" + bytes(99_999))
    picture.resize((64, 64)).save(tmp_path / "larger.jpg", quality=20)
    files = [
        StoredFile(str(path), path.name, path.stat().st_size, 0, side, side)
        for path in sorted(tmp_path.iterdir())
        for side in (64 if path.name == "larger.jpg" else 32,)
    ]
    order = [one.place.name for one in sorted(files, key=preference("best"))]
    assert order == [
        "larger.jpg", "camera.jpg", "lossless.png", "fine.jpg", "coarse.jpg", "damaged.jpg"
    ]  # fmt: skip


def test_a_header_is_read_as_carefully_as_pixels_are(tmp_path, monkeypatch):
    """What would be refused by its header is not preferred, and nothing of it is opened."""
    from percert.images import ImageError
    from percert.images.header import read_header
    from percert.search.deduplicate.files import _told

    plain, photo, large = (tmp_path / name for name in ("a.jpg", "b.jpg", "c.png"))
    exif = Image.Exif()
    exif[271] = "maker"
    Image.new("RGB", (8, 8)).save(plain, quality=50)
    Image.new("RGB", (8, 8)).save(photo, quality=95, exif=exif)
    Image.new("RGB", (3000, 3000)).save(large)
    header = read_header(photo)
    assert header.from_camera
    assert not read_header(plain).from_camera
    assert sum(header.quantisation) < sum(read_header(plain).quantisation)
    assert _told(photo)[0] == 0.0
    monkeypatch.setenv("PERCERT_MAX_MEMORY", "64MiB")
    with pytest.raises(ImageError, match="more than max_memory"):
        read_header(large)
    assert _told(large) == (1.0, float("inf"))
