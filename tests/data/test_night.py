"""NIGHT's published layout, a generic CSV of triplets, and triplets that are made."""

import pytest
import torch

from percert.data.distortions import DISTORTIONS
from percert.data.judgements import night_jnd, night_triplets
from percert.data.triplets import Triplet, csv_triplets, distortion_triplets, load_triplet
from percert.images import save_image

HEADER = "id,left_vote,right_vote,votes,ref_path,left_path,right_path,prompt,split,is_imagenet"


def night(folder, rows):
    lines = [
        f"{i},{left},{right},{votes},ref/000/{i:03d}.png,distort/000/{i:03d}_0.png,"
        f'distort/000/{i:03d}_1.png,"An image of a {prompt}",{split},{imagenet}'
        for i, left, right, votes, prompt, split, imagenet in rows
    ]
    (folder / "data.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return folder


@pytest.fixture
def folder(tmp_path):
    return night(
        tmp_path,
        [
            (0, 1, 0, 6, "cat", "train", True),
            (1, 0, 1, 8, "cat, or dog", "test", True),
            (2, 1, 0, 6, "pie", "test", False),
            (3, 0, 1, 5, "pie", "test", False),
            (4, 1.0, 0.0, 7, "bus", "val", "FALSE"),
        ],
    )


def test_splits_votes_labels_and_paths_are_those_of_the_published_loaders(folder):
    found = list(night_triplets(folder, "test"))
    assert [triplet.name for triplet in found] == ["1", "2"]  # row 3 has too few votes
    assert [triplet.choice for triplet in found] == [1, 0]
    assert [triplet.group for triplet in found] == ["imagenet", "other"]
    assert found[0].reference == folder / "ref/000/001.png"
    assert found[0].left == folder / "distort/000/001_0.png"
    assert found[0].right == folder / "distort/000/001_1.png"
    assert [triplet.name for triplet in night_triplets(folder, "train")] == ["0"]
    assert [triplet.name for triplet in night_triplets(folder, "val")] == ["4"]
    assert len(list(night_triplets(folder, "all", least_votes=0))) == 5


def test_it_is_read_row_by_row(folder):
    with (folder / "data.csv").open("a") as file:
        file.write("9,nobody,knows,8,a,b,c,d,test,True\n")
    rows = night_triplets(folder, "test")
    assert next(rows).name == "1"
    with pytest.raises(ValueError, match=r"row 6: expected a number in left_vote, found 'nobody'"):
        list(rows)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.csv: no such file"):
        list(night_triplets(tmp_path))
    (tmp_path / "data.csv").write_text("id,left_vote\n1,0\n")
    with pytest.raises(ValueError, match="'right_vote' is missing"):
        list(night_triplets(tmp_path))
    with pytest.raises(ValueError, match="split"):
        list(night_triplets(tmp_path, "tset"))


def test_votes_on_whether_a_difference_is_noticed_join_their_triplets(folder):
    (folder / "jnd_votes.csv").write_text("id,left_same,right_same\n1,0.25,1\n0,0,0\n77,1,1\n")
    pairs = list(night_jnd(folder))
    assert [(pair.name, pair.same) for pair in pairs] == [
        *(("1#left", 0.25), ("1#right", 1.0)),
        *(("0#left", 0.0), ("0#right", 0.0)),
    ]
    assert pairs[1].candidate == folder / "distort/000/001_1.png"
    assert len(list(night_jnd(folder, "test"))) == 2
    (folder / "jnd_votes.csv").write_text("id,L,R\n1,0.25,3\n")
    with pytest.raises(ValueError, match="expected the columns id and left_same, found id, L, R"):
        list(night_jnd(folder))
    with pytest.raises(ValueError, match="expected R in"):
        list(night_jnd(folder, left_column="L", right_column="R"))


def test_a_csv_file_of_ones_own(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text(
        "Ref,left,right,choice,split,group\na.png,b.png,c.png,left,x,g\n"
        "a.png,b.png,c.png,0.75,x,\na.png,b.png,c.png,,y,\na.png,b.png,c.png,0.5,,\n"
    )
    found = list(csv_triplets(table))
    assert [triplet.name for triplet in found] == ["a.png", "a.png#2", "a.png#3", "a.png#4"]
    assert [triplet.share for triplet in found] == [0.0, 0.75, None, 0.5]
    assert [triplet.choice for triplet in found] == [0, 1, None, None]
    assert found[0].group == "g"
    assert found[0].left == tmp_path / "b.png"
    assert len(list(csv_triplets(table, split="x"))) == 2
    elsewhere = tmp_path / "images"
    elsewhere.mkdir()
    assert next(csv_triplets(table, images=elsewhere)).right == elsewhere / "c.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reference,left\na,b\n", "expected a column right"),
        ("reference,left,right\na,,c\n", "row 1 does not name three images"),
        ("reference,left,right,choice\na,b,c,2\n", "0 to 1, found '2'"),
        ("reference,left,right\n", "found no rows"),
    ],
)
def test_a_csv_file_that_is_something_else_is_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        list(csv_triplets(tmp_path / "t.csv"))


def test_a_share_outside_of_0_to_1_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"share in \[0, 1\], found 1.5"):
        Triplet("t", tmp_path, tmp_path, tmp_path, 1.5)


def test_made_triplets_are_the_same_every_time_and_the_closer_one_is_known(tmp_path):
    generator = torch.Generator().manual_seed(1)
    for name in ("a", "b", "c"):
        save_image(torch.rand(3, 20, 24, generator=generator), tmp_path / f"{name}.png")
    found = list(distortion_triplets(tmp_path, seed=3))
    assert len(found) == 3 * len(DISTORTIONS)
    assert len({triplet.name for triplet in found}) == len(found)
    assert {triplet.choice for triplet in found} == {0, 1}  # the sides are mixed
    assert found == list(distortion_triplets(tmp_path, seed=3))
    for triplet in (triplet for triplet in found if triplet.distortion == "noise"):
        images = load_triplet(triplet)
        assert all(image.shape == (3, 20, 24) for image in images)
        reference, left, right = images
        nearer = int((right - reference).norm() < (left - reference).norm())
        assert nearer == triplet.choice
        assert torch.equal(left, load_triplet(triplet)[1])
    only = list(distortion_triplets(tmp_path, distortions=("blur", "jpeg")))
    assert [triplet.group for triplet in only[:2]] == ["blur", "jpeg"]
    with pytest.raises(ValueError, match="found 'fog'"):
        list(distortion_triplets(tmp_path, distortions=("fog",)))
