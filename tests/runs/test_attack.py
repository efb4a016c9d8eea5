"""Attacking a collection: each image as if alone, in batches of one size, each row once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.models.tiny_factory import linear
from tests.runs.folder import SIZES, fill, picture

from percert.attacks import LpBall, create_attack, judge
from percert.attacks.goal import Untargeted
from percert.defences import create_defence
from percert.images import load_image, save_image
from percert.metrics.catalog import create_metric
from percert.runs import (
    AttackPlan,
    ClassifierTask,
    EmbeddingTask,
    ImageItem,
    RecordedMetric,
    TripletTask,
    attack_items,
    find_items,
    probe,
    read_sample,
    record_columns,
)


class Counting:
    """An attack that notes the shape of every batch."""

    def __init__(self, inner):
        self.inner, self.batches = inner, []

    def __call__(self, model, images, goal, **settings):
        self.batches.append(tuple(images.shape))
        return self.inner(model, images, goal, **settings)


class Broken:
    def __call__(self, model, images, goal, **settings):
        raise RuntimeError("no such luck\nmore")


def plan_of(batch_size=2, **attacks):
    attacks = attacks or {"ascent": create_attack("ascent", steps=200)}
    return AttackPlan(
        attacks=attacks,
        measures={"ssim": RecordedMetric(create_metric("ssim", device="cpu"), 11)},
        batch_size=batch_size,
    )


def rows_of(outcomes):
    return {(row["image"], row["attack"]): row for found in outcomes for row in found.rows}


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path)
    return tmp_path


def test_rows_say_what_the_judge_says_of_the_image_alone(folder: Path) -> None:
    model = linear()
    task = ClassifierTask(model)
    (item,) = [item for item in find_items(folder) if item.name == "p0.png"]
    (outcome,) = attack_items(task, plan_of(), [item])
    (row,), (file,) = outcome.rows, outcome.images
    clean = load_image(item.source)[None]
    label = int(model(clean).argmax())
    verdict = judge(model, clean, file[None], Untargeted(torch.tensor([label])))
    assert list(row) == list(record_columns(task.columns, ["ssim"]))
    assert (row["label"], row["clean_prediction"], row["attacked"]) == (label, label, True)
    assert row["prediction"] == int(model(file[None]).argmax()) != label
    assert row["success"] is row["success_8bit"] is True
    for name, value in verdict.distances.items():
        assert row[name] == pytest.approx(value.item(), rel=1e-6)
    ssim = create_metric("ssim", device="cpu")(clean, file[None]).item()
    assert row["ssim"] == pytest.approx(ssim, rel=1e-5)
    assert row["margin_8bit"] == pytest.approx(verdict.margin_8bit.item(), rel=1e-4, abs=1e-6)
    assert row["file"] == "ascent/p0.png"
    assert (row["height"], row["width"]) == SIZES[0]
    assert row["model_calls"] > 1


def test_a_task_may_ask_that_the_goal_be_reached_through_defences(folder: Path) -> None:
    model = linear().eval()
    subjects = [read_sample(item) for item in find_items(folder) if item.name == "p0.png"]
    task = ClassifierTask(model, confidence=0.5, survive="blur-2")
    goal = task.goal(subjects, task.look(subjects))
    image = subjects[0].image[None]
    plain = ClassifierTask(model, confidence=0.5)
    each = plain.goal(subjects, plain.look(subjects))
    margins = [each.margin(model(one)) for one in (image, create_defence("blur-2")(image))]
    assert margins[0] != margins[1]
    assert goal.margin(goal.scores(model, image)) == min(margins)


def test_images_are_batched_by_size_and_read_once_for_all_attacks(
    folder: Path, monkeypatch
) -> None:
    read = []
    from percert.runs import attack as local

    inner = local.read_sample
    monkeypatch.setattr(local, "read_sample", lambda item: read.append(item.name) or inner(item))
    one, two = (Counting(create_attack("ascent", steps=5)) for _ in range(2))
    items = find_items(folder)
    rows = rows_of(attack_items(ClassifierTask(linear()), plan_of(3, one=one, two=two), items))
    assert len(rows) == 2 * len(SIZES)
    assert sorted(one.batches) == [(1, 3, 16, 24), (2, 3, 20, 16), (3, 3, 16, 24)]
    assert one.batches == two.batches
    assert sorted(read) == sorted(item.name for item in items)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_row_depends_on_its_image_alone(folder: Path, batch_size: int) -> None:
    items = find_items(folder)
    task = ClassifierTask(linear())
    attacks = {"pgd": create_attack("pgd", eps=0.5, steps=5)}  # starts at random
    expected = rows_of(attack_items(task, plan_of(2, **attacks), items))
    found = rows_of(attack_items(task, plan_of(batch_size, **attacks), items[::-1]))
    assert found.keys() == expected.keys()
    for key, row in found.items():
        assert row["l2"] == pytest.approx(expected[key]["l2"], rel=1e-5)
        assert row["seed"] == expected[key]["seed"]
    assert len({row["seed"] for row in found.values()}) == len(found)


def test_what_is_done_is_neither_read_nor_attacked_again(folder: Path) -> None:
    items = [item for item in find_items(folder) if item.name != "bad.png"]
    attack = Counting(create_attack("ascent", steps=5))
    done = {(item.name, "ascent") for item in items[:-1]}
    rows = rows_of(attack_items(ClassifierTask(linear()), plan_of(ascent=attack), items, done))
    assert list(rows) == [(items[-1].name, "ascent")]
    assert [shape[0] for shape in attack.batches] == [1]


def test_the_bad_image_is_named_and_the_rest_is_done(folder: Path) -> None:
    outcomes = list(attack_items(ClassifierTask(linear()), plan_of(), find_items(folder)))
    (bad,) = [found for found in outcomes if found.bad is not None]
    assert bad.bad == "bad.png"
    assert "not an image of an accepted format" in bad.reason
    assert len(rows_of(outcomes)) == len(SIZES)


def test_an_attack_that_raises_is_left_out_and_the_others_go_on(folder: Path) -> None:
    attacks = {"broken": Broken(), "ascent": create_attack("ascent")}
    outcomes = list(attack_items(ClassifierTask(linear()), plan_of(**attacks), find_items(folder)))
    (failed,) = [found for found in outcomes if found.failed is not None]
    assert failed.failed == "broken"
    assert failed.reason.startswith("no such luck more\nTraceback")
    assert {attack for _, attack in rows_of(outcomes)} == {"ascent"}


def test_what_is_wrong_already_is_recorded_and_only_attacked_on_request(folder: Path) -> None:
    items = [item for item in find_items(folder) if item.name != "bad.png"]
    model = linear()
    right = {item.name: int(model(load_image(item.source)[None]).argmax()) for item in items}
    labelled = [replace(item, label=right[item.name]) for item in items]
    labelled[0] = replace(labelled[0], label=(right[items[0].name] + 1) % 10)
    rows = rows_of(attack_items(ClassifierTask(model), plan_of(), labelled))
    row = rows[(items[0].name, "ascent")]
    assert (row["attacked"], row["success"], row["success_8bit"]) == (False, False, False)
    assert row["prediction"] == row["clean_prediction"] == right[items[0].name] != row["label"]
    assert row["l2"] is row["ssim"] is row["file"] is None
    assert sum(row["attacked"] for row in rows.values()) == len(items) - 1
    every = ClassifierTask(model, even_wrong=True)
    assert all(
        row["attacked"] for row in rows_of(attack_items(every, plan_of(), labelled)).values()
    )


def test_targeted_attacks_reach_their_class(folder: Path) -> None:
    items = [replace(item, target=4) for item in find_items(folder) if item.name != "bad.png"]
    model = linear()
    rows = rows_of(attack_items(ClassifierTask(model, targeted=True), plan_of(), items))
    assert all(row["target"] == 4 for row in rows.values())
    moved = [row for row in rows.values() if row["attacked"]]
    assert moved
    assert all(row["prediction"] == 4 and row["success_8bit"] for row in moved)
    assert all(row["clean_prediction"] == 4 for row in rows.values() if not row["attacked"])


def test_what_the_threat_forbids_is_no_success(folder: Path) -> None:
    plan = replace(plan_of(), threat=LpBall("l2", 1e-3))
    rows = rows_of(attack_items(ClassifierTask(linear()), plan, find_items(folder)))
    assert not any(row["success_8bit"] or row["within_threat_8bit"] for row in rows.values())
    assert all(row["margin_8bit"] > 0 for row in rows.values())


def test_many_sizes_are_not_all_held_at_once(tmp_path: Path) -> None:
    """Every picture has a size of its own: batches of one, long before the last is read."""
    for number in range(30):
        save_image(picture(number, (16, 16 + number)), tmp_path / f"{number:02d}.png")
    items = find_items(tmp_path)
    outcomes = attack_items(
        ClassifierTask(linear()), plan_of(1, ascent=create_attack("ascent", steps=1)), items
    )
    first = next(iter(outcomes))
    assert len(first.rows) == 1
    assert len(rows_of([first, *outcomes])) == 30


def test_triplets_are_turned_round_and_files_say_so(folder: Path) -> None:
    save_image(0.5 * picture(0, SIZES[0]) + 0.25, folder / "near.png")
    metric = create_metric("thumbnail", device="cpu")
    names = [folder / name for name in ("near.png", "in side/p1.png")]
    item = ImageItem("p0.png", folder / "p0.png", others=tuple(names))
    outcomes = list(attack_items(TripletTask(metric), plan_of(), [item]))
    (row,) = rows_of(outcomes).values()
    assert (row["label"], row["clean_prediction"], row["prediction"]) == (0, 0, 1)
    assert row["success_8bit"]
    file = outcomes[0].images[0][None]
    left, right = (metric(file, load_image(name)[None]).item() for name in names)
    assert (row["distance_left"], row["distance_right"]) == pytest.approx((left, right))
    assert left > right
    asked = replace(item, label=1)
    (row,) = rows_of(attack_items(TripletTask(metric), plan_of(), [asked])).values()
    assert (row["attacked"], row["label"], row["clean_prediction"]) == (False, 1, 0)


def test_embeddings_go_where_the_record_says(folder: Path) -> None:
    metric = create_metric("thumbnail", device="cpu")
    items = [item for item in find_items(folder) if item.name == "p0.png"]
    attacks = {"pgd": create_attack("pgd", eps=0.5, steps=5)}
    (outcome,) = attack_items(EmbeddingTask(metric), plan_of(**attacks), items)
    (row,), (file,) = outcome.rows, outcome.images
    clean = load_image(items[0].source)[None]
    moved = (metric.embed(file[None]) - metric.embed(clean)).square().sum().item()
    assert row["moved"] == pytest.approx(moved, rel=1e-6)
    assert row["moved"] > 0
    assert row["distance"] == pytest.approx(metric(clean, file[None]).item(), rel=1e-6)
    assert (row["label"], row["prediction"], row["success"]) == (None, None, False)
    reached = EmbeddingTask(metric, beyond=moved / 2)
    (outcome,) = attack_items(reached, plan_of(**attacks), items)
    assert outcome.rows[0]["success_8bit"]


def test_what_the_model_cannot_judge_is_named_and_the_rest_attacked(tmp_path: Path) -> None:
    """An image of another size than the model is made for, and one of which it says NaN."""
    fill(tmp_path)
    height, width = SIZES[0]
    save_image(torch.rand(3, height, width + 3), tmp_path / "odd size.png")
    save_image(torch.zeros(3, height, width), tmp_path / "dark.png")
    weight = torch.randn(10, 3 * height * width, generator=torch.Generator().manual_seed(0))

    class Fixed(torch.nn.Module):
        def forward(self, images):
            scores = images.flatten(1) @ weight.T
            return torch.where(images.amax((1, 2, 3))[:, None] > 0, scores, torch.nan)

    names = ("p0.png", "dark.png", "odd size.png")
    items = [item for item in find_items(tmp_path) if item.name in names]
    model = Fixed().eval()
    assert probe(model, items).predictions.keys() == {"p0.png"}
    outcomes = list(attack_items(ClassifierTask(model), plan_of(batch_size=3), items))
    bad = {found.bad: found.reason for found in outcomes if found.bad is not None}
    assert bad.keys() == {"dark.png", "odd size.png"}
    assert "the logits of 1 of 1 images are NaN" in bad["dark.png"]
    assert "model: fails on images (1, 3," in bad["odd size.png"]
    ((image, _),) = rows_of(outcomes)
    assert image == "p0.png"
    assert not any(found.failed for found in outcomes)
    with pytest.raises(ValueError, match="the logits of 1 of 1 images are NaN"):
        probe(model, [item for item in items if item.name == "dark.png"])


def test_nan_on_the_way_costs_the_one_image(folder: Path) -> None:
    """Logits that overflow once the attack has moved the image, and only there."""
    items = [item for item in find_items(folder) if item.name in ("p0.png", "in side/p3.png")]
    first = load_image(next(item.source for item in items if item.name == "p0.png"))
    inner = linear().eval()

    class Overflowing(torch.nn.Module):
        def forward(self, images):
            same = images.shape[1:] == first.shape
            away = (images - first).flatten(1).norm(dim=1) if same else images.new_full((1,), 9.0)
            broken = (away > 0) & (away < 0.5)
            return torch.where(broken[:, None], torch.nan, inner(images))

    outcomes = list(attack_items(ClassifierTask(Overflowing().eval()), plan_of(), items))
    (bad,) = [found for found in outcomes if found.bad is not None]
    assert bad.bad == "p0.png"
    assert "attack ascent: model: the logits of 1 of 1 images are NaN" in bad.reason
    assert {image for image, _ in rows_of(outcomes)} == {"in side/p3.png"}


def test_one_triplet_of_unequal_sizes_is_named_and_passed_over(folder: Path) -> None:
    save_image(0.5 * picture(0, SIZES[0]) + 0.25, folder / "near.png")
    save_image(torch.rand(3, 5, 6), folder / "small.png")
    metric = create_metric("l2", device="cpu")
    near, far, small = (folder / name for name in ("near.png", "in side/p1.png", "small.png"))
    items = [
        ImageItem("unequal", folder / "p0.png", others=(near, small)),
        ImageItem("equal", folder / "p0.png", others=(near, folder / "p0.png")),
    ]
    assert load_image(far).shape == load_image(near).shape
    outcomes = list(attack_items(TripletTask(metric), plan_of(), items))
    (bad,) = [found for found in outcomes if found.bad is not None]
    assert bad.bad == "unequal"
    assert "expected the reference's shape" in bad.reason
    assert {image for image, _ in rows_of(outcomes)} == {"equal"}
    assert not any(found.failed for found in outcomes)
