"""``percert report``: runs of different kinds in one page."""

import re

from percert.reports import write_records, write_run

ATTACK = {
    "image": "a.png",
    "attack": "pgd",
    "label": 0,
    "attacked": True,
    "success": True,
    "success_8bit": True,
    "l1": 1.0,
    "l2": 0.5,
    "linf": 0.1,
    "seconds": 0.5,
    "cpu_seconds": 0.5,
    "model_calls": 3.0,
}


def run(folder, command, rows, **settings):
    write_run(folder, command=command, seed=0, device="cpu", seconds=1.0, settings=settings)
    kinds = {name: type(value) for name, value in rows[0].items()}
    write_records(folder / "records.parquet", rows, kinds)
    return folder


def test_runs_side_by_side(tmp_path, percert_json):
    words = ["percert", "attack", "classify"]
    far = [{**ATTACK, "l2": 1.0}, {**ATTACK, "image": "b.png", "l2": 2.0}]
    near = [{**ATTACK, "attack": "fmn"}, {**ATTACK, "attack": "fmn", "image": "b.png"}]
    folders = [
        run(tmp_path / "far", words, far, goal="classifier", model="<b>m"),
        run(tmp_path / "near", words, near, goal="classifier", model="<b>m"),
        run(tmp_path / "scores", ["percert", "eval", "twoafc"], [{"metric": "x", "right": True}]),
        run(
            tmp_path / "audit",
            ["percert", "audit", "groups"],
            [{"model": "m", "group": g, "n": 60, "accuracy": 0.5} for g in ("DE", "NA")],
        ),
    ]
    page = tmp_path / "page.html"
    found = percert_json("report", *folders, "--out", page)
    assert [entry["kind"] for entry in found["runs"]] == ["attack", "attack", "other", "audit"]
    attacks = found["attacks"]["classifier"]["attacks"]
    assert [(a["attack"], a["distances"]["l2"]["mean"]) for a in attacks] == [
        ("pgd", 1.5),
        ("fmn", 0.5),
    ]
    assert found["columns"]["scores"][0]["mean"] == 1.0
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert "<b>m" not in text
    for words in ("On the same images", "Audits of groups", "eval twoafc", "NA"):
        assert words in text


def test_a_folder_without_a_run_is_one_line(tmp_path, percert):
    (line,) = percert("report", tmp_path, exit_code=1).stderr.splitlines()
    assert "no records.parquet" in line
