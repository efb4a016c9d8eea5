"""Tables that come in: two formats, odd values, and one clear error for each mistake."""

import pandas as pd
import pytest

from percert.fairness.groups import OmittedGroup, group_table
from percert.fairness.predictions import (
    attributes_of_parts,
    check_predictions,
    read_attributes,
    read_predictions,
)

CSV = "image,group,label,prediction\na.png,FR,3,3\nb.png,NA,4,3\n"


@pytest.fixture
def write(tmp_path):
    def make(text, name="table.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


def test_a_csv_is_read_and_namibia_is_a_country(write):
    frame = read_predictions(write(CSV, "resnet.csv"))
    assert frame["group"].tolist() == ["FR", "NA"]
    assert frame["correct"].tolist() == [1, 0]
    assert frame["model"].tolist() == ["resnet", "resnet"]


def test_parquet_and_csv_are_the_same_whatever_the_types(write, tmp_path):
    text = read_predictions(write(CSV))
    numbers = pd.DataFrame(
        {"image": ["a.png", "b.png"], "group": ["FR", "NA"], "label": [3.0, 4.0]}
    ).assign(prediction=[3, 3])
    numbers.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(text, read_predictions(tmp_path / "table.parquet"))


@pytest.mark.parametrize("values", [("1", "0"), ("True", "False"), ("true", "false")])
def test_correct_is_understood(write, values):
    frame = read_predictions(write(f"image,group,correct\na,x,{values[0]}\nb,x,{values[1]}\n"))
    assert frame["correct"].tolist() == [1, 0]


def test_other_names_of_columns(write):
    path = write("file,country,image,correct\na,FR,z,1\nb,DE,z,0\n")
    frame = read_predictions(path, {"image": "file", "group": "country"})
    assert frame["image"].tolist() == ["a", "b"]
    assert frame["group"].tolist() == ["FR", "DE"]
    with pytest.raises(ValueError, match="no column 'land'"):
        read_predictions(path, {"group": "land"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,group,correct\na,x,1\na,x,1\n", "duplicate images: 'a'"),
        ("image,group,correct\na,x,1\na,y,1\n", "duplicate images: 'a'"),
        ("image,group,correct\na,,1\n", "1 rows have no group, the first is row 1"),
        ("image,group,correct\na,x,\n", "have no correct"),
        ("image,group,correct\na,x,0.7\n", "expected 0 or 1, true or false, found '0.7'"),
        ("image,group,label\na,x,1\n", "no column 'prediction'"),
        ("group,correct\nx,1\n", "no column 'image'"),
        ("image,group,correct\n", "holds no rows"),
        ("", "cannot be read as a table"),
        ('image,group\n"a,x\n', "cannot be read|no column"),
    ],
)
def test_a_bad_table_of_predictions_is_one_error(write, text, said):
    with pytest.raises(ValueError, match=said):
        read_predictions(write(text))


def test_a_file_of_another_kind_is_refused(write):
    with pytest.raises(ValueError, match="cannot be read as a table"):
        read_predictions(write("not parquet", "x.parquet"))
    with pytest.raises(ValueError, match=r"\.csv or \.parquet"):
        read_predictions(write(CSV, "x.xlsx"))


def test_attributes(write):
    path = write("group,name,log_gdp,population\nFR,France,10.7,\nNA,Namibia,8.4,3\n")
    frame = read_attributes(path, ("log_gdp",))
    assert frame["log_gdp"].to_dict() == {"FR": 10.7, "NA": 8.4}
    assert list(read_attributes(write("group,name,gdp\nA,x,1\n", "one.csv"))) == ["gdp"]
    with pytest.raises(ValueError, match="one of log_gdp, population"):
        read_attributes(path)
    with pytest.raises(ValueError, match="no attribute 'gdp'"):
        read_attributes(path, ("gdp",))
    mixed = write("group,gdp\nFR,10.7\nNA,high\n", "mixed.csv")
    with pytest.raises(ValueError, match="gdp of group 'NA': expected a number, found 'high'"):
        read_attributes(mixed, ("gdp",))
    both = read_attributes(path, covariates=("name", "population"))
    assert list(both) == ["log_gdp", "name", "population"]
    assert both["name"].tolist() == ["France", "Namibia"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("group,a\nx,1\nx,2\n", "'x' occurs more than once"),
        ("land,a\nx,1\n", "no column 'group'"),
        ("group,a\n,1\n", "a row has no group"),
    ],
)
def test_a_bad_table_of_attributes_is_one_error(write, text, said):
    with pytest.raises(ValueError, match=said):
        read_attributes(write(text))


