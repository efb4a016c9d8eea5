"""Labels: which row belongs to which image, and where they count from."""

from pathlib import Path

import pytest

from percert.runs import ImageItem, Probe, number_labels, with_labels


def items(*names: str) -> list[ImageItem]:
    return [ImageItem(name, Path(name)) for name in names]


def table(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "image,label\na/x.png,3\ny.jpg,4\n",
        "ImageId,URL,TrueLabel\nx,http://,3\ny,http://,4\n",
        "\ufefffilename , class\nx.png, 3\na/y.jpg,9\ny.jpg,4\n",
    ],
    ids=["paths", "ImageNet-Compatible", "byte-order mark and spaces"],
)
def test_rows_find_their_images_by_path_name_or_stem(tmp_path: Path, text: str) -> None:
    found = with_labels(items("a/x.png", "y.jpg", "z.png"), table(tmp_path, text))
    assert [(item.name, item.label) for item in found] == [("a/x.png", 3), ("y.jpg", 4)]


def test_columns_can_be_named_and_targets_come_along(tmp_path: Path) -> None:
    path = table(tmp_path, "label,what,aim,img\n0,5,7,x.png\n")
    (found,) = with_labels(
        items("x.png"), path, image_column="img", label_column="what", target_column="aim"
    )
    assert (found.label, found.target) == (5, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a CSV file with a header and rows"),
        ("image,label\n", "found no rows"),
        ("a,b\n1,2\n", "no column 'image' or 'imageid'; name yours with image_column"),
        ("image,b\nx.png,2\n", "no column 'label' or 'truelabel'; name yours with label_column"),
        ("image,label\nx.png,cat\n", "x.png: expected a label that is an integer, found 'cat'"),
        ("image,label\nx.png,1\nx.png,2\n", "two rows for the image 'x.png'"),
        ("image,label\nq.png,1\n", "'q.png' in the column 'image', the images such as 'x.png'"),
    ],
)
def test_a_file_that_does_not_fit_says_how(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        with_labels(items("x.png"), table(tmp_path, text))
    assert "labels.csv" in str(caught.value)


def test_a_column_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column 'Labl', did you mean 'Label'"):
        with_labels(items("x"), table(tmp_path, "image,Label\nx,1\n"), label_column="Labl")


def labelled(*labels: int) -> list[ImageItem]:
    return [ImageItem(f"{i}.png", Path(f"{i}.png"), label=label) for i, label in enumerate(labels)]


def seen(classes: int, *predictions: int) -> Probe:
    return Probe(classes, {f"{i}.png": value for i, value in enumerate(predictions)})


@pytest.mark.parametrize(
    ("labels", "probe", "base"),
    [
        ((0, 2), seen(4, 9, 9), 0),  # a 0 decides
        ((4, 2), seen(4, 9, 9), 1),  # so does a label as large as the number of classes
        ((2, 3), seen(4, 2, 3), 0),  # else what the model says
        ((2, 3), seen(4, 1, 2), 1),
        ((3, 1, 2), Probe(4, {"1.png": 0, "2.png": 1}), 1),  # the first image could not be read
    ],
)
def test_labels_are_found_to_count_from_0_or_1(labels, probe: Probe, base: int) -> None:
    found = number_labels(labelled(*labels), probe)
    assert found.base == base
    assert [item.label for item in found.items] == [label - base for label in labels]
    assert found.warnings == []


def test_a_base_that_is_a_guess_is_said_and_one_given_is_taken() -> None:
    assert "labels_from decides" in number_labels(labelled(2, 3), seen(5, 0, 0)).warnings[0]
    given = number_labels(labelled(2, 3), seen(5, 0, 0), "1")
    assert [item.label for item in given.items] == [1, 2]
    assert given.warnings == []


@pytest.mark.parametrize(
    ("labels", "base"), [((0, 5), "auto"), ((7, 1), "auto"), ((-1, 2), "auto"), ((0, 1), "1")]
)
def test_labels_that_the_model_has_no_class_for_are_refused(labels, base) -> None:
    with pytest.raises(ValueError, match="the model has 5 classes"):
        number_labels(labelled(*labels), seen(5, 0, 0), base)


def test_a_model_near_chance_is_warned_about_and_a_good_one_is_not() -> None:
    """0 of 12 with 10 classes; three standard deviations over chance are 4.3 right ones."""
    labels = labelled(*[0] * 12)
    (said,) = number_labels(labels, seen(10, *[1] * 12)).warnings
    assert "0 of the first 12 clean images" in said
    assert "near chance (10 classes)" in said
    assert number_labels(labels, seen(10, *[0] * 4, *[1] * 8)).warnings != []
    assert number_labels(labels, seen(10, *[0] * 5, *[1] * 7)).warnings == []


def test_no_labels_are_no_labels() -> None:
    found = number_labels(items("a.png"), Probe(3, {"a.png": 2}))
    assert (found.base, found.items[0].label, found.warnings) == (None, None, [])


def test_targets_count_as_the_labels_do_and_must_be_classes() -> None:
    aimed = [ImageItem("0.png", Path("0.png"), label=3, target=5)]
    assert number_labels(aimed, seen(5, 2)).items[0].target == 4
    alone = [ImageItem("0.png", Path("0.png"), target=4)]
    assert number_labels(alone, seen(5, 2)).items[0].target == 4
    assert number_labels(alone, seen(5, 2), "1").items[0].target == 3
    with pytest.raises(ValueError, match=r"0\.png: no class 5 to aim at"):
        number_labels([ImageItem("0.png", Path("0.png"), target=5)], seen(5, 2))
