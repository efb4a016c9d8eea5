"""``percert eval copies``: the evaluation's answer, in files as well; bad input is said."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from percert.data.copy_edits import find_edit
from percert.evaluation.copies.evaluate import CopiesPlan, evaluate_copies
from percert.evaluation.copies.hashes import metric_detector
from percert.evaluation.copies.pictures import PictureFiles
from percert.reports import read_records, read_run
from percert.runs.items import items_at
from percert.search.ingest.views import parse_views

pytest.importorskip("matplotlib", reason="needs the extra 'report'")
pytest.importorskip("jinja2", reason="needs the extra 'report'")

CHEAP = ("--metric", "thumbnail-8", "--device", "cpu", "--edits", "jpeg-50,crop-80-random")


def smooth(seed, size=(48, 40)):
    coarse = np.random.default_rng(seed).integers(20, 236, (7, 7, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, seeds in (("own", range(3)), ("others", range(10, 12))):
        (folder / name).mkdir()
        for seed in seeds:
            smooth(seed).save(folder / name / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def out(folders, tmp_path_factory):
    """One run with everything in it."""
    from typer.testing import CliRunner

    from percert.cli import app

    out = tmp_path_factory.mktemp("copies") / "run"
    words = ["eval", "copies", folders / "own", "--distractors", folders / "others", *CHEAP]
    words += ["--views", "centre-80", "--attack", "--attacked", 3, "--steps", 3, "--eps", "1,16"]
    words += ["--rival", "thumbnail-16", "--out", out, "--json"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    (out / "stdout").write_text(result.stdout)
    return out


def test_the_json_is_what_the_evaluation_says(folders, out):
    answer = json.loads((out / "stdout").read_text())
    assert answer == json.loads((out / "copies.json").read_text())
    paths = [*sorted((folders / "own").iterdir()), *sorted((folders / "others").iterdir())]
    plan = CopiesPlan(
        edits=(find_edit("jpeg-50"), find_edit("crop-80-random")),
        views=parse_views("centre-80"),
        budgets=(1.0, 16.0),
    )
    (expected,) = evaluate_copies(
        [metric_detector("thumbnail-8", device="cpu")],
        PictureFiles(items_at(paths)),
        range(3),
        [3, 4],
        plan,
    )
    ours, rival = answer["detectors"]
    assert (answer["images"], answer["distractors"], answer["queries"]) == (3, 2, 3)
    assert (ours["name"], rival["name"]) == ("thumbnail-8", "thumbnail-16")
    assert ours["threshold"] == pytest.approx(expected.threshold)
    assert ours["natural"] == expected.natural
    assert [entry["rate"] for entry in ours["certified"]] == [
        entry.rate for entry in expected.certified
    ]
    for side in ("evasion", "collision"):
        last = ours[side]["natural"]
        for entry in ours[side]["budgets"]:
            assert entry["certified"] <= entry["rate"] <= last
            last = entry["rate"]


def test_the_folder_holds_all_that_was_made(out):
    page = (out / "report.html").read_text()
    for word in ("thumbnail-8", "thumbnail-16", "Under attack", "To make it again", "jpeg-50"):
        assert word in page
    assert page.count("data:image/png;base64,") == 2
    assert "<script" not in page
    assert "http:" not in page
    assert "https:" not in page
    for name in ("roc.png", "eps.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    rows = read_records(out / "records.parquet")
    assert len(rows) == 2 * 2 * 3
    assert all(row["radius"] >= 0 for row in rows)
    run = read_run(out)
    assert run["finished"] is True
    assert run["settings"]["views"] == ["whole", "centre-80"]
    assert not (out / "parts").exists()


def test_another_run_may_not_go_into_the_same_folder(folders, out, percert):
    result = percert(
        "eval", "copies", folders / "own", *CHEAP, "--out", out, "--views", "mirror", exit_code=1
    )
    assert "give another --out" in result.stderr


def test_bad_files_are_listed_and_the_rest_is_evaluated(folders, percert_json, tmp_path):
    (tmp_path / "in").mkdir()
    for seed in range(2):
        smooth(seed).save(tmp_path / "in" / f"{seed}.png")
    (tmp_path / "in" / "bad.png").write_text("no image")
    answer = percert_json(
        "eval", "copies", tmp_path / "in", *CHEAP, "--threshold", "0.3", "--side", 0,
        "--out", tmp_path / "out", exit_code=1,
    )  # fmt: skip
    assert answer["images"] == 2
    assert [entry["path"] for entry in answer["bad"]] == [str(tmp_path / "in" / "bad.png")]
    assert answer["detectors"][0]["threshold"] == 0.3
    assert answer["detectors"][0]["certified"][0]["psnr"] is None
    assert answer["detectors"][0]["evasion"] is None


@pytest.mark.parametrize(
    ("words", "reason", "code"),
    [
        (("--metric", "ssim"), "expected a metric with an embedding", 1),
        (("--rival", "md5"), "expected a metric with an embedding", 1),
        (("--rival", "thumbnail-8"), "is given twice", 1),
        (("--edits", "origami"), "expected one of", 1),
        (("--views", "below"), "expected one of the sets", 1),
        (("--threshold", "often"), "auto[:RATE]", 1),
        (("--eps", "0,1"), "expected lengths above 0", 2),
    ],
)
def test_a_wrong_word_is_said_in_one_line(folders, percert, tmp_path, words, reason, code):
    words = [*(CHEAP if words[0] not in CHEAP else ()), *words]
    result = percert(
        "eval", "copies", folders / "own", *words, "--out", tmp_path / "out", exit_code=code
    )
    assert reason in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_a_threshold_by_the_pictures_says_how_sure_it_is(folders, percert, tmp_path):
    words = ("eval", "copies", folders / "own", *CHEAP, "--threshold", "auto:0.5")
    said = " ".join(percert(*words, "--out", tmp_path / "out").stdout.split())
    # One pair of three pictures: 1 - (1 - 0.5)^1.
    assert (
        "at most 0.5 of unrelated pairs pass with 50 % confidence, by 1 independent pairs" in said
    )
    assert "report.html, copies.json and records.parquet are in" in said
    auto = json.loads((tmp_path / "out" / "copies.json").read_text())["detectors"][0]["auto"]
    assert auto["confidence"] == 0.5


def test_twins_are_named_since_they_move_the_rates(folders, tmp_path, percert, percert_json):
    """The same pixels under three names, in two formats and in both folders."""
    for name in ("own", "others"):
        shutil.copytree(folders / name, tmp_path / name)
    own, others = tmp_path / "own", tmp_path / "others"
    shutil.copy(own / "0.png", own / "9.png")
    smooth(0).save(others / "twin.bmp")
    command = ("eval", "copies", own, "--distractors", others, *CHEAP)
    answer = percert_json(*command, "--out", tmp_path / "json")
    names = [str(path) for path in (own / "0.png", own / "9.png", others / "twin.bmp")]
    assert answer["twins"] == [names]
    # No detector can tell them apart: a threshold that lets no twin pass lets no copy of them pass.
    alone = percert_json(
        *("eval", "copies", folders / "own", "--distractors", folders / "others", *CHEAP),
        *("--out", tmp_path / "alone"),
    )
    assert alone["twins"] == []
    rates = [run["detectors"][0]["points"][-1]["tpr"] for run in (answer, alone)]
    assert rates[0] < 0.6 < 0.8 < rates[1]
    said = percert(*command, "--out", tmp_path / "said").stderr
    assert "3 pictures are twins" in said
    assert all(name in said for name in names)
    page = (tmp_path / "said" / "report.html").read_text()
    assert "Twins among the pictures" in page
    assert all(name in page for name in names)
    assert "Twins" not in (tmp_path / "alone" / "report.html").read_text()


def test_each_stored_picture_has_its_own_threshold_unless_one_is_asked_for(
    folders, tmp_path, percert_json, percert
):
    words = ("eval", "copies", folders / "own", "--edits", "jpeg-50", "--device", "cpu", "--out")
    (own,) = percert_json(*words, tmp_path / "own")["detectors"]
    (one,) = percert_json(*words, tmp_path / "one", "--rule", "one")["detectors"]
    assert (own["rule"]["weight"], own["rule"]["source"]) == (0.5, "shipped")
    assert (one["rule"]["weight"], one["rule"]["background"]) == (0.0, None)
    assert own["threshold"] > one["threshold"]
    said = percert(*words, tmp_path / "again").stdout
    assert "each stored picture has a threshold of its own" in " ".join(said.split())
    percert(*words, tmp_path / "own", "--rule", "one", exit_code=1)  # another run
