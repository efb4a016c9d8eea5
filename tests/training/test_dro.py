"""Algorithm 3: closed-form steps, vmap against one after another, restarts model by model."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("pyarrow")

from tests.training.shards_world import Brightness, Shift, bright_and_dark

from percert.models import load_classifier
from percert.models.small_resnet import small_resnet
from percert.training.dro import (
    DRORecipe,
    DROSettings,
    RoundSettings,
    make_adversarial_dataset,
    train_dro,
    train_models,
)
from percert.training.dro.train import (
    full_spec,
    record_store,
    save_classifier,
    train_group,
    trainable_classifier,
)
from percert.training.dro.weighting import SequentialSGD, SGDSettings, StackedSGD

SPEC = full_spec("small-resnet:4", 2)
SETTINGS = DROSettings(passes=2, draws=20, batch=8, seed=3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """20 clean images, and 20 of each of two rounds."""
    folder = tmp_path_factory.mktemp("D")
    found, _ = make_adversarial_dataset(
        Brightness(),
        bright_and_dark(20),
        Shift(),
        folder,
        RoundSettings(rounds=2, batch=10, shard=20, learning_rate=0.0),
    )
    return found


def small_models(count):
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        found.append(small_resnet(classes=2, width=4))
    return found


@pytest.mark.parametrize("descent", [SGDSettings(0.0, 0.0), SGDSettings(0.9, 0.01)])
def test_together_is_one_after_another(descent):
    together = StackedSGD(small_models(3), descent)
    in_turn = SequentialSGD(small_models(3), descent)
    start = small_models(3)
    for step in range(3):
        torch.manual_seed(step)
        images, labels = torch.rand(3, 4, 3, 12, 12), torch.randint(2, (3, 4))
        weights = torch.rand(3, 4) + 0.5
        losses = together.step(images, labels, weights, 0.1)
        assert torch.allclose(losses, in_turn.step(images, labels, weights, 0.1), atol=1e-4)
    pairs = zip(together.finish(), in_turn.finish(), start, strict=True)
    for mine, theirs, first in pairs:
        for name, value in mine.state_dict().items():
            assert torch.allclose(value, theirs.state_dict()[name], atol=1e-4), name
        moved = mine.network[-1].weight - first.network[-1].weight
        assert moved.abs().max() > 1e-3


@pytest.mark.parametrize("kind", [StackedSGD, SequentialSGD])
def test_a_step_is_the_weighted_gradient_of_softmax(kind):
    """A linear model: d loss / d W = mean P_i (softmax - onehot) x_i."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3, bias=False)).double()
    before = model[1].weight.detach().clone()
    images = torch.rand(1, 5, 3, 2, 2, dtype=torch.float64)
    labels, weights = torch.tensor([[0, 2, 1, 1, 0]]), torch.tensor([[1.0, 0.2, 3.0, 0.0, 2.0]])
    stepper = kind([model], SGDSettings(0.0, 0.25))
    stepper.step(images, labels, weights.double(), 0.5)
    (model,) = stepper.finish()
    x = images[0].flatten(1)
    error = torch.softmax(x @ before.T, 1) - torch.eye(3, dtype=torch.float64)[labels[0]]
    gradient = (weights[0].double()[:, None] * error).T @ x / 5
    assert torch.allclose(model[1].weight, before - 0.5 * (gradient + 0.25 * before))


def test_models_that_hold_state_are_trained_by_themselves(dataset):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(200, 2))
    with pytest.raises(ValueError, match="batch normalisation"):
        StackedSGD([model, model], SGDSettings())
    loss = train_group(dataset, [model], [0], SETTINGS, together=False)
    assert loss.isfinite().all()


