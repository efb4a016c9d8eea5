"""The calls of other tools beside ours run, where the tool can be imported."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "come-from-other-tools.md"
RESULTS = PAGE.parents[1] / "results"
FIRST, *BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
TOOLS = ("lpips", "dreamsim", "piq", "torchattacks", "foolbox", "art", "fairlearn")
TOOLS += ("imagehash", "faiss")
DOWNLOADED = ("lpips", "dreamsim")


def tool_of(block):
    named = re.findall(r"^(?:import|from) (\w+)", block, re.M)
    return next((tool for tool in TOOLS if tool in named), "percert")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    cat = Image.fromarray(data.chelsea())
    cat.save(folder / "original.png")
    cat.resize((300, 200)).save(folder / "upload.jpg", quality=60)
    Image.fromarray(data.coffee()).save(folder / "other.png")
    return folder


def test_the_table_beside_hashes_is_what_was_measured():
    names = ("lipsim-tiny", "phash", "dhash", "pdq")
    copies = [json.loads((RESULTS / f"copies-{name}.json").read_text("utf-8")) for name in names]
    speed = {
        one["name"]: one["images_per_second"]
        for one in json.loads((RESULTS / "speed.json").read_text("utf-8"))["timings"]
        if one["batch"] == 1 and one["task"] == "embed"
    }
    usual, hard = ([one["groups"][number] for one in copies] for number in (0, 1))

    def crops(group):
        rates = [edit["tpr"][1] for edit in group["edits"] if edit["family"] == "crop-80"]
        return sum(rates) / len(rates)

    def at_16(budgets):
        return next((f"{one['rate']:.3f}" for one in budgets or () if one["eps"] == 16), "none")

    expected = {
        "usual edits found, at a false-positive rate of 1e-3": [
            f"{one['points'][1]['tpr']:.3f}" for one in usual
        ],
        "of these, crops to 80 %": [f"{crops(one):.3f}" for one in usual],
        "hard edits": [f"{one['points'][1]['tpr']:.3f}" for one in hard],
        "still found under attack at l2 = 16 (80 of them)": [
            at_16(one["attacked"]["budgets"]) for one in copies
        ],
        "proven to be found at l2 = 16": [at_16(one["certified"]) for one in usual],
        "images a second, one at a time, 299 px": [f"{speed[name]:.0f}" for name in names],
    }
    rows = {
        cells[0]: cells[1:]
        for line in PAGE.read_text("utf-8").splitlines()
        if len(cells := line.strip("| ").split(" | ")) == 5
    }
    assert {name: rows[name] for name in expected} == expected


def test_every_tool_has_its_calls():
    assert {tool_of(block) for block in BLOCKS} == {*TOOLS, "percert"}


@pytest.mark.parametrize("block", BLOCKS, ids=tool_of)
def test_both_calls_run(block, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {}
    exec(FIRST, names)
    imports = "\n".join(line for line in block.splitlines() if re.match(r"import|from", line))
    try:
        exec(imports, {})
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{tool_of(block)} cannot be imported: {error}")
    try:
        exec(block, names)
    except (OSError, ValueError, RuntimeError) as error:
        if tool_of(block) not in DOWNLOADED:
            raise
        pytest.skip(f"{tool_of(block)} has no weights here: {error}")
