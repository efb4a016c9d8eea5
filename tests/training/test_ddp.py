"""Two processes (gloo) end in the weights of one with the doubled batch."""

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.image_world import ThumbnailTeacher, exit_status, image_folder, in_a_child
from tests.training.shards_world import bright_and_dark
from tests.training.test_distill import RECIPE

from percert.attacks import parse_attack
from percert.models.small_resnet import small_resnet
from percert.training.distillation import distill
from percert.training.distillation.run import DistillRecipe, DistillWeights
from percert.training.dro import RoundSettings, make_adversarial_dataset
from percert.training.dro.attack import COUNTS
from percert.training.dro.dataset import open_dataset
from percert.training.engine import Devices, Schedule, start_fabric
from percert.training.engine.collective import Collective

pytest.importorskip("lightning_fabric")
pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")


def _recipe(batch: int) -> DistillRecipe:
    return replace(
        RECIPE,
        losses=DistillWeights(1.0, 0.5, 1.0, relational=3.0),
        # Plain descent: Adam divides by gradients that are nearly 0, and so magnifies rounding.
        schedule=Schedule(
            steps=5, batch=batch, learning_rate=0.05, optimizer="sgd", warmup=1, average=0.5,
            save_every=2, log_every=1, workers=1,
        ),
    )  # fmt: skip


def _half(data: Path, out: Path) -> None:
    fabric = start_fabric(Devices("cpu"))
    assert fabric.world_size == 2
    distill(_recipe(2), data, out, fabric, teacher=ThumbnailTeacher(), tensorboard=False)


def _two_processes(job: Callable[..., None], *arguments: Path) -> list[Any]:
    """Children that run ``job``, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test",
        "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    return [
        in_a_child(
            job, *arguments, environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]


def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path) -> None:
    data = tmp_path / "data"
    image_folder(data / "images")
    children = _two_processes(_half, data, tmp_path / "two")
    alone = start_fabric(Devices("cpu"))
    distill(
        _recipe(4), data, tmp_path / "one", alone, teacher=ThumbnailTeacher(), tensorboard=False
    )
    assert [exit_status(child) for child in children] == [0, 0]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.allclose(value, two[key], rtol=0, atol=1e-5), key
    start = distill_start()
    assert any(not torch.allclose(one[key], start[key], atol=1e-3) for key in one)  # it did move


def distill_start() -> dict[str, torch.Tensor]:
    from percert.training.student import new_student

    return new_student(RECIPE.student, "start", RECIPE.seed).network.state_dict()


def _rounds(out: Path) -> None:
    """Algorithm 2 with all that several processes could get wrong, in as many as there are."""
    fabric = start_fabric(Devices("cpu"))
    torch.manual_seed(0)
    settings = RoundSettings(
        rounds=2, batch=5, shard=8, seed=5, momentum=0.9, augment="flip-shift", cluster_size=3.0
    )
    attack = parse_attack("pgd:norm=linf,eps=0.2,steps=2")[1]  # random starts
    model = small_resnet(classes=2, width=4)
    # 21 images in shards of 8: batches of 5, of 3 and of 2, so that parts differ in size.
    _, tallies = make_adversarial_dataset(
        model, bright_and_dark(21), attack, out, settings, fabric=fabric
    )
    if fabric.is_global_zero:
        save_file(model.state_dict(), out / "model.safetensors")
        counts = [{name: getattr(tally, name) for name in COUNTS} for tally in tallies]
        (out / "tallies.json").write_text(json.dumps(counts))


def test_algorithm_2_in_two_processes_makes_what_one_makes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("sklearn")
    children = _two_processes(_rounds, tmp_path / "two")
    assert [exit_status(child) for child in children] == [0, 0]
    _rounds(tmp_path / "one")
    one, two = (open_dataset(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 63
    for field in ("label", "weight", "round", "position", "source", "success", "wrong", "spared"):
        assert np.array_equal(getattr(one.facts, field), getattr(two.facts, field)), field
    rows = np.arange(63)
    apart = np.abs(one.read(rows).astype(int) - two.read(rows).astype(int))
    assert apart.max() <= 1  # a rounding may fall the other way
    assert (apart > 0).mean() < 1e-3
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    for key, value in weights[0].items():
        assert torch.allclose(value, weights[1][key], rtol=0, atol=1e-5), key
    tallies = [
        json.loads((tmp_path / name / "tallies.json").read_text()) for name in ("one", "two")
    ]
    assert [tally["images"] for tally in tallies[0]] == [21, 21]
    for mine, theirs in zip(*tallies, strict=True):
        # Each process calls the model for its part: more calls, of fewer images.
        assert {**mine, "model_calls": 0} == {**theirs, "model_calls": 0}


def _statistics(out: Path) -> None:
    fabric = start_fabric(Devices("cpu"))
    group = Collective(fabric)
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    model.train()
    value = float(1 + group.rank)
    model(torch.full((4, 2), value)).sum().backward()
    gradient = model[1].bias.grad.clone()
    # As convolutions leave it in channels_last: not contiguous.
    model[1].weight.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T
    group.sum_gradients(model)
    group.average_statistics(model)
    assert torch.equal(model[1].bias.grad, 2 * gradient)
    assert torch.equal(model[1].weight.grad, torch.tensor([[2.0, 6.0], [4.0, 8.0]]))
    assert torch.allclose(model[0].running_mean, torch.full((2,), 0.1 * 1.5))
    assert model[0].num_batches_tracked == 1
    parts = group.gathered(group.part(np.arange(5)).tolist())
    assert parts == [[0, 1, 2], [3, 4]]
    assert group.part(np.arange(1)).tolist() == [[0], []][group.rank]


def test_gradients_add_up_and_statistics_are_averaged(tmp_path: Path) -> None:
    children = _two_processes(_statistics, tmp_path)
    assert [exit_status(child) for child in children] == [0, 0]
