"""A run learns, is the same twice, and goes on where it was stopped, to the very bit."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file
from tests.training.tiny_world import make_world
from torch import Tensor

import percert
from percert.audit import audit_network
from percert.lipschitz.architectures import Architecture, TinyShape
from percert.metrics.certified.exported import NetworkShape, read_config
from percert.training.copies import batches as draws
from percert.training.copies import pictures, read_copies_recipe, run, train_copies
from percert.training.copies.batches import CopyBatches, read_corpus
from percert.training.copies.run import CopyTask
from percert.training.engine import Devices, NonFiniteError, start_fabric
from percert.training.student import new_student, save_model

pytest.importorskip("pyarrow", reason="the labelled images are parquet")
pytest.importorskip("lightning_fabric")


class _KilledError(Exception):
    pass


def _run(
    recipe: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    stop_at: int | None = None,
    model: Path | None = None,
    steps: int | None = None,
) -> list[Mapping[str, Tensor]]:
    """The losses of every step; ``stop_at`` is the step that a kill comes in."""
    seen: list[Mapping[str, Tensor]] = []
    losses = CopyTask.losses

    def watched(self: CopyTask, *given: Any) -> Mapping[str, Tensor]:
        if len(seen) + 1 == stop_at:
            raise _KilledError
        seen.append(losses(self, *given))
        return seen[-1]

    settings = read_copies_recipe(recipe)
    if steps is not None:
        settings = replace(settings, schedule=replace(settings.schedule, steps=steps))
    with monkeypatch.context() as patched:
        patched.setattr(CopyTask, "losses", watched)
        fabric = start_fabric(Devices("cpu"))
        train_copies(settings, recipe.parent, out, fabric, model=model, tensorboard=False)
    return seen


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_an_interrupted_run_ends_in_the_same_weights(
    architecture: Architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_world(tmp_path / "data")
    text = recipe.read_text()
    recipe.write_text(text.replace("[network]\n", f'[network]\narchitecture = "{architecture}"\n'))
    whole = _run(recipe, tmp_path / "whole", monkeypatch)
    with pytest.raises(_KilledError):
        _run(recipe, tmp_path / "parts", monkeypatch, stop_at=6)
    assert not (tmp_path / "parts" / "model.safetensors").exists()

    def asked_again(*_: Any) -> None:
        pytest.fail("pictures and the teacher's features are kept")

    with monkeypatch.context() as patched:
        patched.setattr(run, "_features", asked_again)
        patched.setattr(pictures, "decode_image", asked_again)
        rest = _run(recipe, tmp_path / "parts", monkeypatch)
    assert len(whole) == 6
    assert len(rest) == 2  # saved after step 4
    expected = load_file(tmp_path / "whole" / "model.safetensors")
    found = load_file(tmp_path / "parts" / "model.safetensors")
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    card = read_config(tmp_path / "parts")
    assert card.shape.tiny.architecture == architecture
    begun = new_student(card.shape, "fresh", 3).network.state_dict()
    assert not torch.equal(begun["layers.3.bias"], found["layers.3.bias"])
    if architecture == "lipnext":
        frame, begun_at = found["layers.3.frame"], begun["layers.3.frame"]
        assert not torch.allclose(frame, begun_at, atol=1e-3)
        assert torch.allclose(frame @ frame.mT, torch.eye(24), atol=1e-5)
    metric = percert.create_metric(str(tmp_path / "parts"), device="cpu")
    assert audit_network(metric).passed
    assert whole[0].keys() == {"copies", "distortions", "semantics", "imitation 0", "angles 0"}


def test_the_folder_of_a_finished_run_is_a_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_world(tmp_path / "data")
    _run(recipe, tmp_path / "out", monkeypatch)
    metric = percert.create_metric(str(tmp_path / "out"), device="cpu")
    photo = torch.rand(1, 3, 80, 96, generator=torch.Generator().manual_seed(0))
    assert float(metric(photo, photo.flip(-1))) < 1e-9
    assert metric.constant == 0
    card = json.loads((tmp_path / "out" / "config.json").read_text())
    assert card["trained"]["pictures"] == 18
    assert card["trained"]["steps"] == 6


def test_plain_edits_are_kept_where_the_recipe_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_world(tmp_path / "data")
    recipe.write_text(recipe.read_text() + "[paths]\nweight = 3.0\npictures = 8\n")
    seen = _run(recipe, tmp_path / "out", monkeypatch, steps=60)
    losses = [values["paths"].item() for values in seen]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_an_interrupted_run_goes_on_with_its_bank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_world(tmp_path / "data")
    plain = _run(recipe, tmp_path / "plain", monkeypatch)
    recipe.write_text(recipe.read_text() + "[copies]\nbank = 21\n")
    whole = _run(recipe, tmp_path / "whole", monkeypatch)
    with pytest.raises(_KilledError):
        _run(recipe, tmp_path / "parts", monkeypatch, stop_at=6)
    _run(recipe, tmp_path / "parts", monkeypatch)
    expected = load_file(tmp_path / "whole" / "model.safetensors")
    found = load_file(tmp_path / "parts" / "model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    # Nothing is kept when a run begins, and what is kept then are further strangers.
    assert torch.isclose(plain[0]["copies"], whole[0]["copies"])
    assert not torch.isclose(plain[1]["copies"], whole[1]["copies"])


def test_a_bank_smaller_than_nothing_is_refused(tmp_path: Path) -> None:
    recipe = make_world(tmp_path / "data")
    recipe.write_text(recipe.read_text() + "[copies]\nbank = -1\n")
    with pytest.raises(ValueError, match="expected a bank of at least 0, found -1"):
        read_copies_recipe(recipe)


def test_a_run_lowers_its_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_world(tmp_path / "data")
    seen = _run(recipe, tmp_path / "out", monkeypatch, steps=60)
    losses = [values["copies"].item() for values in seen]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_a_run_in_bf16_learns_nearly_the_same_and_is_proven_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_world(tmp_path / "data")
    exact = _run(recipe, tmp_path / "exact", monkeypatch)
    text = recipe.read_text()
    recipe.write_text(text.replace("[schedule]\n", "[schedule]\nbf16_share = 1.0\n"))
    rounded = _run(recipe, tmp_path / "rounded", monkeypatch)
    assert not torch.equal(exact[0]["copies"], rounded[0]["copies"])
    for name, loss in exact[0].items():
        torch.testing.assert_close(loss, rounded[0][name], rtol=0.05, atol=0.05)
    assert audit_network(percert.create_metric(str(tmp_path / "rounded"), device="cpu")).passed


def test_the_run_of_another_recipe_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_world(tmp_path / "data")
    _run(recipe, tmp_path / "out", monkeypatch)
    recipe.write_text(recipe.read_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(ValueError, match="holds a run of another recipe"):
        _run(recipe, tmp_path / "out", monkeypatch)


def test_other_images_have_other_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_world(tmp_path / "data")
    settings, out = read_copies_recipe(recipe), tmp_path / "out"
    corpus, asked = read_corpus(settings, recipe.parent, out), []
    features = run._features
    monkeypatch.setattr(run, "_features", lambda *given: asked.append(1) or features(*given))

    def found() -> Tensor:
        (one,) = run.teacher_features(settings, recipe.parent, corpus, out, torch.device("cpu"))
        return one

    first = found()
    assert first.shape == (18, 512)
    assert torch.equal(found(), first)
    assert len(asked) == 2  # photographs and labelled images, once
    corpus[0].images[0] = 255 - corpus[0].images[0]
    assert not torch.equal(found(), first)
    (out / "teacher-0.safetensors").write_bytes(b"killed as it was written")
    found()
    assert len(asked) == 6


def test_a_run_begins_from_a_given_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_world(tmp_path / "data")
    # At a rate of nearly 0 a run ends where it began.
    text = recipe.read_text().replace("[schedule]\n", "[schedule]\nlearning_rate = 1e-12\n")
    recipe.write_text(text)
    settings = read_copies_recipe(recipe)
    shape = NetworkShape(family="tiny", tiny=settings.network, constant=0.0, resize="box")
    begun = new_student(shape, "earlier", 99).network
    save_model(begun, shape, "earlier", tmp_path / "earlier", {})
    _run(recipe, tmp_path / "out", monkeypatch, model=tmp_path / "earlier", steps=3)
    ended = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in begun.state_dict().items():
        assert torch.allclose(ended[name], value, rtol=0, atol=1e-9), name
    with pytest.raises(ValueError, match="holds a run of another recipe"):  # from random weights
        _run(recipe, tmp_path / "out", monkeypatch, steps=3)


def test_a_run_may_end_between_where_it_began_and_where_it_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_world(tmp_path / "data")
    settings = read_copies_recipe(recipe)
    shape = NetworkShape(family="tiny", tiny=settings.network, constant=0.0, resize="box")
    begun = new_student(shape, "earlier", 99).network
    save_model(begun, shape, "earlier", tmp_path / "earlier", {})
    weights = [begun.state_dict()]
    text = recipe.read_text()
    for blend in ("0.0", "0.25"):
        recipe.write_text(f"blend = {blend}\n{text}")
        out = tmp_path / blend
        _run(recipe, out, monkeypatch, model=tmp_path / "earlier")
        weights.append(load_file(out / "model.safetensors"))
    first, whole, mixed = weights
    for name, value in first.items():
        assert torch.allclose(mixed[name], 0.25 * value + 0.75 * whole[name], atol=1e-7), name
    assert audit_network(percert.create_metric(str(tmp_path / "0.25"), device="cpu")).passed


def test_a_model_to_begin_from_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_world(tmp_path / "data")
    shape = NetworkShape(family="tiny", tiny=TinyShape(48, (1, 1, 1), 32), constant=0.0)
    save_model(new_student(shape, "x", 0).network, shape, "x", tmp_path / "other", {})
    with pytest.raises(ValueError, match=r"other: a network of another shape than the recipe's"):
        _run(recipe, tmp_path / "out", monkeypatch, model=tmp_path / "other")
    with pytest.raises(ValueError, match="nowhere"):
        _run(recipe, tmp_path / "out", monkeypatch, model=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_names_step_and_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_world(tmp_path / "data")
    draw, calls = draws.draw_batch, []

    def damaged(*given: Any) -> draws.CopyBatch:
        calls.append(1)
        drawn = draw(*given)
        return replace(drawn, edited=drawn.edited * float("nan")) if len(calls) == 2 else drawn

    monkeypatch.setattr(draws, "draw_batch", damaged)
    with pytest.raises(NonFiniteError, match="step 2: the loss is not finite"):
        _run(recipe, tmp_path / "out", monkeypatch)


def test_a_cursor_goes_through_json(tmp_path: Path) -> None:
    recipe = make_world(tmp_path / "data")
    settings = read_copies_recipe(recipe)
    corpus = read_corpus(settings, recipe.parent, tmp_path / "out")
    source = CopyBatches(settings, corpus, torch.device("cpu"))
    batches = source.batches(source.start())
    _, cursor = next(batches)
    (expected,), _ = next(batches)
    again = source.from_json(json.loads(json.dumps(source.to_json(cursor))))
    (found,), _ = next(source.batches(again))
    assert torch.equal(found.edited, expected.edited)
    assert torch.equal(found.identity, expected.identity)


@pytest.mark.parametrize("name", ["lipsim-tiny", "lipsim-base"])
def test_the_recipes_of_the_networks_that_come_with_percert_train(
    name: str, tmp_path: Path
) -> None:
    world = make_world(tmp_path / "data")
    small, known = read_copies_recipe(world), read_copies_recipe(name)
    recipe = replace(known, data=small.data, schedule=replace(small.schedule, steps=1))
    fabric = start_fabric(Devices("cpu"))
    metric = train_copies(recipe, world.parent, tmp_path / "out", fabric, tensorboard=False)
    side = {"lipsim-tiny": 64, "lipsim-base": 128}[name]
    assert metric.resize.size == (side, side)
    assert 2 * sum(p.numel() for p in metric.network.parameters()) < 12e6  # in half precision
    assert known.batch == 2048
