"""copies.rules on a few pictures: its tables against what is computed by hand."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.copies import attacked_rules
from experiments.copies import inside as of_inside
from experiments.copies import rivals as of_rivals
from experiments.copies import rules as experiment
from experiments.copies import sets as of_sets
from experiments.copies.attacked_rules import AttackedRules, NoCopy
from experiments.copies.proven_rules import RULES, Certified
from experiments.copies.rules import Rival, level_at
from experiments.copies.sets import ASKED, Sets
from percert import certify, create_metric
from percert.data.copy_edits import find_edit
from percert.evaluation.copies.rates import scaled
from percert.images import find_insets, save_image
from percert.metrics.certified.embedding import direction
from percert.metrics.descriptor import create_descriptor
from percert.search.ingest.views import find_view

COUNT = 6
USUAL, AUGLY = (find_edit("jpeg-30"), find_edit("crop-80-centre")), (find_edit("mirror"),)


def write(folder, count, seed):
    folder.mkdir(parents=True)
    for at in range(count):
        coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed + at))
        image = torch.nn.functional.interpolate(coarse, (48, 56), mode="bilinear")[0]
        save_image(image, folder / f"{at}.png")


@pytest.fixture
def sets(tmp_path, monkeypatch):
    write(tmp_path / "data" / "imagenet-compatible" / "images", COUNT, 0)
    more = tmp_path / "more"
    for at, part in enumerate(("imagenette-160/val", "imagenette-160/train")):
        write(more / part, 12, 100 * (at + 1))
    for at, part in enumerate(("val", "test")):
        write(more / "tiny-imagenet-64" / part, 12, 1000 * (at + 1))
    edits = {"usual": USUAL, "augly": AUGLY}
    for module in (experiment, of_sets):
        monkeypatch.setattr(module, "EDITS", edits)
    for module in (experiment, of_sets, of_rivals):
        monkeypatch.setattr(module, "HASHES", {"phash": (0, 64)})
    pytest.importorskip("imagehash", reason="a hash is set beside")
    return Sets(tmp_path / "data", more, tmp_path / "work", "thumbnail-8", "thumbnail-16")


def test_scores_and_radii_are_those_of_the_metric_itself(sets):
    of_sets.embed_all(sets)
    metric, rule = create_metric("thumbnail-8", device="cpu"), RULES[-1]
    certified = Certified(sets)
    pictures = [experiment_picture(sets, at) for at in range(COUNT)]
    edit = USUAL[1]
    scores = certified.copy_scores(rule, edit)
    level = float(np.median(scores))
    radii = certified.radii(rule, edit, level)
    for at in range(COUNT):
        copy = of_sets.of_edit(sets.paths("photographs"), edit)(at)
        best = -2.0
        for place, (a, v) in enumerate(rule.pairs()):
            view = find_view(rule.views[place])
            one, other = find_view(ASKED[a])(copy), view(pictures[at])
            cosine = 1 - metric(one, other).item()
            best = max(best, cosine - rule.weight * float(certified.likeness[at, v]))
        assert scores[at] == pytest.approx(best, abs=2e-3)
        assert (radii[at] > 0) == (best > level) or abs(best - level) < 2e-3
    # Of whole pictures, by the public certificate: the copy moves.
    whole = certified.radii(RULES[0], edit, 0.5)
    for at in range(COUNT):
        copy = of_sets.of_edit(sets.paths("photographs"), edit)(at)
        proven = certify.copies(metric, pictures[at], copy, 0.5)
        expected = float(proven.radius) if bool(proven.decision) else 0.0
        expected /= scaled(1.0, (copy.shape[2], copy.shape[3]))
        assert whole[at] == pytest.approx(expected, rel=2e-2, abs=1e-2)
    assert whole.max() > 0
    wider = certified.radii(rule, edit, level - 0.1)
    assert (wider >= radii).all()
    assert wider.max() > radii.max() > 0


def experiment_picture(sets, at):
    return of_sets.of_files(sets.paths("photographs"))(at)


def test_levels_let_at_most_their_share_pass():
    scores = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    for rate in (1e-1, 1e-2, 1e-3):
        level = level_at(scores, rate)
        assert (scores > level).mean() <= rate
        assert (scores >= level).mean() > rate - 1 / scores.size
    assert level_at(scores, 1e-9) == scores.max()


def test_a_rival_is_compared_with_its_own_original_and_all_strangers(sets):
    of_sets.embed_all(sets)
    rival = Rival(sets, "thumbnail-16")
    metric = create_metric("thumbnail-16", device="cpu")
    found = rival.copy_scores(USUAL[0])
    for at in range(COUNT):
        copy = of_sets.of_edit(sets.paths("photographs"), USUAL[0])(at)
        assert found[at] == pytest.approx(
            1 - metric(copy, experiment_picture(sets, at)).item(), abs=1e-4
        )
    assert rival.stranger_scores().shape == (12, COUNT)


def test_the_run_goes_on_and_writes_its_page(sets, tmp_path):
    options = argparse.Namespace(attacked=2, steps=3, queries=2, joint="thumbnail")
    of_sets.embed_all(sets)
    rows = experiment.measure(sets)
    for row in rows["rules"]:
        for group in ("usual", "augly"):
            certified = row[f"{group} certified"]
            assert certified == sorted(certified, reverse=True)
            assert len(certified) == 4 * (row["rate"] in (1e-3, 1e-6) and not row["partner"])
            if certified:
                assert certified[0] <= row[group]
    attacked = experiment.attacks(sets, options)
    assert {row["eps"] for row in attacked} == {0.0, 1.0, 4.0, 16.0}
    for name, by in (
        ("whole", "thumbnail-16"),
        ("standard", "thumbnail-16"),
        ("standard", "thumbnail"),
    ):
        mine = [row for row in attacked if (row["views"], row["partner by"]) == (name, by)]
        left = [row["rule"] for row in mine]
        assert left == sorted(left, reverse=True)
        assert len(left) == 4
    # The partner here has gradients: both were attacked at once as well.
    for row in attacked:
        if row["eps"]:
            assert {"partner, PGD", "either, PGD"} <= set(row)
    arguments = ["--data", str(sets.data), "--more", str(sets.more), "--work", str(sets.work)]
    arguments += ["--metric", "thumbnail-8", "--partner", "thumbnail-16", "--out", str(tmp_path)]
    experiment.main([*arguments, "--attacked", "0"])
    written = json.loads((tmp_path / "copies-rules.json").read_text())
    assert written["rules"] == rows["rules"]
    assert written["attacked"] == []
    for one in written["shares"]:
        assert one["usual by either"] >= one["usual"] or one["partner"] == 0
        assert one["usual certified"] == sorted(one["usual certified"], reverse=True)
    none = [one for one in written["shares"] if one["partner"] == 0]
    alone = [row for row in rows["rules"] if not row["partner"] and row["usual certified"]]
    assert {(one["rule"], one["rate"], one["usual"]) for one in none} <= {
        (row["rule"], row["rate"], row["usual"]) for row in alone
    }
    assert "| standard | thumbnail-16 |" in (tmp_path / "copies-rules.md").read_text()


def test_an_attack_on_both_eyes_breaks_what_one_on_either_leaves(sets):
    metric = create_metric("thumbnail-8", device="cpu")
    partner = create_descriptor("thumbnail-16", "cpu")
    # The rule sees the upper half alone, so that an attack on it leaves the partner its lower half.
    image = experiment_picture(sets, 0)
    stored = direction(metric.embed(find_view("upper")(image)))
    rule = AttackedRules(
        "upper", metric, [("upper", stored, torch.tensor([0.9]))], partner,
        partner.embed(image), 0.9,
    )  # fmt: skip
    for by in ("rule", "partner", "either"):
        assert attacked_rules._found(rule, image, 0, by)
    goals = {by: NoCopy((0,), by).scores(rule, image) for by in ("rule", "partner", "either")}
    assert goals["either"][0, 0] == max(goals["rule"][0, 0], goals["partner"][0, 0])
    left = {}
    for by in ("rule", "either"):
        moved = attacked_rules._pgd(rule, image, image, 0, 12.0, 20, 0, by)
        assert (moved - image).norm() <= 12
        left[by] = [attacked_rules._found(rule, moved, 0, who) for who in ("rule", "partner")]
    assert left["rule"] == [False, True]
    assert left["either"] == [False, False]


def test_copies_of_some_photographs_alone_are_made_where_so_asked(sets):
    few = replace(sets, edited=2)
    of_sets.embed_all(few)
    certified, rule = Certified(few), RULES[2]
    scores = certified.copy_scores(rule, USUAL[0])
    assert len(scores) == len(certified.radii(rule, USUAL[0], 0.5)) == 2
    of_sets.embed_all(sets)
    assert scores.tolist() == pytest.approx(
        Certified(sets).copy_scores(rule, USUAL[0])[:2].tolist()
    )


def test_what_is_inside_is_scored_as_a_query_of_its_own(sets):
    of_sets.embed_all(sets)
    inside = of_inside.Inside(sets)
    stored = [experiment_picture(sets, at) for at in range(COUNT)]
    larger = torch.nn.functional.interpolate(stored[2], (96, 112), mode="bilinear")
    page = torch.full((1, 3, 200, 260), 0.9)
    page[..., 40:136, 70:182] = larger
    queries = [page, torch.full((1, 3, 90, 90), 0.3)]
    rows = inside.rows("queries", queries.__getitem__, 2)
    boxes = find_insets(page[0])
    assert len(boxes) >= 1
    assert float(rows[1, 1:].abs().max()) == 0
    alone, beside = inside.best(rows, own=False)
    metric, rule = create_metric("thumbnail-8", device="cpu"), RULES[-1]
    for at, image in enumerate(stored):
        scores = [
            1
            - metric(find_view(ASKED[a])(part), find_view(rule.views[place])(image)).item()
            - rule.weight * float(inside.certified.likeness[at, v])
            for part in (page, *(one.cut(page) for one in boxes))
            for place, (a, v) in enumerate(rule.pairs())
        ]
        count = len(rule.views)
        assert alone[0, at] == pytest.approx(max(scores[:count]), abs=2e-3)
        assert beside[0, at] == pytest.approx(max(scores), abs=2e-3)
    assert int(beside[0].argmax()) == 2
    result = of_inside.measure(sets, USUAL, 3, 2)
    assert [row["rate"] for row in result["rates"]] == list(of_inside.RATES)
    assert "| 1e-06 |" in of_inside.report({"metric": "thumbnail-8", **result})
