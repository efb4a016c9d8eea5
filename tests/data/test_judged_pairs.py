"""Readers of pairs that people judged, by observers or by scores, and of triplets with votes."""

import pytest

from percert.data.judged_pairs import noticed_pairs, pairs_to_show, scored_pairs
from percert.data.triplets import csv_triplets


def table(folder, text):
    path = folder / "t.csv"
    path.write_text(text)
    return path


def test_answers_are_counted_whether_a_row_is_a_pair_or_one_answer(tmp_path):
    whole = table(
        tmp_path,
        "original,changed,attack,observers,said_different\na.png,b.png,bim,4,3\na.png,c.png,none,2,0\n",
    )
    by_pair = noticed_pairs(whole)
    answers = "".join(f"a.png,b.png,bim,1,{said}\n" for said in (1, 0, 1, 1))
    single = table(
        tmp_path,
        "original,changed,attack,observers,said_different\n" + answers + "a.png,c.png,none,2,0\n",
    )
    assert noticed_pairs(single) == by_pair
    assert [(pair.seen, pair.observers, pair.group) for pair in by_pair] == [
        (0.75, 4, "bim"),
        (0.0, 2, "none"),
    ]
    assert by_pair[0].reference == tmp_path / "a.png"
    assert by_pair[0].candidate == tmp_path / "b.png"


def test_paths_count_from_images_beside_the_file_where_the_first_is_there(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    path = table(tmp_path, "reference,changed,observers,said_different\na.png,b.png,1,1\n")
    assert noticed_pairs(path)[0].candidate == tmp_path / "images" / "b.png"
    other = tmp_path / "other"
    with pytest.raises(ValueError, match="other: no such folder"):
        noticed_pairs(path, images=other)
    other.mkdir()
    assert noticed_pairs(path, images=other)[0].candidate == other / "b.png"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,b.png,3,4", "row 1: expected no more who said so than were asked, found 4 of 3"),
        ("a.png,b.png,0,1", "row 1: expected no more who said so than were asked, found 1 of 0"),
        ("a.png,b.png,2.5,1", "row 1: expected a whole number in observers, found '2.5'"),
        ("a.png,b.png,4,some", "row 1: expected a number in said_different, found 'some'"),
        ("a.png,,4,1", "row 1 does not name two images"),
    ],
)
def test_rows_that_make_no_sense_are_named(tmp_path, row, message):
    path = table(tmp_path, f"reference,changed,observers,said_different\n{row}\n")
    with pytest.raises(ValueError, match=message):
        noticed_pairs(path)


def test_a_column_that_is_missing_is_named(tmp_path):
    path = table(tmp_path, "reference,changed,observers\na.png,b.png,4\n")
    with pytest.raises(ValueError, match="expected a column said_different, found reference,"):
        noticed_pairs(path)


@pytest.mark.parametrize(
    ("column", "scores"),
    [("dmos", [1.5, 3.0]), ("JND", [1.5, 3.0]), ("score", [1.5, 3.0]), ("MOS", [-1.5, -3.0])],
)
def test_scores_are_greater_where_images_differ_more(tmp_path, column, scores):
    path = table(tmp_path, f"ref_img,dist_img,{column}\na.png,b.png,1.5\na.png,c.png,3\n")
    assert [pair.score for pair in scored_pairs(path)] == scores


def test_scores_that_are_none_or_doubled_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a column of scores"):
        scored_pairs(table(tmp_path, "reference,changed\na.png,b.png\n"))
    with pytest.raises(ValueError, match="row 1: expected a number in dmos, found 'nan'"):
        scored_pairs(table(tmp_path, "reference,changed,dmos\na.png,b.png,nan\n"))
    with pytest.raises(ValueError, match=r"row 2: .* stands there twice"):
        scored_pairs(table(tmp_path, "reference,changed,dmos\na.png,b.png,1\na.png,b.png,2\n"))


def test_pairs_of_which_nobody_said_anything_are_left_out(tmp_path):
    rows = "a.png,b.png,0,0\na.png,c.png,0,0\na.png,c.png,3,1\n"
    path = table(tmp_path, "reference,changed,observers,said_different\n" + rows)
    assert [(one.candidate.name, one.observers) for one in noticed_pairs(path)] == [("c.png", 3)]
    path = table(tmp_path, "reference,changed,mos\na.png,b.png,\na.png,c.png,3\n")
    assert [(one.candidate.name, one.score) for one in scored_pairs(path)] == [("c.png", -3.0)]


def test_a_pair_is_shown_once_though_it_stands_there_twice(tmp_path):
    path = table(tmp_path, "reference,changed,group\na.png,b.png,x\na.png,b.png,y\n")
    assert [(one.changed, one.group) for one in pairs_to_show(path)] == [("b.png", "x")]


def test_votes_of_a_triplet_give_its_share(tmp_path):
    path = table(
        tmp_path,
        "reference,left,right,votes_left,votes_right\n"
        "a.png,b.png,c.png,3,1\na.png,c.png,b.png,2,2\na.png,d.png,b.png,0,0\n",
    )
    assert [(one.share, one.votes) for one in csv_triplets(path)] == [
        (0.25, 4),
        (0.5, 4),
        (None, 0),
    ]
    bad = table(tmp_path, "reference,left,right,votes_left,votes_right\na.png,b.png,c.png,3,x\n")
    with pytest.raises(ValueError, match="row 1: expected counts of votes, found '3' and 'x'"):
        list(csv_triplets(bad))
