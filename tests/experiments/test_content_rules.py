"""Rules of what a picture must hold: fitted and judged against sums by hand."""

import json
from pathlib import Path

import pytest
import torch

from experiments.conditions import Conditions, conditions
from experiments.copies import content_rules
from experiments.copies.content_rules import ContentRule, ContentRules, fitted, held, judge
from percert import create_metric
from percert.certify.features import embed


def along(*axes, length=1.0):
    """A picture whose whole and quarters lie along these axes of six."""
    rows = torch.zeros(5, 6)
    rows[:, list(axes)] = length
    return rows


def test_a_rule_is_fitted_to_directions_and_above_every_picture(monkeypatch):
    drawn = {"a": torch.stack([along(0, length=5.0), along(0, 1)]), "b": along(2, length=3.0)[None]}
    monkeypatch.setattr(content_rules, "FROM", {"pages": ("a",), "all kinds": ("a", "b")})
    axes, least = fitted(ContentRule("pages", 1, "pages"), drawn)
    # The first direction leans a little towards what the second picture has besides.
    assert axes[0].abs().tolist() == pytest.approx([0.999, 0.04, 0, 0, 0, 0], abs=5e-3)
    assert least == pytest.approx(0.96, abs=0.01)
    _, least = fitted(ContentRule("all kinds", 2, "all kinds"), drawn)
    assert least == pytest.approx(0.96, abs=0.01)
    _, least = fitted(ContentRule("pages", 1, "all kinds"), drawn)
    assert least == pytest.approx(3)


def test_the_emptiest_quarter_counts():
    picture = along(0, length=4.0)
    picture[3] = 0.5 * picture[3]
    axes = torch.tensor([[0.0, 1.0, 0, 0, 0, 0]])
    assert held(picture[None], axes, "whole").tolist() == [4]
    assert held(picture[None], axes, "quarters").tolist() == [2]


def test_pairs_that_are_near_and_hold_enough_are_counted():
    pictures = torch.stack([along(1, length=3.0), along(1, length=4.0), along(1), along(2)])
    axes = torch.tensor([[1.0, 0, 0, 0, 0, 0]])
    photographs = {"p": torch.stack([along(0, length=9.0), along(0, 3, length=2.0)])}
    found = judge("mine", axes, 1.5, "whole", 0.3, {"kind": pictures}, photographs)
    assert found.certified == {"kind": pytest.approx(1 / 6)}
    assert found.lost == {"p": pytest.approx(1 / 2)}
    nothing = judge("mine", axes, 0.0, "whole", 0.3, {"kind": pictures}, photographs)
    assert nothing.certified == {"kind": pytest.approx(3 / 6)}


def test_parts_are_embedded_as_the_metric_does():
    metric = create_metric("thumbnail-8", device="cpu")
    image = torch.rand(1, 3, 41, 32)
    found = content_rules.embedded(metric, [image])
    assert found.shape == (1, 5, 192)
    parts = [image, image[..., :20, :16], image[..., :20, 16:]]
    parts += [image[..., 20:, :16], image[..., 20:, 16:]]
    for part, row in zip(parts, found[0], strict=True):
        expected = embed(metric, part)
        assert row.double().tolist() == pytest.approx(
            (expected.h[0] * expected.bound.value).tolist(), abs=1e-5
        )


def test_each_number_stands_under_its_heading():
    kinds = dict.fromkeys(content_rules.KINDS, 0.0) | {"tables": 0.125, "forms": 0.25}
    one = content_rules.Judged("mine", 4.5, kinds, {"ours": 0.0625})
    page = content_rules.report(
        ContentRules("content-rules", "m", 0.5, {"ours": 16}, [one], conditions(0))
    )
    assert "| rule | least | forms | tables | undecided, ours |" in page
    assert "| mine | 4.50 | 0.250 | 0.125 | 0.0625 |" in page


def test_the_published_page_is_of_what_was_measured():
    path = Path(__file__).resolve().parents[2] / "docs" / "results" / "content-rules.json"
    found = json.loads(path.read_text("utf-8"))
    found["rules"] = [content_rules.Judged(**one) for one in found["rules"]]
    result = ContentRules(**found | {"conditions": Conditions(**found["conditions"])})
    assert path.with_suffix(".md").read_text("utf-8") == content_rules.report(result)
