"""kill -9 at any moment, then the same command: the weights at the end are the same bits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.image_world import (
    ThumbnailTeacher,
    exit_status,
    image_folder,
    in_a_child,
    kill_oneself,
)
from tests.training.test_distill import RECIPE

from percert.training.distillation import distill
from percert.training.distillation.run import TeacherChoice
from percert.training.distillation.targets import EmbeddingCache
from percert.training.engine import Devices, Schedule, output, start_fabric

pytest.importorskip("lightning_fabric")

RUN = replace(
    RECIPE,
    teacher=TeacherChoice("unused", target="principal", dimensions=3, fitted_on=8, scale=20.0),
    schedule=Schedule(
        steps=9, batch=4, warmup=2, average=0.8, save_every=2, log_every=1, workers=2
    ),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    image_folder(root / "images")
    return root


def _train(data: Path, out: Path) -> None:
    fabric = start_fabric(Devices("cpu"))
    distill(RUN, data, out, fabric, teacher=ThumbnailTeacher(), tensorboard=False)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("whole")
    _train(data, out)
    return load_file(out / "model.safetensors")


#: The n-th call of which function is the last thing that the process does.
MOMENTS: list[tuple[str, Any, str, int]] = [
    ("before the first checkpoint", output, "save_file", 1),
    ("between a checkpoint's files", output, "save_file", 4),
    ("before a checkpoint has its name", output.os, "rename", 2),
    ("while old ones are deleted", output.shutil, "rmtree", 1),
    ("while the teacher's answers are stored", EmbeddingCache, "put", 2),
]


def _die_at(moment: int, data: Path, out: Path) -> None:
    _, where, name, count = MOMENTS[moment]
    inside, calls = getattr(where, name), [0]

    def deadly(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == count:
            kill_oneself()
        return inside(*arguments, **options)

    setattr(where, name, deadly)
    _train(data, out)


@pytest.mark.parametrize("moment", range(len(MOMENTS)), ids=[m[0] for m in MOMENTS])
def test_a_killed_run_ends_in_the_same_bits(
    moment: int, data: Path, tmp_path: Path, whole: dict[str, torch.Tensor]
) -> None:
    assert exit_status(in_a_child(_die_at, moment, data, tmp_path)) == -9
    assert not (tmp_path / "model.safetensors").exists()
    _train(data, tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == whole.keys()
    for key, value in whole.items():
        assert torch.equal(value, found[key]), key
    from percert.reports import read_records

    rows = read_records(tmp_path / "records.parquet")
    steps = [row["step"] for row in rows if row["name"] == "loss"]
    assert steps == list(range(1, 10))


def test_another_recipe_does_not_go_on_with_this_run(data: Path, tmp_path: Path) -> None:
    fabric = start_fabric(Devices("cpu"))
    short = replace(RUN, schedule=replace(RUN.schedule, steps=2))
    distill(short, data, tmp_path, fabric, teacher=ThumbnailTeacher(), tensorboard=False)
    with pytest.raises(ValueError, match="another recipe"):
        distill(RUN, data, tmp_path, fabric, teacher=ThumbnailTeacher(), tensorboard=False)
