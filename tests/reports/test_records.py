"""Records: what is written comes back, whole or not at all, and nothing twice."""

import math
from pathlib import Path

import pytest

from percert.reports import RecordStore, read_records, write_records

pytest.importorskip("pyarrow", reason="needs the extra 'report'")

COLUMNS = {"image": str, "attack": str, "success": bool, "label": int, "l2": float}
ROW = {"image": "ä b.png", "attack": "a", "success": True, "label": 3, "l2": 0.5}


def test_every_kind_of_value_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = [ROW, dict.fromkeys(COLUMNS), {**ROW, "l2": float("-inf")}, {**ROW, "l2": float("nan")}]
    write_records(tmp_path / "r.parquet", rows, COLUMNS)
    found = read_records(tmp_path / "r.parquet", COLUMNS)
    assert found[:3] == rows[:3]
    assert math.isnan(found[3]["l2"])
    assert type(found[0]["label"]) is int


def test_other_programs_read_the_types(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_records(tmp_path / "r.parquet", [ROW], COLUMNS)
    frame = pandas.read_parquet(tmp_path / "r.parquet")
    assert frame["l2"].dtype == "float64"
    assert frame["success"].dtype == "bool"
    assert list(frame) == list(COLUMNS)


@pytest.mark.parametrize(
    "row", [{**ROW, "label": "three"}, {**ROW, "extra": 1}, {"image": "a"}], ids=["type", "+", "-"]
)
def test_a_row_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path, row) -> None:
    with pytest.raises(ValueError, match=r"r\.parquet: .*(fit its column|the columns expected)"):
        write_records(tmp_path / "r.parquet", [row], COLUMNS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_run_is_refused(tmp_path: Path) -> None:
    write_records(tmp_path / "r.parquet", [ROW], COLUMNS)
    with pytest.raises(ValueError, match=r"such as 'l2'.*expected None, found double"):
        read_records(tmp_path / "r.parquet", {k: v for k, v in COLUMNS.items() if k != "l2"})
    with pytest.raises(ValueError, match="such as 'label'"):
        read_records(tmp_path / "r.parquet", {**COLUMNS, "label": float})
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(ValueError, match=r"text\.parquet: not a parquet file"):
        read_records(tmp_path / "text.parquet")
    with pytest.raises(ValueError, match="no such file"):
        read_records(tmp_path / "missing.parquet")


def store(folder: Path) -> RecordStore:
    return RecordStore(folder, COLUMNS, key=("image", "attack"))


def test_rows_survive_without_a_merge_and_the_later_of_two_stays(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.append([ROW, {**ROW, "image": "b"}])
    first.append([{**ROW, "l2": 0.25}])
    assert not first.path.exists()
    # Another process, after a kill:
    rows = store(tmp_path).rows()
    assert [(row["image"], row["l2"]) for row in rows] == [("ä b.png", 0.25), ("b", 0.5)]


def test_merging_is_safe_at_every_point_where_a_kill_can_come(tmp_path: Path, monkeypatch) -> None:
    """Killed before the shards go: they are there beside the merged file, and count once."""
    one = store(tmp_path)
    one.append([ROW])
    one.append([{**ROW, "image": "b"}])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _killed)
        with pytest.raises(KeyboardInterrupt):
            one.merge()
    assert one.path.exists()
    assert len(store(tmp_path).rows()) == 2
    merged = store(tmp_path).merge(lambda row: row["image"])
    assert [row["image"] for row in merged] == ["b", "ä b.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["records.parquet"]
    assert read_records(one.path) == merged


def _killed(self: Path, missing_ok: bool = False) -> None:
    if self.suffix == ".parquet":
        raise KeyboardInterrupt


def test_half_a_file_is_never_taken_for_records(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.append([ROW])
    (tmp_path / "records.parts" / ".abc.part").write_bytes(b"PAR1 half")
    assert len(one.rows()) == 1


def test_a_run_without_rows_still_leaves_a_file_with_its_columns(tmp_path: Path) -> None:
    assert store(tmp_path).merge() == []
    assert read_records(tmp_path / "records.parquet", COLUMNS) == []
