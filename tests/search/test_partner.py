"""A collection's partner: what it finds against the full matrix, its rule, and apart from proof."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from percert.images import load_image, save_image
from percert.metrics.certified.lipsim import Thumbnail
from percert.metrics.descriptor import create_descriptor, descriptor_of
from percert.search import open_store
from percert.search.partner.rule import fit_rule, rule_of
from percert.search.partner.table import open_partner, read_background, read_rows, refit

from .conftest import SIZES, smooth_image


@pytest.fixture
def partner():
    return descriptor_of(Thumbnail(16), "thumbnail-16")


@pytest.fixture
def strangers(tmp_path):
    folder = tmp_path / "strangers"
    folder.mkdir()
    for seed in range(220):
        save_image(smooth_image(1000 + seed), folder / f"{seed}.png")
    return folder


@pytest.fixture
def store(photos, tmp_path, partner, strangers):
    opened = open_store(tmp_path / "store", Thumbnail(8), partner=partner)
    opened.add_files([photos])
    opened.partner.set(partner, [strangers])
    assert opened.partner.fill().added == 8
    return opened


def matrix(partner, photos, queries):
    """All distances by hand, in float64."""
    asked = torch.cat([partner.embed(one[None]) for one in queries]).double()
    stored = [load_image(photos / f"{k}.png") for k in range(8)]
    held = torch.cat([partner.embed(one[None]) for one in stored]).double()
    return 1 - asked @ held.T


def test_copies_are_those_within_their_own_thresholds(store, photos, partner, strangers):
    queries = [smooth_image(seed, SIZES[seed % 4]) for seed in (0, 5)]
    queries += [F.pad(queries[0], (4, 4, 3, 3)), smooth_image(77)]
    distances = matrix(partner, photos, queries)
    rule = store.partner.known.rule
    background = fit_rule(
        torch.cat([partner.embed(load_image(one)[None]) for one in sorted(strangers.iterdir())]),
        "again",
    )[1]
    stored = [load_image(photos / f"{k}.png") for k in range(8)]
    held = torch.cat([partner.embed(one[None]) for one in stored])
    likeness = (held @ background.T).amax(1)
    wrong = 0.9
    limits = 1 - rule.level(0.95 * wrong / 8) - rule.weight * likeness.double()
    assert rule.weight > 0
    assert likeness.std() > 0.01
    answers = store.copies(queries, 0.05, wrong=wrong)
    for query, answer in enumerate(answers):
        assert answer.partner.wrong == pytest.approx(0.95 * wrong)
        expected = {k for k in range(8) if distances[query, k] <= limits[k]}
        found = {match.path.rsplit("/", 1)[1][:-4]: match for match in answer.partner.results}
        assert {int(name) for name in found} == expected
        assert [one.distance for one in answer.partner.results] == sorted(
            one.distance for one in answer.partner.results
        )
        for name, match in found.items():
            assert match.distance == pytest.approx(float(distances[query, int(name)]), abs=2e-3)
            assert match.threshold == pytest.approx(float(limits[int(name)]), abs=2e-3)
            assert match.copy
    assert [bool(one.partner.results) for one in answers[:3]] == [True] * 3
    assert len(answers[3].partner.results) < 8


def test_the_verdict_is_of_both_and_proof_comes_first(store):
    known, stranger = smooth_image(0, SIZES[0]), 1 - smooth_image(3, (33, 21))
    certain, nothing = store.copies([known, stranger], 0.05, 0.01, wrong=1e-3)
    assert certain.verdict == "certain"
    assert certain.results[0].certain
    assert nothing.verdict == "nothing"
    assert not nothing.results
    assert not nothing.partner.results
    # Everything is a copy for a partner that may be wrong each time: no word on what is proven.
    loose = replace(store.partner.known.rule, points=((1.0, -1.0), (1e-9, -1.0)), scale=1e-9)
    changed = replace(store.partner.known, rule=loose)
    table = open_partner(store.path)
    refit(store.path, table, changed, read_background(table))
    again, found = store.copies([known, stranger], 0.05, 0.01, wrong=1e-3)
    assert again.results == certain.results
    assert again.verdict == "certain"
    assert found.verdict == "found"
    assert not found.certain
    assert not found.results
    # Without its partner the store says what it said.
    alone = open_store(store.path, Thumbnail(8), partner=False)
    (answer,) = alone.copies([stranger], 0.05, 0.01)
    assert answer.partner is None
    assert "partner" not in answer.to_json()
    assert answer.verdict == "nothing"


def test_nearest_by_the_partner_are_those_of_the_matrix(store, photos, partner):
    query = smooth_image(40)
    (answer,) = store.search([query], k=3)
    distances = matrix(partner, photos, [query])[0]
    expected = distances.argsort()[:3].tolist()
    assert [int(one.path.rsplit("/", 1)[1][:-4]) for one in answer.partner.results] == expected


def test_duplicates_are_the_pairs_of_the_matrix(store, photos, tmp_path, partner):
    save_image(F.pad(smooth_image(2, SIZES[2]), (2, 2, 1, 1)), photos / "8.png")
    store.add_files([photos])
    assert store.partner.fill().added == 1
    found = store.duplicates(0.001, wrong=0.5)
    assert found.partner == "thumbnail-16"
    stored = [load_image(photos / f"{k}.png") for k in range(9)]
    held = torch.cat([partner.embed(one[None]) for one in stored]).double()
    rows = read_rows(open_partner(store.path))
    limit = dict(zip(rows.ids, store.partner.thresholds(0.475).tolist(), strict=True))
    of_id = {store.find_path(photos / f"{k}.png"): k for k in range(9)}
    wide = torch.tensor([limit[id] for id, _ in sorted(of_id.items(), key=lambda one: one[1])])
    distances = 1 - held @ held.T
    expected = {
        (a, b)
        for a in range(9)
        for b in range(a + 1, 9)
        if distances[a, b] <= max(wide[a], wide[b])
    }
    pairs = {tuple(sorted((of_id[one.first], of_id[one.second]))) for one in found.partner_links}
    assert pairs == expected
    assert (2, 8) in pairs


def test_nobody_who_adds_moves_the_thresholds_of_others(store, photos, strangers):
    ids = list(store.partner.rows().ids)
    before = dict(zip(ids, store.partner.thresholds(8e-4).tolist(), strict=True))
    for seed in range(40):  # pictures like those that are there, and like everything
        save_image(smooth_image(seed % 8, SIZES[seed % 4]) * 0.99, photos / f"more-{seed}.png")
    store.add_files([photos])
    store.partner.fill()
    rows = store.partner.rows()
    # The rate of a pair is that of a query over what is stored; asked at the same rate of a pair
    # each image has the threshold that it had.
    after = dict(
        zip(rows.ids, store.partner.thresholds(1e-4 * len(rows.ids)).tolist(), strict=True)
    )
    assert {id: after[id] for id in before} == before
    now, was = store.partner.set(store.partner.descriptor(), sorted(strangers.iterdir())[:205])
    assert was is not None
    assert was != now.rule
    assert store.partner.known == now


def test_rows_go_with_their_images_and_come_with_new_ones(store, photos):
    gone = store.find_path(photos / "3.png")
    store.remove([gone])
    assert gone not in read_rows(open_partner(store.path)).ids
    store.add(torch.rand(2, 3, 20, 20), ["a", "b"])
    assert set(read_rows(open_partner(store.path)).ids) >= {"a", "b"}
    assert len(store.partner.rows().ids) == store.count == 9
    (photos / "1.png").unlink()
    store.prune([photos])
    assert len(read_rows(open_partner(store.path)).ids) == store.count == 8


def test_files_that_changed_leave_their_image_without_a_row(photos, tmp_path, partner, strangers):
    store = open_store(tmp_path / "later", Thumbnail(8), partner=partner)
    store.add_files([photos])
    save_image(smooth_image(99), photos / "4.png")
    (photos / "5.png").unlink()
    store.partner.set(partner, [strangers])
    filled = store.partner.fill()
    assert filled.added == 6
    assert {(path.rsplit("/", 1)[1], why.split(" ")[0]) for path, why in filled.bad} == {
        ("4.png", "its"),
        ("5.png", "no"),
    }
    (answer,) = store.copies([smooth_image(0, SIZES[0])], 0.05)
    assert answer.partner.compared == 6
    assert answer.partner.without == 2


def test_another_partner_or_other_weights_are_refused(store, partner, photos):
    other = create_descriptor("thumbnail-8", "cpu")
    with pytest.raises(ValueError, match=r"its partner is thumbnail-16 with .* found thumb"):
        store.partner.set(other)
    opened = open_store(store.path, Thumbnail(8), partner=other)
    with pytest.raises(ValueError, match="its partner is thumbnail-16"):
        opened.copies([smooth_image(0)], 0.1)
    # By its name it is found without being given.
    plain = open_store(store.path, Thumbnail(8))
    assert plain.copies([smooth_image(0, SIZES[0])], 0.1)[0].partner.metric == "thumbnail-16"


def test_a_partner_without_a_rule_wants_strangers(photos, tmp_path, partner):
    store = open_store(tmp_path / "none", Thumbnail(8))
    with pytest.raises(ValueError, match="thumbnail-16: percert has no rule for these weights"):
        store.partner.set(partner)
    with pytest.raises(ValueError, match="strangers: expected at least 200 pictures, found 8"):
        store.partner.set(partner, [photos])
    assert store.partner.id is None
    assert store.duplicates(0.1).partner is None


def test_levels_are_quantiles_and_the_tail_is_exponential():
    generator = torch.Generator().manual_seed(0)
    # A tail known in closed form: exp(-score / 0.05) of pairs score more.
    scores = -0.05 * torch.rand(300_000, generator=generator, dtype=torch.float64).log()
    rule = rule_of(scores, 0.0, "exponential")
    for rate in (1e-2, 1e-3, 1e-4):
        assert rule.level(rate) == pytest.approx(-0.05 * math.log(rate), rel=0.05)
    for rate in (1e-6, 1e-8):  # never counted
        assert rule.counted > rate
        assert rule.level(rate) == pytest.approx(-0.05 * math.log(rate), rel=0.15)
    for rate in (3e-2, 2e-4, 1e-7):
        assert rule.rate(rule.level(rate)) == pytest.approx(rate, rel=1e-6)
    counted = np.sort(scores.numpy())[::-1]
    assert rule.points[-1][1] == counted[9]  # ten observed pairs
    with pytest.raises(ValueError, match="rate: expected more than 0"):
        rule.level(0.0)
