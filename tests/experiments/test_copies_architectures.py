"""The ablation of layers: trains each for its seconds, once, and measures what was held out."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.training.tiny_world import RECIPE

from experiments.conditions import conditions
from experiments.copies import architectures

pytest.importorskip("lightning_fabric")

SOURCES = """
[[data]]
path = "photographs"
share = 4
side = 96
hold_out = 3
[[data]]
path = "nowhere"
share = 100
[[data]]
path = "classes"
share = 4
side = 32
crop = 0.75
classes = true
hold_out = 4
leave_out = ["c", "d"]
"""


def make_folders(root: Path) -> Path:
    """Photographs and four classes, and a recipe that names a source more."""
    generator = np.random.default_rng(0)

    def picture(path: Path, side: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(path)

    for number in range(9):
        picture(root / "photographs" / f"{number}.png", 96)
    for name in "abcd":
        for number in range(20):
            picture(root / "classes" / name / f"{number}.png", 32)
    # Its own sources and teacher give way to these.
    begin, end = RECIPE.index("[[data]]"), RECIPE.index("[network]")
    (root / "small.toml").write_text(RECIPE[:begin] + SOURCES + RECIPE[end:])
    return root / "small.toml"


def test_every_architecture_is_trained_once_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_folders(tmp_path / "data")
    given = [
        *("--data", str(recipe.parent), "--recipe", str(recipe), "--seconds", "0"),
        *("--batch", "8", "--repeats", "1"),
        *("--work", str(tmp_path / "work"), "--out", str(tmp_path)),
    ]
    monkeypatch.setattr(architectures, "TRIPLETS", 40)
    monkeypatch.setattr(architectures, "TIMED", (1, 2))
    monkeypatch.setattr(architectures, "ROUNDS", 1)
    architectures.main(given)
    first: dict[str, Any] = json.loads((tmp_path / "copies-architectures.json").read_text())
    assert first["sources"] == ["photographs", "classes"]
    assert [arm["architecture"] for arm in first["arms"]] == ["orthogonal", "lipnext", "bronet"]
    for arm in first["arms"]:
        assert (arm["steps"], arm["pictures"]) == (2, 16)
        assert 0 <= arm["classes"] <= 1
        assert arm["images"]["32"] > 0
        for shares in (*arm["found"].values(), *arm["hard"].values()):
            assert shares == sorted(shares, reverse=True)
            assert 0 <= shares[-1] <= shares[0] <= 1
    assert len({arm["length"] for arm in first["arms"]}) == 3
    page = (tmp_path / "copies-architectures.md").read_text()
    assert page.count("\n| ") == 2 + 3

    def again(*_: Any, **__: Any) -> None:
        pytest.fail("trained again, or timed again")

    monkeypatch.setattr(import_module("percert.training.engine.run"), "_step", again)
    architectures.main(given)
    second = json.loads((tmp_path / "copies-architectures.json").read_text())
    for before, after in zip(first["arms"], second["arms"], strict=True):
        assert {**before, "images": {}} == {**after, "images": {}}


def test_the_table_says_under_each_heading_what_was_measured() -> None:
    arm = architectures.TrainedArchitecture(
        "bronet", 1_234_567, 52, 4992, 500.0,
        {"0.001": [0.91, 0.82, 0.73, 0.64], "1e-06": [0.4, 0.3, 0.2, 0.1]},
        {"0.001": [0.55, 0.46, 0.37, 0.28], "1e-06": [0.05, 0.04, 0.03, 0.02]},
        0.5678, 12.34, {"1": 67.0, "32": 289.0},
    )  # fmt: skip
    result = architectures.Architectures(
        "architectures", "mine", ["a", "b"], 96, 150.0, 4e-3, 7_000, 40, [arm], conditions(0)
    )
    lines = [line for line in architectures.report(result).splitlines() if line.startswith("|")]
    header, _, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert dict(zip(header, row, strict=True)) == {
        "layers": "BRONet's: block reflectors",
        "parameters": "1,234,567",
        "steps": "52",
        "pictures trained on a second": "192",
        "found at 1e-3": "0.910",
        "certified l2 = 4": "0.820",
        "16": "0.730",
        "32": "0.640",
        "hard edits at 1e-3": "0.550",
        "classes": "56.8 %",
        "length": "12.3",
        "embedded a second, batch 1": "67",
        "batch 32": "289",
    }
