"""The README: short, its commands answer as shown, and every number in it has its source."""

import doctest
import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
from tests.docs.commands import REPOSITORY, shell_lines
from typer.testing import CliRunner

README = REPOSITORY / "README.md"
RESULTS = REPOSITORY / "docs" / "results"


def prose():
    """The README without its blocks of code and the targets of its links."""
    text = re.sub(r"^```.*?^```$", "", README.read_text("utf-8"), flags=re.M | re.S)
    return re.sub(r"\]\([^)]*\)", "]", text)


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


def test_it_is_read_in_a_few_minutes():
    assert len(README.read_bytes()) < 5400


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """The files that the README speaks of, in the working folder."""
    skimage = pytest.importorskip("skimage", reason="its photographs are the example")
    from PIL import Image

    data = Path(skimage.__file__).parent / "data"
    original = Image.open(data / "chelsea.png").convert("RGB")
    original.save(tmp_path / "original.png")
    original.resize((300, 200)).save(tmp_path / "upload.jpg", quality=60)
    Image.open(data / "coffee.png").convert("RGB").save(tmp_path / "other.png")
    (tmp_path / "photos").mkdir()
    for name in ("original.png", "other.png"):
        shutil.copy(tmp_path / name, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("photographs")
def test_its_commands_answer_as_it_shows():
    pytest.importorskip("lancedb", reason="needs the extra 'search'")
    from percert.cli import app

    lines = shell_lines(README)
    starts = [n for n, line in enumerate(lines) if line.startswith("$ percert ")]
    assert len(starts) == 3
    checker, options = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        done = CliRunner().invoke(app, lines[start].split()[2:])
        shown = "\n".join(lines[start + 1 : end]) + "\n"
        assert done.exit_code == 0, done.output
        assert checker.check_output(shown, done.stdout, options), done.stdout


def test_what_it_says_of_eps_is_so():
    from percert.reports.budgets import parse_budget

    height, width, eps, levels = (200, 300, 4, 2)
    said = f"a picture of {width} x {height} pixels, {eps} covers every change of up to {levels} "
    assert said in " ".join(prose().split())
    lengths = [parse_budget(f"linf:{n}/255").length((height, width)) for n in (levels, levels + 1)]
    assert lengths[0] <= eps < lengths[1]
    assert f"--eps {eps}" in README.read_text("utf-8")


def test_what_it_says_of_its_picture_is_so(tmp_path):
    pytest.importorskip("skimage", reason="its photographs are the example")
    pytest.importorskip("matplotlib", reason="the demo draws")
    from percert import certify, create_metric
    from percert.images import load_image
    from percert.search.query.reference_rule import reference_rule

    spec = importlib.util.spec_from_file_location("demo", REPOSITORY / "demo" / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    cat = demo.photograph("chelsea.png")
    cat.save(tmp_path / "cat.png")
    demo.captioned(cat, "a cat").save(tmp_path / "caption.png")
    images = [load_image(tmp_path / name)[None] for name in ("cat.png", "caption.png")]
    metric = create_metric("lipsim-tiny")
    threshold = reference_rule(metric, images[0]).threshold
    copy = certify.copies(metric, *images, threshold=threshold)
    assert copy.decision.item()
    assert f"whatever is changed up to {int(100 * copy.radius.item()) / 100:.2f}." in " ".join(
        prose().split()
    )
    assert f"within an l2 length of {demo.EPS:g}." in " ".join(prose().split())
    assert copy.radius.item() > demo.EPS


def collection(images):
    """What ``percert index add`` stores by default, of a collection of so many images."""
    from percert.search.ingest.views import VIEW_SETS

    (found,) = [
        one
        for one in result("copies-per-query")["collections"]
        if one["images"] == images and one["views"] == list(VIEW_SETS["standard"])
    ]
    return found


def test_its_table_is_what_was_measured():
    rows = [line.strip("| ").split(" | ") for line in prose().splitlines() if line.startswith("|")]
    (_, *sizes), _, *shares = rows
    collections = [collection(int(size.split()[0].replace(",", ""))) for size in sizes]
    expected = [
        ("copies found", *(one["found"] for one in collections)),
        *(
            (
                f"found, and proven to stay so at l2 = {eps}",
                *(one["certified"][eps] for one in collections),
            )
            for eps in ("4", "16")
        ),
        *(
            (name, *(one["found_by_edit"][edit] for one in collections))
            for name, edit in (
                ("found of those with a caption", "caption"),
                ("found of random crops to 80 %", "crop-80-random"),
            )
        ),
    ]
    assert shares == [[name, *(f"{value:.3f}" for value in values)] for name, *values in expected]
    measured = result("copies-per-query")
    assert measured["metric"] == "lipsim-tiny"
    assert (
        f"Of {measured['copies']:,} copies, edited as people edit them, when 1 in "
        f"{1 / measured['wrong']:,.0f} queries"
    ) in " ".join(prose().split())


def test_ordinary_features_find_more_while_nobody_attacks():
    found, ours = (
        result(f"copies-{name}")["groups"][0]["points"][1]["tpr"]
        for name in ("squeezenet", "lipsim-tiny-1")
    )
    assert "ordinary network features find more copies" in prose()
    assert found > ours
    assert not result("copies-squeezenet")["groups"][0]["certified"]


def test_no_other_number_stands_in_its_sentences():
    """All are held by the tests above."""
    text = re.sub(r"\bl2\b|Apache-2\.0|Python 3\.10", "", prose())
    held = {"4", "30.24", "300", "200", "2", "255", "3,600", "1", "1,000", "80", "16", "100,000"}
    held |= {"0", "2024"}  # the least value of a pixel; a paper's year
    table = {f"{value:.3f}" for one in map(collection, (300, 100_000))
             for value in (one["found"], *one["certified"].values(),
                           *one["found_by_edit"].values())}  # fmt: skip
    assert set(re.findall(r"\d+(?:[.,]\d+)*", text)) <= held | table