def weights_in(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def test_models_restart_one_by_one(dataset, tmp_path):
    whole = list(train_models(dataset, SPEC, tmp_path / "a", range(3), SETTINGS))
    files = weights_in(tmp_path / "a")
    assert len(set(files.values())) == 3  # each its own
    assert [row["seed"] for row in whole] == [3, 4, 5]
    # Killed after the first model, and a file lost later on.
    steps = train_models(dataset, SPEC, tmp_path / "b", range(3), SETTINGS)
    next(steps)
    steps.close()
    assert [row["model"] for row in record_store(tmp_path / "b").rows()] == [0]
    done = [row["model"] for row in train_models(dataset, SPEC, tmp_path / "b", range(3), SETTINGS)]
    assert done == [1, 2]
    assert weights_in(tmp_path / "b") == files
    (tmp_path / "b" / "model-0001.safetensors").unlink()
    done = [row["model"] for row in train_models(dataset, SPEC, tmp_path / "b", range(4), SETTINGS)]
    assert done == [1, 3]
    assert files.items() <= weights_in(tmp_path / "b").items()


def test_groups_draw_what_single_models_draw(dataset, tmp_path):
    # Of one start, so that nothing but the draws tells the models apart.
    start = tmp_path / "start.safetensors"
    save_classifier(trainable_classifier(SPEC, seed=9), SPEC, start)
    for at_once in (1, 2):
        rows = train_models(
            dataset, SPEC, tmp_path / str(at_once), range(3), SETTINGS, start=start, at_once=at_once
        )
        assert [row["together"] for row in rows] == [[1, 1, 1], [2, 2, 1]][at_once - 1]
    for number in range(3):
        one, other = (
            load_classifier(SPEC, "cpu", tmp_path / folder / f"model-{number:04d}.safetensors")
            for folder in "12"
        )
        for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-4)


def test_all_set_out_from_theta_0(dataset, tmp_path):
    start = tmp_path / "start.safetensors"
    save_classifier(trainable_classifier(SPEC, seed=9), SPEC, start)
    still = replace(SETTINGS, learning_rate=0.0)
    list(train_models(dataset, SPEC, tmp_path / "a", range(2), still, start=start))
    assert set(weights_in(tmp_path / "a").values()) == {start.read_bytes()}
    list(train_models(dataset, SPEC, tmp_path / "b", range(2), still))
    assert len({*weights_in(tmp_path / "b").values(), start.read_bytes()}) == 3


def test_training_learns_and_the_record_says_so(dataset, tmp_path):
    settings = DROSettings(passes=6, learning_rate=0.1, momentum=0.9, batch=10, schedule="cosine")
    (row,) = train_models(dataset, SPEC, tmp_path, [0], settings)
    assert row["images"] == 6 * 60
    model = load_classifier(SPEC, "cpu", tmp_path / row["file"])
    pixels = torch.from_numpy(dataset.read(np.arange(20))).float() / 255
    right = (model(pixels).argmax(1).numpy() == dataset.facts.label[:20]).mean()
    assert row["accuracy"] == pytest.approx(right)


def test_losses_that_are_no_numbers_are_an_error(dataset):
    literal = replace(SETTINGS, weights="literal", learning_rate=1e30)
    with pytest.raises(ValueError, match="model 7: the loss is not a number; weights"):
        train_group(dataset, small_models(1), [7], literal, together=False)


def process(rank=0, size=1):
    return SimpleNamespace(
        global_rank=rank,
        world_size=size,
        is_global_zero=not rank,
        device=torch.device("cpu"),
        barrier=lambda: None,
    )


def test_every_model_is_trained_by_one_process(dataset, tmp_path):
    recipe = DRORecipe(model=SPEC, models=5, training=SETTINGS)
    trained = {rank: [] for rank in range(3)}
    for rank in (2, 1, 0):
        rows = train_dro(
            recipe, dataset.folder, tmp_path, process(rank, 3), progress=trained[rank].append
        )
        assert bool(rows) == (rank == 0)  # the first process sums up
    assert [[row["model"] for row in trained[rank]] for rank in range(3)] == [[0, 3], [1, 4], [2]]
    assert [row["model"] for row in rows] == list(range(5))


def test_theta_0_is_known_by_its_content_and_not_by_its_path(dataset, tmp_path):
    first, moved = tmp_path / "first.safetensors", tmp_path / "moved.safetensors"
    save_classifier(trainable_classifier(SPEC, seed=1), SPEC, first)
    moved.write_bytes(first.read_bytes())
    recipe = DRORecipe(model=SPEC, models=1, training=SETTINGS, start=str(first))
    train_dro(recipe, dataset.folder, tmp_path / "out", process())
    made = weights_in(tmp_path / "out")
    train_dro(replace(recipe, start=str(moved)), dataset.folder, tmp_path / "out", process())
    save_classifier(trainable_classifier(SPEC, seed=2), SPEC, first)
    with pytest.raises(ValueError, match="theta_0"):
        train_dro(recipe, dataset.folder, tmp_path / "out", process())
    with pytest.raises(ValueError, match=r"nowhere\.safetensors: cannot be read"):
        train_dro(replace(recipe, start="nowhere.safetensors"), dataset.folder, tmp_path, process())
    assert weights_in(tmp_path / "out") == made


@pytest.mark.parametrize("wrong", [{"passes": 0}, {"batch": 0}, {"draws": 0}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="expected passes, draws and batch"):
        DROSettings(**wrong)
