"""Runs read from their folders, and put side by side."""

import pytest

from percert.reports import RecordStore, write_records, write_run
from percert.reports.page import render_page
from percert.reports.run_comparison import (
    audits_section,
    column_numbers,
    columns_section,
    differences,
    overview,
    read_folders,
)


def make(folder, rows, command, **settings):
    write_run(folder, command=command, seed=0, device="cpu", seconds=1.0, settings=settings)
    kinds = {name: type(value) for name, value in rows[0].items()}
    write_records(folder / "records.parquet", rows, kinds)
    return folder


def scores(folder, values, **settings):
    rows = [{"metric": "ssim", "image": str(i), "right": v} for i, v in enumerate(values)]
    return make(folder, rows, ["percert", "eval", "twoafc", "--out", "x"], **settings)


def audit(folder, accuracies):
    rows = [
        {"model": model, "group": group, "n": 60, "accuracy": value}
        for model, found in accuracies.items()
        for group, value in found.items()
    ]
    return make(folder, rows, ["percert", "audit", "groups"])


def test_names_tell_folders_apart(tmp_path):
    places = [scores(tmp_path / name / "run", [True]) for name in "ab"]
    assert [run.name for run in read_folders(places)] == ["a/run", "b/run"]
    assert [run.name for run in read_folders(places[:1])] == ["run"]


def test_what_is_no_run_is_one_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no records\.parquet"):
        read_folders([tmp_path / "empty"])
    place = scores(tmp_path / "a", [True])
    with pytest.raises(ValueError, match="given 2 times"):
        read_folders([place, tmp_path / "." / "a"])
    with pytest.raises(ValueError, match="at least one"):
        read_folders([])


def test_a_run_that_was_killed_is_read_as_far_as_it_is(tmp_path):
    store = RecordStore(tmp_path, {"image": str, "right": bool}, key=("image",))
    store.append([{"image": "a", "right": True}])
    (run,) = read_folders([tmp_path])
    assert run.rows == [{"image": "a", "right": True}]
    assert run.record is None
    assert "there is no run.json" in render_page("t", [overview([run])])


def test_only_settings_that_differ_are_shown(tmp_path):
    runs = read_folders(
        [
            scores(tmp_path / "a", [True], eps=1.0, seed=0),
            scores(tmp_path / "b", [True], eps=2.0, seed=0, metric="x"),
        ]
    )
    assert differences(runs) == {"eps": ("1.0", "2.0"), "metric": ("", "x")}
    assert runs[0].verb == "eval twoafc"
    assert runs[0].kind == "other"


def test_columns_are_compared_by_their_means(tmp_path):
    runs = read_folders(
        [scores(tmp_path / "a", [True, False, False]), scores(tmp_path / "b", [True, True])]
    )
    (numbers,) = column_numbers(runs[0].rows)
    assert (numbers.part, numbers.column, numbers.count) == ("ssim", "right", 3)
    assert numbers.mean == pytest.approx(1 / 3)
    assert numbers.median == 0
    (table,) = columns_section("eval twoafc", runs).blocks
    assert table.rows == (("ssim", "right", "0.3333 (0, 3)", "1 (1, 2)"),)
    assert column_numbers([]) == []


def test_a_column_that_names_the_rows_splits_nothing():
    rows = [{"model": f"m{i}", "x": float(i)} for i in range(60)]
    (numbers,) = column_numbers(rows)
    assert (numbers.part, numbers.mean) == ("", 29.5)


def test_audits_stand_side_by_side(tmp_path):
    runs = read_folders(
        [
            audit(tmp_path / "a", {"m": {"DE": 0.5, "NA": 0.75}, "k": {"DE": 0.7, "NA": 0.25}}),
            audit(tmp_path / "b", {"m": {"DE": 0.9}}),
        ]
    )
    assert {run.kind for run in runs} == {"audit"}
    _, groups, _, _ = audits_section(runs).blocks
    assert groups.rows == (("DE", "60, 0.6000", "60, 0.9000"), ("NA", "60, 0.5000", "-"))
