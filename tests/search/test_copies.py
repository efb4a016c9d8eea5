"""Copies: complete against the full matrix, and never broken from inside a radius."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from percert import create_metric
from percert.audit.attacks import ascend
from percert.certify import OwnThreshold, copies_of_features, distance_of_features
from percert.metrics.certified.embedding import cosine_distance
from percert.search import open_store
from percert.search.query.distances import EmbeddingSpec
from percert.search.query.overtaking import stored_features
from percert.search.query.range_search import copies_within

from .memory_blocks import awkward, full_matrix, in_blocks, query_features, unit

CASES = {
    "seed": st.integers(0, 10**6),
    "k": st.sampled_from([2, 12]),
    "c": st.sampled_from([0.0, 1.0]),
    "threshold": st.sampled_from([0.0, 0.05, 0.5, 1.2, 2.0]),
    "eps": st.sampled_from([0.0, 0.1, 3.0, 1e4]),
}


@settings(max_examples=10)
@given(**CASES)
def test_equals_the_certificate_of_every_pair(
    seed: int, k: int, c: float, threshold: float, eps: float
) -> None:
    h = awkward(seed, 40, k)
    q = torch.cat([awkward(seed + 1, 2, k), h[:2]])
    queries = query_features(q, c)
    for query, found in zip(
        queries,
        copies_within(
            in_blocks(h), {"whole": queries}, OwnThreshold(threshold, 0.0), eps, EmbeddingSpec(c)
        ),
        strict=True,
    ):
        rows = stored_features(h, c, 1e-5)
        interval = distance_of_features(query, rows, eps, perturbed="reference")
        certificate = copies_of_features(query, rows, threshold, perturbed="reference")
        by_image = {one.item.image: one for one in found}
        upright = (unit(h, c).norm(dim=1) > 0.5) & (unit(query.h * 0.5, c).norm() > 0.5)
        for row in range(len(h)):
            if not upright[row]:
                continue
            assert (row in by_image) == bool(interval.lower[row] <= threshold)
            if row in by_image:
                one = by_image[row]
                assert one.copy == bool(certificate.decision[row])
                assert one.item.radius == pytest.approx(float(certificate.radius[row]), rel=1e-9)
                assert one.certain == (one.copy and one.item.radius > eps)


@settings(max_examples=10)
@given(**CASES, views=st.sampled_from([1, 3]))
def test_no_move_brings_in_what_is_not_listed_or_drops_what_is_certain(
    seed: int, k: int, c: float, threshold: float, eps: float, views: int
) -> None:
    h = awkward(seed, 20 * views, k)
    q = awkward(seed + 1, 2, k)
    generator = torch.Generator().manual_seed(seed)
    found = copies_within(
        in_blocks(h, views=views),
        {"whole": query_features(q, c)},
        OwnThreshold(threshold, 0.0),
        eps,
        EmbeddingSpec(c, 1e-5, views),
    )
    for query, of_one in zip(q.double(), found, strict=True):
        aims = torch.cat([unit(h, c)[:, :k], -unit(h, c)[:, :k]])
        to = torch.cat([aims * query.norm() - query, torch.randn(20, k, generator=generator)])
        to = to / to.norm(dim=1, keepdim=True).clamp_min(1e-30)
        moved = torch.cat([query[None], query + 0.5 * eps * 0.999 * to])
        by_image = full_matrix(moved, h, c).view(len(moved), -1, views).amin(2)
        listed = torch.zeros(by_image.shape[1], dtype=torch.bool)
        listed[[one.item.image for one in of_one]] = True
        assert (by_image[:, ~listed] > threshold - 1e-12).all()
        for one in of_one:
            distance = by_image[:, one.item.image]
            assert (distance >= one.item.lower - 1e-12).all()
            assert (distance <= one.item.upper + 1e-12).all()
            if one.certain:
                assert (distance <= threshold + 1e-12).all()
            if 0 < one.item.radius < math.inf:
                inside = query + 0.5 * 0.999 * one.item.radius * to
                now = full_matrix(inside, h, c).view(len(inside), -1, views).amin(2)
                assert ((now[:, one.item.image] <= threshold) == one.copy).all()


def test_views_match_crops_and_mirror_images_and_keep_their_certificates(tmp_path: object) -> None:
    """A gradient attack on the query, with pixels in [0, 1], against every stored view at once."""
    metric = create_metric("thumbnail", device="cpu")
    photographs = torch.rand(12, 3, 6, 6).repeat_interleave(5, 2).repeat_interleave(5, 3)
    views = ("whole", "centre-80", "top-left-80", "mirror-whole", "mirror-top-left-80")
    store = open_store(f"{tmp_path}/views", metric, views=views)
    plain = open_store(f"{tmp_path}/plain", metric)
    for one in (store, plain):
        one.add(photographs, ids=[f"{at}" for at in range(12)])
    # A mirrored crop of 80 % of the sides, at the top left.
    queries = photographs[:4, :, :24, :24].flip(-1)
    threshold = 0.05
    answers = store.copies(queries, threshold, eps=0.2)
    assert not any(answer.results for answer in plain.copies(queries, threshold))
    h = torch.cat([block.embeddings for block in store.blocks()]).double().view(12, -1, 192)
    for at, (query, answer) in enumerate(zip(queries, answers, strict=True)):
        (match,) = answer.certain
        assert match.id == f"{at}"
        assert match.radius > 0.2
        (stored_at,) = [
            row
            for row, name in enumerate(name for block in store.blocks() for name in block.ids)
            if name == match.id
        ]

        def away(x: Tensor, stored_at: int = stored_at) -> Tensor:
            return cosine_distance(metric.embed(x).double(), h[stored_at]).amin()[None]

        moved = ascend(
            away,
            query[None],
            torch.tensor([0.999 * match.radius]),
            steps=20,
            generator=torch.Generator().manual_seed(at),
        )
        (now,) = store.copies(moved, threshold)
        assert match.id in {one.id for one in now.results if one.distance <= threshold}


def test_refuses_impossible_thresholds_and_budgets(tmp_path: Path) -> None:
    h = torch.randn(3, 4)
    asked = {"whole": query_features(h)}
    with pytest.raises(ValueError, match="eps: expected a finite number"):
        copies_within(in_blocks(h), asked, OwnThreshold(0.1), -1.0)
    store = open_store(tmp_path / "store", create_metric("thumbnail", device="cpu"))
    for threshold in (-0.1, 2.1, math.nan):
        with pytest.raises(ValueError, match=r"threshold: expected a number in \[0, 2\]"):
            store.copies(torch.rand(1, 3, 8, 8), threshold)
    with pytest.raises(ValueError, match="wrong: expected a rate between 0 and 1"):
        store.copies(torch.rand(1, 3, 8, 8), wrong=1.0)
    with pytest.raises(ValueError, match="expected a rate or a threshold, found both"):
        store.rule(0.1, wrong=0.1)
