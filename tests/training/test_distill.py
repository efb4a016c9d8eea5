"""Distillation: what is asked of the student, what the cache saves, and that a run learns."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.image_world import ThumbnailTeacher, image_folder

from percert.lipschitz.architectures import LipSimSize
from percert.metrics.catalog import create_metric
from percert.metrics.certified.exported import NetworkShape, read_config
from percert.training.augmentations import Jitter, jittered
from percert.training.distillation import (
    DistillRecipe,
    distill,
    mean_length,
    read_distill_recipe,
    relational_loss,
    rmse,
)
from percert.training.distillation.run import (
    DistillationTask,
    DistillWeights,
    ImageData,
    TeacherChoice,
)
from percert.training.distillation.targets import CachedTeacher, Target, TargetView, fit_target
from percert.training.engine import Devices, Schedule, start_fabric

pytest.importorskip("lightning_fabric")

SHAPE = NetworkShape(lipsim=LipSimSize(1, 6, 1, 16, embedding=16, side=32))
RECIPE = DistillRecipe(
    name="small",
    seed=4,
    data=ImageData(images="images", side=32, mix=2),
    teacher=TeacherChoice(name="unused"),
    student=SHAPE,
    schedule=Schedule(
        steps=6, batch=4, learning_rate=3e-3, warmup=1, save_every=2, log_every=2, workers=1
    ),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    image_folder(root / "images")
    return root


@pytest.fixture(scope="module")
def fabric() -> Any:
    return start_fabric(Devices("cpu"))


def _views(count: int) -> list[TargetView]:
    images = torch.rand(count, 3, 32, 32)
    draws = torch.tensor([0.0, 0.5, 1.0, 1.0, 0.0, 0.0])
    return [TargetView(image, bytes([i]) * 16, draws) for i, image in enumerate(images)]


@pytest.mark.parametrize("kind", ["rmse", "length"])
def test_both_pipelines_and_the_teacher_get_what_the_paper_gives_them(kind: Any) -> None:
    """With the pixels' sum as student, the losses are known in closed form."""
    teacher, views = ThumbnailTeacher(), _views(3)

    def student(images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :20]

    weights = DistillWeights(standard=1.0, jittered=10.0, between=100.0, kind=kind)
    task = DistillationTask(CachedTeacher(teacher, None), Target(5.0), weights)
    found = task.losses(student, views, torch.device("cpu"), lambda rows: rows)
    images = torch.stack([view.image for view in views])
    asked = 5 * teacher(images)
    dark = jittered(images, torch.stack([view.draws for view in views]))
    here, there = images.flatten(1)[:, :12], dark.flatten(1)[:, :12]

    def apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        if kind == "rmse":
            return torch.nn.functional.mse_loss(one, other).sqrt()
        return (one - other).norm(dim=1).mean()

    expected = {
        "standard": apart(here, asked),
        "jittered": 10 * apart(there, asked),
        "between": 100 * apart(here, there),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-5), name


def test_a_loss_of_weight_0_is_switched_off() -> None:
    weights = DistillWeights(standard=0.0, between=0.0, relational=2.0)
    task = DistillationTask(CachedTeacher(ThumbnailTeacher(), None), Target(1.0), weights)
    found = task.losses(
        lambda x: x.flatten(1)[:, :20], _views(3), torch.device("cpu"), lambda rows: rows
    )
    assert list(found) == ["relational"]


