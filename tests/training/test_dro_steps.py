"""Steps in training mode, augmented and in bfloat16, and what models are judged by."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("pyarrow")

from tests.training.shards_world import Brightness, Shift, bright_and_dark

from percert.attacks import parse_attack
from percert.models.small_resnet import small_resnet
from percert.training.dro import DROSettings, RoundSettings, make_adversarial_dataset
from percert.training.dro.accuracy import HeldOut, held_out_accuracy, share_right
from percert.training.dro.shards import clean_facts, read_facts, write_shard
from percert.training.dro.steps import augment
from percert.training.dro.train import train_group

SETTINGS = RoundSettings(rounds=1, batch=5, shard=10, seed=5)


def normed(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Dropout(dropout), nn.Linear(4 * 12 * 12, 2),
    ).eval()  # fmt: skip


def test_batch_normalisation_learns_in_steps_and_stands_still_in_attacks(tmp_path):
    images = bright_and_dark(20)
    trained, twin = normed(), normed().train()
    modes = []

    class Watching(Shift):
        def __call__(self, model, images, goal, **how):
            modes.append(trained.training)
            return super().__call__(model, images, goal, **how)

    settings = replace(SETTINGS, weight_decay=0.0, learning_rate=0.01)
    dataset, _ = make_adversarial_dataset(trained, images, Watching(), tmp_path, settings)
    optimiser = torch.optim.SGD(twin.parameters(), 0.01)
    pixels = torch.from_numpy(dataset.read(dataset.facts.source[20:])).float() / 255
    labels = torch.from_numpy(dataset.facts.label[20:])
    for start in range(0, 20, 5):  # all of weight 1 in the first round
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(
            twin(pixels[start : start + 5]), labels[start : start + 5]
        )
        loss.backward()
        optimiser.step()
    assert modes
    assert not any(modes)
    assert not trained.training
    assert trained[1].num_batches_tracked == 4
    assert torch.allclose(trained[1].running_mean, twin[1].running_mean, atol=1e-6)
    assert torch.allclose(trained[5].weight, twin[5].weight, atol=1e-6)


def test_a_run_with_dropout_and_augmentation_goes_on_to_the_bit(tmp_path):
    settings = replace(SETTINGS, augment="flip-shift", rounds=2)

    def run(folder, progress=None):
        model = normed(dropout=0.3)
        dataset, _ = make_adversarial_dataset(
            model, bright_and_dark(20), Shift(), folder, settings, progress=progress
        )
        return model.state_dict(), [shard.digest for shard in dataset.shards]

    class Killed(Exception):
        pass

    def kill(number, done, total, tally):
        if (number, done) == (2, 15):
            raise Killed

    whole, shards = run(tmp_path / "a")
    with pytest.raises(Killed):
        run(tmp_path / "b", kill)
    torch.rand(7)  # the caller's random numbers have nothing to do with it
    again, same = run(tmp_path / "b")
    assert same == shards
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_augmented_images_are_mirrored_and_moved_ones():
    images = torch.rand(40, 3, 16, 24)
    flipped = augment(images, "flip", np.random.default_rng(0))
    kinds = [
        "same" if torch.equal(a, b) else "flip" if torch.equal(a, b.flip(-1)) else "?"
        for a, b in zip(images, flipped, strict=True)
    ]
    assert set(kinds) == {"same", "flip"}
    moved = augment(images, "flip-shift", np.random.default_rng(0))
    for image, found, kind in zip(images, moved, kinds, strict=True):
        inner = found.flip(-1) if kind == "flip" else found
        padded = nn.functional.pad(image[None], (3, 3, 2, 2), mode="reflect")[0]
        assert any(
            torch.equal(inner, padded[:, top : top + 16, left : left + 24])
            for top in range(5)
            for left in range(7)
        )
    assert torch.equal(augment(images, "none", np.random.default_rng(0)), images)


def test_an_augmentation_changes_steps_and_not_what_is_attacked(tmp_path):
    images = bright_and_dark(20)
    settings = replace(SETTINGS, learning_rate=0.0, batch=4)
    plain, _ = make_adversarial_dataset(Brightness(), images, Shift(), tmp_path / "a", settings)
    moved, _ = make_adversarial_dataset(
        Brightness(), images, Shift(), tmp_path / "b", replace(settings, augment="flip-shift")
    )
    assert np.array_equal(plain.read(np.arange(40)), moved.read(np.arange(40)))


@pytest.mark.parametrize("together", [False, True])
def test_steps_in_bfloat16_are_near_those_in_float32(tmp_path, together):
    dataset, _ = make_adversarial_dataset(
        Brightness(), bright_and_dark(20), Shift(), tmp_path, replace(SETTINGS, rounds=0)
    )
    found = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        models = [small_resnet(classes=2, width=4) for _ in range(2)]
        settings = DROSettings(
            passes=2, draws=20, batch=5, precision=precision, augment="flip", learning_rate=0.01
        )
        losses = train_group(dataset, models, [0, 1], settings, together=together)
        found[precision] = losses, models[0]
        assert next(models[0].parameters()).dtype == torch.float32
    assert not torch.equal(found["float32"][0], found["bfloat16"][0])
    assert torch.allclose(found["float32"][0], found["bfloat16"][0], atol=0.02)


def test_accuracies_are_those_of_the_images_judged():
    images = bright_and_dark(30)
    model = Brightness()
    assert share_right(model, images.read, images.labels) == 1.0
    assert share_right(model, images.read, 1 - images.labels) == 0.0
    assert held_out_accuracy(model, HeldOut(images, Shift(by=0.5))) == (1.0, 0.0)
    assert held_out_accuracy(model, HeldOut(images, Shift(by=0.01))) == (1.0, 1.0)
    # Half of the labels are wrong: those are not right when attacked, either.
    wrong = replace(images, labels=np.where(np.arange(30) < 15, 1 - images.labels, images.labels))
    assert held_out_accuracy(model, HeldOut(wrong, Shift(by=0.01))) == (0.5, 0.5)


def test_every_round_says_how_good_the_model_is(tmp_path):
    held = HeldOut(bright_and_dark(30, seed=1), parse_attack("pgd:norm=linf,eps=0.4,steps=3")[1])
    _, (tally,) = make_adversarial_dataset(
        Brightness(), bright_and_dark(20), Shift(), tmp_path, replace(SETTINGS, learning_rate=0.0),
        held=held,
    )  # fmt: skip
    assert tally.clean_accuracy == 1.0
    assert tally.held_out_accuracy == 1.0
    assert tally.attacked_accuracy < 0.5


def test_large_images_are_read_in_small_groups(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 600, 600), dtype=np.uint8)
    shard = write_shard(tmp_path, 0, pixels, clean_facts(np.zeros(9, np.int64)))
    _, groups = read_facts(shard)
    assert groups == [1] * 9  # a megabyte each
    small = write_shard(tmp_path, 1, pixels[..., :32, :32], clean_facts(np.zeros(9, np.int64)))
    assert read_facts(small)[1] == [9]
