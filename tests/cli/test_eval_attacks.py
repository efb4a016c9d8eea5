"""``percert eval attacks``: its answer against the records, its files, going on, and misuse."""

import json
import math
import re

import pytest
from tests.evaluation.attack_world import NAMES, grey, lit, originals, write_attacks

from percert.images import load_image
from percert.reports import read_records

pytest.importorskip("pyarrow", reason="needs the extra 'report'")
pytest.importorskip("matplotlib", reason="needs the extra 'report'")


@pytest.fixture
def run(tmp_path):
    images = originals(tmp_path / "my images")
    return write_attacks(
        tmp_path / "a run",
        images,
        {
            "ascent": {name: grey(140) for name in NAMES},
            "ascent:steps=9": {name: lit(100, 12, 160) for name in NAMES},
            "pgd": {"a.png": grey(200), "b.png": None, "c.png": grey(210)},
        },
    )


def test_the_answer_is_what_the_files_say(run, tmp_path, percert_json):
    out = tmp_path / "out"
    answer = percert_json(
        "eval", "attacks", run, "--metrics", "gmsd,mse,psnr", "--pictures", 0, "--out", out
    )
    assert answer["distances"] == ["l1", "l2", "linf", "ssim", "gmsd", "mse", "psnr"]
    ascent, steps, pgd = answer["attacks"]
    assert (ascent["attacked"], ascent["success_8bit"], ascent["seconds"]) == (4, 1.0, 4.0)
    assert (pgd["attacked"], pgd["success"]) == (3, 1.0)
    assert pgd["success_8bit"] == pytest.approx(2 / 3)
    squares = [
        float((load_image(run / "1" / n) - load_image(tmp_path / "my images" / n)).square().mean())
        for n in NAMES
    ]
    assert ascent["distances"]["mse"]["mean"] == pytest.approx(sum(squares) / 4, rel=1e-5)
    decibels = [-10 * math.log10(square) for square in squares]
    assert ascent["distances"]["psnr"]["mean"] == pytest.approx(sum(decibels) / 4, rel=1e-5)
    assert steps["distances"]["linf"]["most"] == pytest.approx(60 / 255)
    assert answer["shared"]["images"] == 2
    assert [entry["attacked"] for entry in answer["shared"]["attacks"]] == [2, 2, 2]
    assert answer["baseline"] == "ascent"
    # a and c alone: (100 + 108) grey levels over (40 + 38)
    assert answer["ratios"]["pgd"]["l1"] == pytest.approx(208 / 78)
    assert answer["ratios"]["pgd"]["seconds"] == 3.0
    assert answer["ratios"]["pgd"]["psnr"] is None
    assert [entry["option"] for entry in answer["ablations"]] == ["steps"]
    assert json.loads((out / "attacks.json").read_text()) == answer
    rows = read_records(out / "records.parquet")
    assert {row["metric"] for row in rows} == set(answer["distances"])
    linf = [r["distance"] for r in rows if (r["attack"], r["metric"]) == (steps["attack"], "linf")]
    assert max(linf) == pytest.approx(60 / 255)
    again = tmp_path / "own distances alone"
    percert_json("eval", "attacks", run, "--pictures", 0, "--out", again)
    assert {row["metric"] for row in read_records(again / "records.parquet")} == {
        "l1", "l2", "linf", "ssim"
    }  # fmt: skip


def test_the_report_is_one_page_with_its_tables_and_pictures(run, tmp_path, percert):
    out = tmp_path / "out"
    said = percert("eval", "attacks", run, "--pictures", 2, "--out", out)
    assert "ascent:steps=9" in said.stdout
    assert "66.7 %" in said.stdout
    assert "below 1 is better" in said.stdout
    page = (out / "report.html").read_text()
    for heading in (
        "Success and distances",
        "On the same images",
        "Beside ascent",
        "Time",
        "Settings, one at a time",
        "Distributions",
        "Pictures",
        "The runs",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert "the 2 images on which every attack succeeded" in page
    assert page.count("data:image/png;base64,") == 4 + 2
    assert not re.search(r'src="(?!data:)', page)
    for name in ("distances-l1.png", "distances-ssim.png", "pictures-1.png", "pictures-2.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    record = json.loads((out / "run.json").read_text())
    assert (record["finished"], record["settings"]["eval"]) == (True, "attacks")
    other = originals(tmp_path / "other")
    again = percert("eval", "attacks", run, "--images", other, "--out", out, exit_code=1)
    assert "give another --out" in again.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--baseline", "ascnt"), "no attack 'ascnt' in the runs"),
        (("--metrics", "ssmi"), "did you mean 'ssim'"),
        (("--images", "nowhere"), "nowhere: no such file or folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, tmp_path, percert, more, message):
    said = percert("eval", "attacks", run, *more, "--out", tmp_path / "out", exit_code=1)
    (line,) = said.stderr.splitlines()
    assert message in line


def test_a_folder_that_is_no_run_is_named(tmp_path, percert):
    said = percert("eval", "attacks", tmp_path, "--out", tmp_path / "out", exit_code=1)
    assert "no records.parquet in it" in said.stderr
    assert not (tmp_path / "out").exists()
