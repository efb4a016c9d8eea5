"""Two processes (gloo) end in the weights of one with the doubled batch."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.training.image_world import ThumbnailTeacher, exit_status, image_folder, in_a_child
from tests.training.test_distill import RECIPE

from percert.training.distillation import distill
from percert.training.distillation.run import DistillRecipe, DistillWeights
from percert.training.engine import Devices, Schedule, start_fabric

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


def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path) -> None:
    data = tmp_path / "data"
    image_folder(data / "images")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test",
        "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    children = [
        in_a_child(
            _half,
            data,
            tmp_path / "two",
            environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
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
