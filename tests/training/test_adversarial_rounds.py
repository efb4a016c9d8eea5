"""Algorithm 2: a slow twin, attacks in closed form, kills at every kind of place."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("pyarrow")

from tests.training.shards_world import Brightness, Shift, bright_and_dark

import percert.training.dro.rounds as rounds
from percert.attacks import parse_attack
from percert.models.small_resnet import small_resnet
from percert.training.dro import RoundSettings, make_adversarial_dataset
from percert.training.dro.dataset import open_dataset
from percert.training.dro.shards import list_shards

SETTINGS = RoundSettings(rounds=2, batch=4, shard=8, seed=5)


def small(seed=0):
    torch.manual_seed(seed)
    return small_resnet(classes=2, width=4)


def pixels_of(dataset):
    return torch.from_numpy(dataset.read(np.arange(len(dataset)))).float() / 255


def test_rounds_weights_and_sources_are_as_printed(tmp_path):
    images = bright_and_dark(10)
    for scheme, unit in (("literal", 1), ("normalised", 10)):
        # Steps of length 0: with literal weights others would not stay finite.
        settings = replace(SETTINGS, weights=scheme, learning_rate=0.0)
        dataset, tallies = make_adversarial_dataset(
            Brightness(), images, Shift(), tmp_path / scheme, settings
        )
        facts = dataset.facts
        assert facts.round.tolist() == [0] * 10 + [1] * 10 + [2] * 10
        assert facts.position.tolist() == [*range(1, 11)] * 3
        grown = np.array([(k - 1) * 10 + i for k in (1, 2) for i in range(1, 11)])
        assert np.allclose(facts.weight, np.concatenate([np.ones(10), grown / unit]))
        assert np.array_equal(facts.label, images.labels[facts.source])
        assert [tally.images for tally in tallies] == [10, 10]
        assert np.array_equal(dataset.read(np.arange(10)), images.read(np.arange(10)))


def test_the_attack_meets_the_model_as_it_is_then(tmp_path):
    """The slow twin: step by step, over what D says was drawn."""
    images = bright_and_dark(20)
    attack = parse_attack("pgd:norm=linf,eps=0.3,steps=2,random_start=false")[1]
    settings = replace(SETTINGS, rounds=1, momentum=0.5)
    model, twin = small(), small()
    dataset, _ = make_adversarial_dataset(model, images, attack, tmp_path, settings)
    from percert.attacks import Untargeted

    found, facts = pixels_of(dataset), dataset.facts
    optimiser = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.5, weight_decay=5e-4)
    # In round 1 what was drawn are clean images, all of weight 1, so all steps weigh 1. Batches of
    # 4 within shards of 8.
    for start in range(20, 40, 4):
        rows = slice(start, start + 4)
        drawn = found[facts.source[rows]]
        labels = torch.from_numpy(facts.label[rows])
        optimiser.zero_grad()
        F.cross_entropy(twin(drawn), labels).backward()
        optimiser.step()
        wrong = twin(drawn).argmax(1) != labels
        assert facts.wrong[rows].tolist() == wrong.tolist()
        moved = attack(twin, drawn, Untargeted(labels))
        moved = torch.where(wrong.view(-1, 1, 1, 1), drawn, (moved * 255).round() / 255)
        assert (found[rows] - moved).abs().max() < 1.01 / 255
        success = (twin(found[rows]).argmax(1) != labels) & ~wrong
        assert facts.success[rows].tolist() == success.tolist()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_wrong_images_are_appended_as_they_are(tmp_path):
    images = bright_and_dark(12)
    model = Brightness(threshold=0.99)  # nothing is bright: every second image is wrong
    settings = replace(SETTINGS, rounds=1, learning_rate=0.0)
    attack = Shift(by=0.9)
    dataset, (tally,) = make_adversarial_dataset(model, images, attack, tmp_path / "a", settings)
    facts, pixels = dataset.facts, pixels_of(dataset)
    new = facts.round == 1
    assert np.array_equal(facts.wrong[new], facts.label[new] == 1)
    assert torch.equal(pixels[new & facts.wrong], pixels[facts.source[new & facts.wrong]])
    assert tally.attacked == attack.attacked == (new & ~facts.wrong).sum()
    assert tally.wrong + tally.attacked == 12
    assert (facts.cost[new & facts.wrong] == 0).all()
    again = Shift(by=0.9)
    make_adversarial_dataset(
        model, images, again, tmp_path / "b", replace(settings, attack_wrong=True)
    )
    assert again.attacked == 12


def test_clean_origins_do_not_add_up(tmp_path):
    images = bright_and_dark(16)
    reach = {}
    for origin in ("drawn", "clean"):
        settings = replace(SETTINGS, rounds=4, origin=origin, learning_rate=0.0)
        # Too little to succeed: what is drawn again is attacked again.
        dataset, _ = make_adversarial_dataset(
            Brightness(), images, Shift(by=0.04), tmp_path / origin, settings
        )
        pixels = pixels_of(dataset)
        reach[origin] = (pixels - pixels[dataset.facts.source]).abs().max().item()
    assert reach["clean"] < 0.04 + 1 / 255
    assert reach["drawn"] > 0.07


class Killed(Exception):
    pass


def run(folder, *, attack, settings, progress=None):
    model = small()
    dataset, _ = make_adversarial_dataset(
        model, bright_and_dark(20), attack, folder, settings, progress=progress
    )
    return model, [(s.number, s.digest) for s in dataset.shards], dataset


@pytest.mark.parametrize("clusters", [0.0, 3.0])
@pytest.mark.parametrize("when", ["in a shard", "before the state", "between rounds"])
def test_killed_and_resumed_is_uninterrupted_to_the_bit(tmp_path, monkeypatch, when, clusters):
    settings = replace(SETTINGS, cluster_size=clusters, momentum=0.9)
    attack = parse_attack("pgd:norm=linf,eps=0.2,steps=2")[1]  # random starts
    whole, shards, _ = run(tmp_path / "whole", attack=attack, settings=settings)
    calls = {"in a shard": 4, "before the state": 3, "between rounds": 4}[when]
    seen = []

    def progress(number, done, total, tally):
        seen.append((number, done))
        if when == "in a shard" and len(seen) == calls:
            raise Killed

    save = rounds.State.save
    saves = []

    def failing(self, path, model, optimiser):
        saves.append(self)
        if when != "in a shard" and len(saves) == calls:
            raise Killed
        save(self, path, model, optimiser)

    monkeypatch.setattr(rounds.State, "save", failing)
    with pytest.raises(Killed):
        run(tmp_path / "killed", attack=attack, settings=settings, progress=progress)
    monkeypatch.setattr(rounds.State, "save", save)
    assert len(open_dataset(tmp_path / "killed")) < 60
    resumed, again, dataset = run(tmp_path / "killed", attack=attack, settings=settings)
    assert again == shards
    for mine, theirs in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert list((tmp_path / "killed").rglob("*.part")) == []
    # Once more: there is nothing left to do, and nothing is done.
    before = list_shards(tmp_path / "killed" / "shards")
    run(tmp_path / "killed", attack=attack, settings=settings)
    assert list_shards(tmp_path / "killed" / "shards") == before
    assert len(dataset) == 60


def test_it_can_be_read_while_it_is_made(tmp_path):
    sizes = []

    def progress(number, done, total, tally):
        sizes.append(len(open_dataset(tmp_path)))

    run(tmp_path, attack=Shift(), settings=SETTINGS, progress=progress)
    assert sizes == sorted(sizes)
    assert set(sizes) >= {20, 28, 36, 40, 48, 56}  # clean, then shard by shard


def test_the_clean_set_alone_weighs_one(tmp_path):
    model = small()
    before = [value.clone() for value in model.parameters()]
    dataset, tallies = make_adversarial_dataset(
        model, bright_and_dark(20), Shift(), tmp_path, replace(SETTINGS, rounds=0)
    )
    assert len(dataset) == 20
    assert tallies == []
    assert (dataset.facts.weight == 1).all()
    assert all(map(torch.equal, before, model.parameters()))


def test_literal_weights_are_told_apart_when_they_diverge(tmp_path):
    settings = replace(SETTINGS, rounds=3, weights="literal", learning_rate=1e30)
    with pytest.raises(ValueError, match=r"round \d: the loss is .*normalised keeps steps short"):
        make_adversarial_dataset(small(), bright_and_dark(40), Shift(), tmp_path, settings)


def test_other_settings_do_not_go_on_in_the_same_folder(tmp_path):
    run(tmp_path, attack=Shift(), settings=replace(SETTINGS, rounds=0))
    with pytest.raises(ValueError, match="holds a data set with rounds 0, this one has 1"):
        run(tmp_path, attack=Shift(), settings=replace(SETTINGS, rounds=1))


@pytest.mark.parametrize("wrong", [{"rounds": -1}, {"batch": 0}, {"cluster_size": 0.5}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        RoundSettings(**wrong)
