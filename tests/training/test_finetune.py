"""Fine-tuning: radii that are the certificates', the paper's hinge, and every set of triplets."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tests.training.image_world import (
    encoded_images,
    exit_status,
    image_folder,
    in_a_child,
    kill_oneself,
)

from percert.lipschitz.architectures import LipSimSize, TinyShape
from percert.metrics.catalog import create_metric
from percert.metrics.certified.exported import NetworkShape
from percert.training.engine import Checkpoints, Devices, Schedule, start_fabric
from percert.training.finetuning import (
    FinetuneRecipe,
    TripletData,
    TripletLoss,
    finetune,
    open_triplets,
    read_finetune_recipe,
)
from percert.training.losses import hinge_loss, raw_margin_loss, signed_radius

SHAPE = NetworkShape(lipsim=LipSimSize(1, 6, 1, 16, embedding=16, side=32), resize="box")
RECIPE = FinetuneRecipe(
    name="tuned",
    student=SHAPE,
    data=(TripletData("distortions", "images", side=32),),
    schedule=Schedule(steps=5, batch=4, warmup=1, save_every=2, log_every=1, workers=1),
)


def _embeddings(count: int = 40) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(
        3 * torch.randn(count, 6, dtype=torch.float64, generator=generator) for _ in range(3)
    )


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_the_reference_s_radius_is_the_distance_to_the_plane_between(constant: float) -> None:
    reference, left, right = _embeddings()
    radius = signed_radius(reference, left, right, constant=constant)

    def gap(h: torch.Tensor) -> torch.Tensor:
        def unit(x: torch.Tensor) -> torch.Tensor:
            return F.normalize(F.pad(x, (0, 1), value=constant), dim=1)

        v = F.pad(h, (0, 1), value=constant)
        return (v * (unit(left) - unit(right))).sum(1)

    normal = torch.autograd.functional.jacobian(lambda h: gap(h).sum(), reference)
    onto = reference - radius[:, None] * F.normalize(normal, dim=1)
    assert torch.allclose(gap(onto), torch.zeros(40, dtype=torch.float64), atol=1e-6)
    assert torch.equal(radius.sign(), gap(reference).sign())
    assert torch.allclose(signed_radius(reference, right, left, constant=constant), -radius)


def test_the_candidates_radius_is_the_closed_form() -> None:
    reference, left, right = _embeddings()
    radius = signed_radius(reference, left, right, moving="candidates")
    angle = [torch.arccos(F.cosine_similarity(reference, x)) for x in (left, right)]
    gap = (angle[1] - angle[0]).abs()
    a, b = left.norm(dim=1), right.norm(dim=1)
    expected = gap.sin() / (1 / a**2 + 1 / b**2 + 2 * gap.cos() / (a * b)).sqrt()
    low = torch.minimum(a, b)
    inside = torch.asin(low / a) + torch.asin(low / b) > gap + 1e-2
    assert inside.sum() > 30
    assert torch.allclose(radius.abs()[inside], expected[inside], rtol=1e-4)
    assert torch.equal(radius > 0, angle[0] < angle[1])


def test_all_three_turn_together_as_far_as_the_gap() -> None:
    reference, left, right = _embeddings()
    radius = signed_radius(reference, left, right, moving="all").abs()
    turn = 2 * torch.asin(radius / reference.norm(dim=1))
    turn = turn + torch.asin(radius / left.norm(dim=1)) + torch.asin(radius / right.norm(dim=1))
    angle = [torch.arccos(F.cosine_similarity(reference, x)) for x in (left, right)]
    assert torch.allclose(turn, (angle[1] - angle[0]).abs(), atol=1e-3)
    assert (radius <= signed_radius(reference, left, right).abs() + 1e-9).all()


@pytest.mark.parametrize("moving", ["reference", "candidates", "all"])
def test_the_radius_s_gradient_is_its_slope(moving: Any) -> None:
    inputs = tuple(x[:5].requires_grad_() for x in _embeddings())
    assert torch.autograd.gradcheck(
        lambda *h: signed_radius(*h, moving=moving), inputs, atol=1e-4, rtol=1e-3, eps=1e-5
    )


def test_the_hinge_is_the_papers() -> None:
    reference, left, right = _embeddings()
    sign = torch.where(torch.arange(40) % 2 == 0, 1.0, -1.0).double()

    def distance(other: torch.Tensor) -> torch.Tensor:
        return 1 - F.cosine_similarity(
            F.pad(reference, (0, 1), value=1.0), F.pad(other, (0, 1), value=1.0)
        )

    expected = (0.2 - sign * (distance(right) - distance(left))).clamp_min(0)
    assert torch.allclose(hinge_loss(reference, left, right, sign, margin=0.2), expected)


def test_the_raw_loss_pushes_lengths_which_the_hinge_does_not_see() -> None:
    reference, left, right = _embeddings()
    reference = reference.clone().requires_grad_()
    sign = signed_radius(reference, left, right).detach().sign()
    hinge = hinge_loss(reference, left, right, sign, margin=2.0, constant=0.0).sum()
    (slope,) = torch.autograd.grad(hinge, reference)
    assert (slope * reference).sum(1).abs().max() < 1e-9
    raw = raw_margin_loss(
        signed_radius(reference, left, right), sign, margin=4.0, temperature=1.0
    ).sum()
    (slope,) = torch.autograd.grad(raw, reference)
    assert ((slope * reference).sum(1) < 0).all()  # longer is better


def test_focal_weights_favour_what_is_missing() -> None:
    radius, sign = torch.tensor([-4.0, 0.0, 4.0, 8.0]), torch.ones(4)
    plain = raw_margin_loss(radius, sign, margin=2.0, temperature=0.5)
    assert torch.allclose(plain, F.softplus((2.0 - radius) / 0.5))
    focal = raw_margin_loss(radius, sign, margin=2.0, temperature=0.5, focus=1.0)
    assert torch.allclose(focal / plain, torch.sigmoid((2.0 - radius) / 0.5))


def _files(root: Path, turn: int = 0) -> list[Path]:
    root.mkdir(parents=True)
    paths = [root / f"{(number + turn) % 6}.png" for number in range(6)]
    for path, content in zip(paths, encoded_images(6), strict=True):
        path.write_bytes(content)
    return paths


def _night(root: Path) -> TripletData:
    _files(root / "night" / "ref")
    rows = [
        # id, left_vote, right_vote, votes, ref, left, right, prompt, split, is_imagenet
        [0, 1, 0, 6, "ref/0.png", "ref/1.png", "ref/2.png", "a", "train", True],
        [1, 0, 1, 7, "ref/1.png", "ref/2.png", "ref/3.png", "b", "train", False],
        [2, 0, 1, 5, "ref/2.png", "ref/3.png", "ref/4.png", "c", "train", False],
        [3, 0, 1, 9, "ref/3.png", "ref/4.png", "ref/5.png", "d", "test", False],
    ]
    head = "id,left_vote,right_vote,votes,ref_path,left_path,right_path,prompt,split,is_imagenet"
    with (root / "night" / "data.csv").open("w", newline="") as file:
        file.write(head + "\n")
        csv.writer(file).writerows(rows)
    return TripletData("night", "night", side=16)


def _bapps(root: Path) -> TripletData:
    place = root / "bapps" / "2afc" / "train" / "cnn"
    for turn, part in enumerate(("ref", "p0", "p1")):
        _files(place / part, turn)
    (place / "judge").mkdir()
    for number, share in enumerate((0.0, 0.8, 0.5, 1.0, 0.2, 0.4)):
        np.save(place / "judge" / f"{number}.npy", np.array([share]))
    return TripletData("bapps", "bapps", side=16, agreement=True)


def _csv(root: Path) -> TripletData:
    _files(root / "mine")
    table = root / "mine" / "t.csv"
    table.write_text(
        "reference,left,right,choice\n0.png,1.png,2.png,left\n1.png,2.png,3.png,right\n"
    )
    return TripletData("csv", "mine/t.csv", side=16)


def _distortions(root: Path) -> TripletData:
    image_folder(root / "images", 4)
    return TripletData("distortions", "images", side=16)


def _classes(root: Path) -> TripletData:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"bytes": content, "path": None} for content in encoded_images(6)]
    table = arrow.table({"image": rows, "label": [0, 1, 0, 1, 0, 2]})
    parquet.write_table(table, root / "labelled.parquet")
    return TripletData("classes", "labelled.parquet", side=16)


@pytest.mark.parametrize(
    ("make", "signs"),
    [
        (_night, [1.0, -1.0]),
        (_bapps, [1.0, -1.0, -1.0, 1.0, 1.0]),
        (_csv, [1.0, -1.0]),
        (_distortions, [1.0] * 4),
        (_classes, [1.0] * 5),  # the class that is there once is nobody's reference
    ],
    ids=["night", "bapps", "csv", "distortions", "classes"],
)
def test_every_set_gives_images_and_who_is_closer(
    make: Any, signs: list[float], tmp_path: Path
) -> None:
    data = make(tmp_path)
    source, prepare = open_triplets(data, tmp_path)
    entries = [entry for shard in source.shards() for entry in source.entries(shard)]
    samples = [prepare(entry, np.random.default_rng(i)) for i, entry in enumerate(entries)]
    assert [sample.sign for sample in samples] == signs
    for sample in samples:
        for image in sample[:3]:
            assert image.shape == (3, 16, 16)
            assert 0 <= image.min() <= image.max() <= 1
        assert not torch.equal(sample.left, sample.right)
    again = [prepare(entry, np.random.default_rng(i)) for i, entry in enumerate(entries)]
    assert all(torch.equal(a.right, b.right) for a, b in zip(samples, again, strict=True))
    mirrored = open_triplets(replace(data, flip=1.0), tmp_path)[1](
        entries[0], np.random.default_rng(0)
    )
    assert torch.allclose(mirrored.left.flip(-1), samples[0].left)
    if data.kind == "bapps":
        assert [round(sample.weight, 6) for sample in samples] == [1.0, 0.6, 1.0, 0.6, 0.2]
    if data.kind == "distortions":
        near, far = samples[0].left - samples[0].reference, samples[0].right - samples[0].reference
        assert near.norm() < far.norm()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    _distortions(root)
    _classes(root)
    return root


def test_a_raw_margin_is_learnt_from_a_start_and_makes_radii_longer(
    data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lightning_fabric")
    fabric = start_fabric(Devices("cpu"))
    small = NetworkShape("tiny", tiny=TinyShape(48, (1, 1, 1), 64, 0), constant=0.0, resize="box")
    sets = (*RECIPE.data, TripletData("classes", "labelled.parquet", side=32))
    loss = TripletLoss("raw", margin=6.0)
    begin = replace(RECIPE, student=small, data=sets, loss=loss)
    finetune(begin, data, tmp_path / "first", fabric, tensorboard=False)
    longer = replace(
        begin,
        schedule=replace(RECIPE.schedule, steps=15, learning_rate=3e-3, log_every=5, average=0.5),
    )
    finetune(longer, data, tmp_path / "second", fabric, model=tmp_path / "first", tensorboard=False)
    from percert.reports import read_records

    rows = read_records(tmp_path / "second" / "records.parquet")
    losses = [row["value"] for row in rows if row["name"] == "raw"]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    metric = create_metric(f"{tmp_path / 'second'}", device="cpu")
    assert metric.constant == 0.0
    assert metric.resolution == (64, 64)


def _train_on_two_sets(data: Path, out: Path) -> None:
    sets = (*RECIPE.data, TripletData("classes", "labelled.parquet", side=32, share=2))
    recipe = replace(RECIPE, data=sets)
    finetune(recipe, data, out, start_fabric(Devices("cpu")), tensorboard=False)


def _die_after_four_steps(data: Path, out: Path) -> None:
    save = Checkpoints.save

    def deadly(self: Checkpoints, found: Any) -> None:
        save(self, found)
        if found.step == 4:
            kill_oneself()

    Checkpoints.save = deadly  # type: ignore[method-assign]
    _train_on_two_sets(data, out)


def test_a_killed_fine_tuning_ends_in_the_same_bits(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _train_on_two_sets(data, whole)
    assert exit_status(in_a_child(_die_after_four_steps, data, parts)) == -9
    _train_on_two_sets(data, parts)
    one, two = (load_file(folder / "model.safetensors") for folder in (whole, parts))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_repository_s_recipes_can_be_read_and_margins_are_the_papers() -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    found = {p.name: read_finetune_recipe(p) for p in recipes.glob("*finetune*.toml")}
    paper = found["lipsim-paper-finetune.toml"]
    assert (paper.loss.kind, paper.loss.margin, paper.data[0].kind) == ("hinge", 0.5, "night")
    authors, ours = (found[f"lipsim-64-{who}-finetune.toml"] for who in ("authors", "ours"))
    assert authors.data == ours.data
    assert authors.schedule.steps == ours.schedule.steps
    assert authors.schedule.batch == ours.schedule.batch


def test_recipes_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    for text, message in (
        ("data = []\n", r"at least one \[\[data\]\]"),
        ("[[data]]\nkind = 'imagenet'\n", "kind: expected one of 'night'"),
        ("[loss]\ntemperature = 0\n", "temperature above 0"),
        ("[loss]\nnorm = 1\n", "unknown key 'norm'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_finetune_recipe(path)
    assert math.isclose(read_finetune_recipe(_written(path, "[loss]\nmargin = 1\n")).loss.margin, 1)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
