"""Clusters within classes, and centres' perturbations tried before any attack."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from tests.attacks.closed_form import Linear, near_boundary
from tests.training.shards_world import Brightness, Shift, bright_and_dark

from percert.attacks import Untargeted
from percert.training.dro import RoundSettings, make_adversarial_dataset
from percert.training.dro.attack import (
    AttackTally,
    attack_batch,
    cluster_images,
    embedding_of,
    try_changes,
)


def test_clumps_are_found_and_centres_are_nearest_to_their_means():
    generator = np.random.default_rng(0)
    clump = np.repeat(np.arange(8), 5)
    values = 10.0 * clump[:, None] + generator.normal(0, 0.3, (40, 3))
    labels = clump % 2
    order = generator.permutation(40)
    values, labels, clump = values[order], labels[order], clump[order]
    found = cluster_images(lambda rows: values[rows], labels, size=5, seed=1)
    assert len(found) == 8
    for number, centre in enumerate(found.centre):
        inside = np.flatnonzero(found.member == number)
        assert len(set(clump[inside])) == 1  # a clump, whole
        assert len(inside) == 5
        away = ((values[inside] - values[inside].mean(0)) ** 2).sum(1)
        assert centre == inside[away.argmin()]


def test_clusters_never_cross_classes_even_where_images_are_equal():
    labels = np.repeat([0, 1, 2], [7, 1, 12])
    found = cluster_images(lambda rows: np.zeros((len(rows), 2)), labels, size=5)
    assert {label: len({*found.member[labels == label]}) for label in range(3)} == {
        0: 1,
        1: 1,
        2: 1,
    }
    assert (found.member[found.centre] == np.arange(len(found))).all()
    assert (labels[found.centre][found.member] == labels).all()
    with pytest.raises(ValueError, match="cluster size"):
        cluster_images(lambda rows: np.zeros((len(rows), 2)), labels, size=0.5)


def test_a_linear_model_says_which_changes_carry_over():
    """All images lie 0.1 from their nearest boundary: the shortest way across is known."""
    model = Linear(classes=2)
    images = near_boundary(model, 12, gap=0.3)
    labels = model(images).argmax(1)
    apart = (model.weight[1] - model.weight[0]).view(1, 3, 8, 8).float()
    unit = apart / apart.norm()
    towards = torch.where(labels == 0, 1.0, -1.0).view(-1, 1, 1, 1)
    # One change for all: enough for class 0, away from the boundary for class 1.
    change = (0.5 * unit).expand(12, -1, -1, -1)
    moved, reached = try_changes(model, images, change, Untargeted(labels))
    assert torch.equal(reached, labels == 0)
    assert torch.allclose(moved, images + change, atol=0.51 / 255)
    _, reached = try_changes(model, images, 0.5 * unit * towards, Untargeted(labels))
    assert reached.all()
    # Too short, and no change at all on an image that is wrong already.
    assert not try_changes(model, images, 0.1 * unit * towards, Untargeted(labels))[1].any()
    on_grid = (images * 255).round() / 255
    assert not try_changes(model, on_grid, 0 * change, Untargeted(1 - labels))[1].any()


def test_only_where_the_centres_change_fails_is_an_image_attacked():
    model = Brightness(0.5)
    images = torch.cat([torch.full((3, 3, 12, 12), 0.2), torch.full((1, 3, 12, 12), 0.8)])
    labels = torch.tensor([0, 0, 1, 1])  # the third is wrong already
    change = torch.zeros(4, 3, 12, 12)
    change[0] += 0.4  # succeeds
    change[1] += 0.2  # fails
    there = torch.tensor([True, True, True, False])
    attack, tally = Shift(by=0.5), AttackTally(1)
    found = attack_batch(
        attack,
        model,
        images,
        labels,
        seeds=torch.zeros(4, dtype=torch.int64),
        tally=tally,
        change=(change, there),
    )
    assert found.spared.tolist() == [True, False, False, False]
    assert found.wrong.tolist() == [False, False, True, False]
    assert found.success.tolist() == [True, True, False, True]
    means = found.images.mean((1, 2, 3))
    assert torch.allclose(means, torch.tensor([0.6, 0.7, 0.2, 0.3]), atol=1 / 255)
    assert attack.attacked == tally.attacked == 2
    assert (tally.wrong, tally.spared, tally.succeeded, tally.images) == (1, 1, 3, 4)
    assert model.threshold.requires_grad  # as it was


def test_the_confidence_of_the_attack_is_asked_of_centres_too():
    class Demanding(Shift):
        confidence = 3.0

    model = Brightness(0.5)
    images, labels = torch.full((1, 3, 12, 12), 0.2), torch.tensor([0])
    for change, spared in ((0.35, False), (0.5, True)):  # margins 1 and 4
        found = attack_batch(
            Demanding(),
            model,
            images,
            labels,
            seeds=torch.zeros(1, dtype=torch.int64),
            tally=AttackTally(1),
            change=(torch.full_like(images, change), torch.tensor([True])),
        )
        assert found.spared.tolist() == [spared]


@pytest.mark.parametrize("by", ["pixels", "model"])
def test_with_clusters_only_centres_are_attacked_where_their_change_is_enough(tmp_path, by):
    from percert.models.small_resnet import small_resnet

    images = bright_and_dark(40)
    settings = RoundSettings(
        rounds=2, batch=8, shard=16, learning_rate=0.0, cluster_size=5, cluster_by="pixels"
    )
    attack = Shift(by=0.6)
    dataset, tallies = make_adversarial_dataset(
        Brightness(), images, attack, tmp_path / "a", settings
    )
    centres = tallies[0].centres
    assert 4 <= centres <= 12
    facts, first = dataset.facts, dataset.facts.round == 1
    # One shift does for all: nothing but the centres was attacked, once a round ("renewed").
    assert facts.spared[first].all()
    assert facts.success[first].all()
    assert tallies[0].attacked == 0
    assert attack.attacked == 2 * centres + tallies[1].attacked
    # Every image has the change of one of the centres, so its mean moved by about 0.6 at most.
    pixels = dataset.read(np.arange(len(dataset))).astype(float) / 255
    moved = (pixels[first] - pixels[facts.source[first]]).mean((1, 2, 3))
    assert (np.abs(moved) > 0.3).all()
    assert np.array_equal(np.sign(moved), np.where(facts.label[first] == 0, 1, -1))
    if by == "model":  # and by the embedding of a network
        torch.manual_seed(0)
        model = small_resnet(classes=2, width=4)
        again, _ = make_adversarial_dataset(
            model,
            images,
            Shift(by=0.6),
            tmp_path / "b",
            replace(settings, cluster_by="model", rounds=1),
        )
        assert len(again) == 80


def test_the_embedding_is_what_the_last_layer_sees():
    from percert.models.small_resnet import small_resnet

    model = small_resnet(classes=3, width=4)
    images = torch.rand(5, 3, 16, 16)
    seen = embedding_of(model)(images)
    assert torch.allclose(model.network[-1](seen), model(images), atol=1e-6)
    with pytest.raises(ValueError, match="cluster by pixels"):
        embedding_of(torch.nn.Conv2d(3, 3, 1))
