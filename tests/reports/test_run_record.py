"""run.json: what it says of the run, and of the checkout."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch

from percert.reports import read_run, records, write_run


def test_it_holds_what_was_run_with_what(tmp_path: Path) -> None:
    write_run(
        tmp_path / "new",
        command=["percert", "x y"],
        seed=3,
        device="cpu",
        seconds=1.25,
        settings={"eps": 0.5},
        images=7,
    )
    found = json.loads((tmp_path / "new" / "run.json").read_text())
    assert found == read_run(tmp_path / "new")
    assert (found["command"], found["seed"], found["seconds"]) == (["percert", "x y"], 3, 1.25)
    assert (found["settings"], found["images"]) == ({"eps": 0.5}, 7)
    assert found["versions"]["torch"] == torch.__version__
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run.json"]


def test_the_commit_is_that_of_the_checkout_and_says_if_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "percert"
    package.mkdir(parents=True)
    source = package / "__init__.py"
    source.write_text("")
    monkeypatch.setattr(records.percert, "__file__", str(source))
    assert records._commit() is None
    git = ("git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run([*git, *words], check=True)
    clean = records._commit()
    assert clean is not None
    assert re.fullmatch("[0-9a-f]{40}", clean)
    source.write_text("changed")
    assert records._commit() == f"{clean}-dirty"


def test_a_folder_without_a_run_and_one_that_is_damaged(tmp_path: Path) -> None:
    assert read_run(tmp_path) is None
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json: not JSON"):
        read_run(tmp_path)
