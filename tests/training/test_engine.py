"""The engine's parts: checkpoints, averages, the schedule, and numbers that are none."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from percert.lipschitz.orthogonal import OrthogonalMix, cayley, polar, retract
from percert.training.engine import (
    Checkpoints,
    Devices,
    NonFiniteError,
    Schedule,
    run,
    start_fabric,
)
from percert.training.engine.loader import Loader, ShuffledOrder
from percert.training.engine.output import Checkpoint, RunLog, load_optimizer, optimizer_tensors
from percert.training.student import WeightAverage, inverse_cayley

pytest.importorskip("lightning_fabric")


def _checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": torch.full((2,), float(step))}, {}, {"recipe": "r"})


def test_the_latest_whole_checkpoint_counts_and_few_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "c", keep=2)
    assert kept.latest() is None
    for step in (5, 10, 100):
        kept.save(_checkpoint(step))
    (tmp_path / "c" / ".unfinished-1").mkdir()
    found = kept.latest()
    assert found is not None
    assert (found.step, found.model["w"].tolist()) == (100, [100.0, 100.0])
    names = sorted(path.name for path in (tmp_path / "c").glob("step-*"))
    assert names == ["step-0000000010", "step-0000000100"]
    kept.save(_checkpoint(100))  # again, as after a kill before the next step
    assert not list((tmp_path / "c").glob(".unfinished*"))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(_checkpoint(3))
    (tmp_path / "step-0000000003" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="step-0000000003: not a checkpoint"):
        kept.latest()


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_an_optimiser_goes_on_as_if_nothing_had_been(kind: Any) -> None:
    settings = {"lr": 0.1} if kind is torch.optim.AdamW else {"lr": 0.1, "momentum": 0.9}

    def trained(steps: int, layer: nn.Linear, optimizer: Any) -> None:
        for step in range(steps):
            optimizer.zero_grad()
            (layer(torch.full((1, 2), 1.0 + step)) ** 2).sum().backward()
            optimizer.step()

    layer = nn.Linear(2, 3)
    optimizer = kind(layer.parameters(), **settings)
    trained(3, layer, optimizer)
    other = nn.Linear(2, 3)
    other.load_state_dict(layer.state_dict())
    resumed = kind(other.parameters(), **settings)
    load_optimizer(resumed, optimizer_tensors(optimizer))
    trained(2, layer, optimizer)
    trained(2, other, resumed)
    assert torch.equal(layer.weight, other.weight)


def test_the_average_of_two_turns_is_the_turn_between() -> None:
    """In two dimensions: exactly, where the average of Cayley's parameters is another turn."""

    def turn(angle: float) -> Tensor:
        c, s = math.cos(angle), math.sin(angle)
        return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)

    between = polar((turn(0.2) + turn(1.0)) / 2)
    assert torch.allclose(between, turn(0.6))
    parameters = inverse_cayley(between)
    assert parameters is not None
    assert torch.allclose(cayley(parameters), turn(0.6))
    assert inverse_cayley(turn(math.pi)) is None  # a half turn has no parameters


def test_an_averaged_network_is_orthogonal_still() -> None:
    layer = OrthogonalMix(6, mirror=True)
    average = WeightAverage(layer, 0.9)
    matrices = []
    for _ in range(5):
        with torch.no_grad():
            layer.square.add_(torch.randn_like(layer.square))
        average.update(layer)
        matrices.append(layer.matrix()[0])
    other = OrthogonalMix(6, mirror=True)
    other.load_state_dict(average.state_dict())
    found, _ = other.matrix()
    assert torch.allclose(found @ found.T, torch.eye(6), atol=1e-5)
    assert not any(torch.allclose(found, matrix, atol=1e-3) for matrix in matrices)


def test_an_averaged_frame_is_the_orthogonal_matrix_between() -> None:
    layer = OrthogonalMix(2, form="manifold", spread=0.0)
    average = WeightAverage(layer, 0.5)
    frames = [layer.frame.clone()]
    for _ in range(2):
        layer.turn.data[0, 0, 1] = 0.2
        retract(layer)
        average.update(layer)
        frames.append(layer.frame.clone())
    found = average.state_dict()["frame"][0]
    assert torch.allclose(found @ found.T, torch.eye(2), atol=1e-6)
    first, last = (float(torch.atan2(one[0, 1, 0], one[0, 0, 0])) for one in (frames[1], frames[2]))
    assert abs(last - first) > 0.1
    assert min(first, last) < float(torch.atan2(found[1, 0], found[0, 0])) < max(first, last)


def test_weights_without_constraint_are_averaged_as_they_are() -> None:
    layer = nn.Linear(1, 1)
    average, expected = WeightAverage(layer, 0.5), layer.weight.detach().clone()
    for step in range(4):
        with torch.no_grad():
            layer.weight.fill_(float(step))
        average.update(layer)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert torch.allclose(average.state_dict()["weight"], expected)


def test_the_rate_warms_up_stays_and_falls() -> None:
    schedule = Schedule(steps=1000, warmup=10, plateau=0.5, learning_rate=1.0)
    rates = [schedule.rate(step) for step in range(1000)]
    assert rates[0] == 0.1
    assert rates[9] == rates[500] == 1.0
    assert math.isclose(rates[750], 0.5, abs_tol=1e-9)
    assert 0 < rates[999] < 1e-4