def test_relational_loss_sees_angles_alone() -> None:
    teacher = torch.randn(6, 4, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    lengths = torch.rand(6, 1, dtype=torch.float64) + 0.5
    assert relational_loss(lengths * (teacher @ turn), teacher) < 1e-20
    one, other = torch.eye(2), torch.ones(2, 2)
    assert relational_loss(one, other).item() == pytest.approx(1.0)  # cosines 0 against 1
    assert relational_loss(one[:1], other[:1]) == 0


@pytest.mark.parametrize("loss", [rmse, mean_length])
def test_losses_of_embeddings_have_a_gradient_at_0(loss: Any) -> None:
    same = torch.ones(2, 3, requires_grad=True)
    loss(same, same.detach()).backward()
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_the_authors_loss_is_half_of_both_views_rmse_to_the_teacher() -> None:
    recipe = read_distill_recipe("lipsim-authors-distill")
    teacher, views = ThumbnailTeacher(), _views(3)
    task = DistillationTask(CachedTeacher(teacher, None), Target(1.0), recipe.losses)
    found = task.losses(
        lambda x: x.flatten(1)[:, :20], views, torch.device("cpu"), lambda rows: rows
    )
    images = torch.stack([view.image for view in views])
    dark = jittered(images, torch.stack([view.draws for view in views]))
    mse = torch.nn.functional.mse_loss
    both = [mse(x.flatten(1)[:, :12], teacher(images)).sqrt() for x in (images, dark)]
    assert torch.allclose(sum(found.values()), sum(both) / 2)
    schedule = recipe.schedule
    assert (schedule.epochs, schedule.batch, recipe.data.fit) == (40, 32, "crop")
    assert recipe.jitter == Jitter(saturation=0.2, chance=0.8, grey=0.2)


def test_epochs_are_counted_in_what_there_is(data: Path, tmp_path: Path, fabric: Any) -> None:
    schedule = replace(RECIPE.schedule, epochs=2.0)
    recipe = replace(RECIPE, schedule=schedule)
    distill(recipe, data, tmp_path, fabric, teacher=ThumbnailTeacher(), tensorboard=False)
    assert read_config(tmp_path).trained["steps"] == 6  # 12 images, 4 of them a step


def test_the_teacher_is_asked_once_for_each_view(data: Path, tmp_path: Path, fabric: Any) -> None:
    teacher = ThumbnailTeacher()
    recipe = replace(RECIPE, schedule=replace(RECIPE.schedule, steps=18))
    distill(recipe, data, tmp_path / "run", fabric, teacher=teacher, tensorboard=False)
    assert 12 <= teacher.asked <= 24  # 6 epochs of 12 images, upright or mirrored
    first = teacher.asked
    again = replace(
        recipe, name="again", teacher=replace(recipe.teacher, cache="../run/teacher-cache")
    )
    distill(again, data, tmp_path / "again", fabric, teacher=teacher, tensorboard=False)
    assert teacher.asked == first


def test_a_run_learns_and_its_folder_is_a_metric(data: Path, tmp_path: Path, fabric: Any) -> None:
    schedule = replace(RECIPE.schedule, steps=60, average=0.9, plateau=0.5)
    recipe = replace(RECIPE, schedule=schedule)
    made = distill(recipe, data, tmp_path, fabric, teacher=ThumbnailTeacher())
    from percert.reports import read_records

    losses = {
        (row["step"], row["name"]): row["value"]
        for row in read_records(tmp_path / "records.parquet")
    }
    assert losses[60, "standard"] < 0.8 * losses[2, "standard"]
    assert losses[60, "images_per_second"] > 0
    assert list((tmp_path / "tensorboard").iterdir())
    metric = create_metric(str(tmp_path), device="cpu")
    photo, other = torch.rand(2, 3, 3, 40, 40)
    assert torch.equal(metric(photo, other), made(photo, other))
    assert metric.bound((32, 32)).value == pytest.approx(1.0)
    assert metric.constant == 1.0
    card = json.loads((tmp_path / "config.json").read_text())
    assert card["trained"]["teacher"] == "thumbnails"


def test_principal_targets_have_the_scale_and_keep_what_varies(
    data: Path, tmp_path: Path, fabric: Any
) -> None:
    chosen = TeacherChoice("unused", target="principal", dimensions=3, fitted_on=8, scale=20.0)
    recipe = replace(RECIPE, teacher=chosen, schedule=replace(RECIPE.schedule, steps=2))
    distill(recipe, data, tmp_path, fabric, teacher=ThumbnailTeacher(), tensorboard=False)
    features = torch.randn(200, 6) * torch.tensor([9.0, 5.0, 0.1, 0.1, 0.1, 0.1])
    target = fit_target(features, 2, 3.0)(features)
    assert torch.allclose(target.norm(dim=1), torch.tensor(3.0))
    angle = torch.nn.functional.normalize(features[:, :2], dim=1)
    assert (target @ target.T / 9 - angle @ angle.T).abs().mean() < 0.1
    with pytest.raises(ValueError, match="at most 6 dimensions"):
        fit_target(features, 7, 1.0)


def test_a_target_wider_than_the_student_is_refused_before_the_run(
    data: Path, tmp_path: Path, fabric: Any
) -> None:
    with pytest.raises(ValueError, match="at least the target's 17 values, found 16"):
        distill(RECIPE, data, tmp_path, fabric, teacher=ThumbnailTeacher(17))


def test_every_recipe_of_the_repository_can_be_read() -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    read = [read_distill_recipe(path) for path in sorted(recipes.glob("*distill*.toml"))]
    assert {recipe.name for recipe in read} >= {"lipsim-paper"}
    paper = next(recipe for recipe in read if recipe.name == "lipsim-paper")
    assert paper.student.lipsim == LipSimSize(20, 45, 7, 1024)
    assert paper.student.constant == 1.0
    assert paper.teacher.scale == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[teacher]\nscale = 0\n", "scale above 0"),
        ("[student]\nfamily = 'vit'\n", "family: expected one of 'lipsim', 'tiny'"),
        ("[losses]\nnorm = 1\n", r"\[losses\]: unknown key 'norm'"),
        ("[schedule]\nsteps = 'many'\n", "steps: expected int, found 'many'"),
        ("[student.lipsim]\ndepth = 3\n", "missing"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as found:
        read_distill_recipe(path)
    assert str(path) in str(found.value)
