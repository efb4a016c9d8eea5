"""The calls of other tools beside ours run, where the tool can be imported."""

import re
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "come-from-other-tools.md"
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
