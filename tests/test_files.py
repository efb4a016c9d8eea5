"""A file is whole or not there, whatever happens while it is written."""

import re
from pathlib import Path

import pytest

from percert.files import replacing, write_whole


def fail_after_writing(path):
    path.write_bytes(b"ne")
    raise TypeError


def test_an_error_while_writing_leaves_what_was_there(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_whole(path, b"old")
    with pytest.raises(TypeError), replacing(path) as waiting:
        fail_after_writing(waiting)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"):
        write_whole(tmp_path / "a", b"x")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_file_may_be_read_by_whom_an_ordinary_one_may(tmp_path):
    (tmp_path / "ordinary").touch()
    with replacing(tmp_path / "a") as waiting:
        waiting.touch(mode=0o600)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_what_is_half_written_is_found_by_no_search(tmp_path):
    with replacing(tmp_path / "a.png", sync=False) as waiting:
        assert (waiting.parent, waiting.name[0]) == (tmp_path, ".")
        assert waiting.suffix != ".png"
        waiting.write_bytes(b"x")


def test_nothing_else_puts_a_file_in_the_place_of_another():
    source = Path(__file__).parents[1] / "src" / "percert"
    found = [
        path.relative_to(source).as_posix()
        for path in sorted(source.rglob("*.py"))
        if re.search(r"os\.replace\(|mkstemp\(", path.read_text(encoding="utf-8"))
    ]
    # The other puts links to a user's own files in the places of copies, each written down before.
    assert found == ["files.py", "search/deduplicate/steps.py"]