class _Numbers:
    def shards(self) -> list[str]:
        return ["all"]

    def entries(self, shard: str, /) -> list[int]:
        return list(range(8))


class _Square:
    def losses(
        self, forward: Any, batch: Sequence[int], device: torch.device, gather: Any
    ) -> Mapping[str, Tensor]:
        return {"square": forward(torch.ones(len(batch), 3)).square().mean()}


class _Poisoned:
    """A task that turns to NaN in step 3: in the loss, or in a layer's weights."""

    def __init__(self, network: nn.Module, layer: str | None) -> None:
        self.network, self.layer, self.calls = network, layer, 0

    def losses(
        self, forward: Any, batch: Sequence[int], device: torch.device, gather: Any
    ) -> Mapping[str, Tensor]:
        self.calls += 1
        embedded = forward(torch.ones(len(batch), 3))
        if self.calls == 2 and self.layer is not None:
            handle = self.network.get_submodule(self.layer).register_forward_hook(
                lambda module, given, output: output * float("nan")
            )
            assert handle is not None
        poison = float("nan") if self.calls == 3 and self.layer is None else 1.0
        return {"square": embedded.square().mean() * poison}


@pytest.mark.parametrize(
    ("layer", "said"),
    [("1", r"layer 1 \(ReLU\), whose input is finite"), (None, "")],
)
def test_a_loss_that_is_no_number_stops_with_step_and_layer(
    tmp_path: Path, layer: str | None, said: str
) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    loader = Loader(ShuffledOrder(_Numbers(), seed=0), lambda n, _: n, 2, 0, workers=1)
    with pytest.raises(NonFiniteError, match=rf"^step 3: the loss is not finite .*{said}"):
        run(
            _Poisoned(network, layer),
            network,
            loader,
            Schedule(steps=9, warmup=1),
            start_fabric(Devices("cpu")),
            tmp_path,
            recipe="poisoned",
            tensorboard=False,
        )


def test_the_first_steps_compute_layers_in_bf16_and_give_float32(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    inside: list[torch.dtype] = []
    network[0].register_forward_hook(lambda module, given, output: inside.append(output.dtype))
    given: list[torch.dtype] = []

    class Watching(_Square):
        def losses(self, forward: Any, *rest: Any) -> Mapping[str, Tensor]:
            def watched(images: Tensor) -> Tensor:
                embedded: Tensor = forward(images)
                given.append(embedded.dtype)
                return embedded

            return super().losses(watched, *rest)

    loader = Loader(ShuffledOrder(_Numbers(), seed=0), lambda n, _: n, 2, 0, workers=1)
    schedule = Schedule(steps=5, warmup=1, bf16_share=0.6)
    fabric = start_fabric(Devices("cpu"))
    run(Watching(), network, loader, schedule, fabric, tmp_path, recipe="", tensorboard=False)
    assert inside == [torch.bfloat16] * 3 + [torch.float32] * 2
    assert given == [torch.float32] * 5
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_share_of_steps_is_one() -> None:
    with pytest.raises(ValueError, match=r"bf16_share in \[0, 1\], found 1.5"):
        Schedule(bf16_share=1.5)


@pytest.mark.parametrize("terminal", [True, False])
def test_people_see_the_rate_and_the_time_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    settings = {"first": 4, "steps": 8, "images": 16, "every": 2, "tensorboard": False}
    with RunLog(tmp_path, loud=True, **settings) as log:
        for step in range(5, 9):
            log.step(step, {"loss": 0.25})
    with RunLog(tmp_path, loud=False, **settings) as log:
        log.step(5, {"loss": 0.625})
    said = capsys.readouterr().err
    assert "images/s" in said
    assert "0.25" in said
    assert "0.625" not in said  # no rate has a point
    assert "8/8" in said
    if not terminal:
        assert said.splitlines()[0].startswith("step 6/8")


def test_tensorboard_shows_a_run_that_goes_on_as_one(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = {"steps": 8, "images": 16, "every": 1, "loud": True}
    for first, value in ((0, 0.5), (4, 0.25)):  # killed after step 6, its last checkpoint at 4
        with RunLog(tmp_path, first=first, **settings) as log:
            for step in range(first + 1, 7):
                log.step(step, {"loss": value})
    shown = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    found = [(event.step, event.value) for event in shown.Scalars("loss")]
    assert found == [(step, 0.5 if step <= 4 else 0.25) for step in range(1, 7)]


def test_random_numbers_of_the_caller_are_left_alone(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    loader = Loader(ShuffledOrder(_Numbers(), seed=0), lambda n, _: n, 2, 0, workers=1)
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    fabric = start_fabric(Devices("cpu"))
    run(
        _Square(),
        network,
        loader,
        Schedule(steps=2),
        fabric,
        tmp_path,
        recipe="",
        tensorboard=False,
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert numpy_before == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_a_missing_gpu_or_process_count_is_one_line() -> None:
    with pytest.raises(ValueError, match="devices: expected at least 1"):
        Devices(devices=0)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="not available"):
            start_fabric(Devices("cuda"))