def predictions(sizes, models=("m",)):
    rows = [
        (model, f"{group}{place}", group, place % 2)
        for model in models
        for group, size in sizes.items()
        for place in range(size)
    ]
    frame = pd.DataFrame(rows, columns=["model", "image", "group", "correct"])
    return check_predictions(frame)


def attributes(**values):
    return pd.DataFrame({"a": values})


def test_small_groups_are_left_out_and_listed():
    table = group_table(predictions({"x": 60, "y": 49, "z": 50}), attributes(x=1.0, y=2.0, z=3.0))
    assert table.n.to_dict() == {"x": 60, "z": 50}
    assert table.left_out == (OmittedGroup("y", 49, "fewer than 50 images"),)
    assert table.accuracy["m"].to_dict() == {"x": 0.5, "z": 0.5}


def test_a_group_without_attribute_is_an_error_unless_told_otherwise():
    frame = predictions({"x": 60, "y": 55})
    with pytest.raises(
        ValueError, match=r"1 groups have no attribute: 'y'.*leave them out with drop_missing"
    ):
        group_table(frame, attributes(x=1.0))
    with pytest.raises(ValueError, match="have no attribute: 'y'"):
        group_table(frame, attributes(x=1.0, y=float("nan")))
    table = group_table(frame, attributes(x=1.0), drop_missing=True)
    assert table.left_out == (OmittedGroup("y", 55, "no attribute"),)
    # A small group is left out anyway, and needs no attribute.
    assert group_table(predictions({"x": 60, "y": 5}), attributes(x=1.0)).n.to_dict() == {"x": 60}


def test_nothing_left_and_infinity_are_errors():
    with pytest.raises(ValueError, match="no group is left: of 1, 1 have fewer"):
        group_table(predictions({"x": 5}), attributes(x=1.0))
    with pytest.raises(ValueError, match="infinite"):
        group_table(predictions({"x": 60}), attributes(x=float("inf")))


def test_models_must_have_been_judged_on_the_same_images():
    frame = predictions({"x": 60}, models=("b", "a"))
    table = group_table(frame, attributes(x=1.0))
    assert list(table.accuracy) == ["b", "a"]  # in the order of the table, which makes the pairs
    with pytest.raises(ValueError, match="model 'a': judged on other images"):
        group_table(frame[:-1], attributes(x=1.0))
    moved = frame.copy()
    moved.loc[70, "group"] = "y"
    with pytest.raises(ValueError, match="image 'x10'"):
        group_table(moved, attributes(x=1.0, y=1.0))


def test_correct_must_agree_with_label_and_prediction():
    rows = pd.DataFrame(
        {
            "model": "m",
            "image": ["a", "b", "c"],
            "group": "g",
            "label": ["1", "2", "3"],
            "prediction": ["1", "2.0", "4"],
            "correct": [1, 1, 0],
        }
    )
    assert check_predictions(rows)["correct"].tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match=r"contradicts label and prediction in 2 of 3 rows.*'a'"):
        check_predictions(rows.assign(correct=[0, 1, 1]))


@pytest.mark.parametrize(
    ("ours", "theirs"), [("007", "7"), ("1.0", "1"), ("fr", "FR"), ("a ", "a")]
)
def test_a_group_that_is_written_otherwise_gets_a_hint(ours, theirs):
    rows = check_predictions(
        pd.DataFrame({"model": "m", "image": ["x"], "group": [ours], "correct": [1]})
    )
    known = pd.DataFrame({"gdp": [1.0, 2.0]}, index=[theirs, "other"])
    with pytest.raises(ValueError, match=f"the attributes have {theirs!r}, which is not {ours!r}"):
        group_table(rows, known, smallest=1)
    with pytest.raises(ValueError, match="have no attribute: '9'; complete"):
        group_table(rows.assign(group="9"), known, smallest=1)


def test_several_columns_make_groups_and_strata():
    rows = pd.DataFrame(
        {"image": ["a", "b"], "race": ["x", "y"], "age": [20.0, 40.0], "label": ["1", "2"]}
    )
    rows["correct"] = 1
    found = check_predictions(rows.assign(model="m"), by=("race", "age"), strata=("label",))
    assert found["group"].tolist() == ["x / 20", "y / 40"]
    assert found["stratum"].tolist() == ["1", "2"]
    parts = attributes_of_parts(found, ("race", "age"), None)
    assert parts.loc["y / 40"].tolist() == ["y", "40"]
    with pytest.raises(ValueError, match="no column 'sex'; it has"):
        check_predictions(rows.assign(model="m"), by=("sex",))
    with pytest.raises(ValueError, match="race: expected a value without ' / ', found 'x / y'"):
        check_predictions(rows.assign(model="m", race="x / y"), by=("race",))
