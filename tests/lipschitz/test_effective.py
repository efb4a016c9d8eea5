"""Cached effective weights: whatever changes a parameter, the next output is a fresh layer's."""

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from percert.lipschitz.architectures import LipSimSize, lipsim_network
from percert.lipschitz.orthogonal import FORMS, Form, OrthogonalMix
from percert.lipschitz.sll import SLLConv, SLLDense

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense": (lambda: SLLDense(6, 9), (6,)),
    "conv": (lambda: SLLConv(3, 4), (3, 5, 5)),
    "mix": (lambda: OrthogonalMix(6, 4), (6,)),
    "mirror": (lambda: OrthogonalMix(6, 4, mirror=True), (6, 2, 2)),
}


@pytest.fixture(params=LAYERS)
def layer_and_input(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    """A layer in evaluation whose cache is full, and an input."""
    make, shape = LAYERS[request.param]
    layer, x = make().eval().requires_grad_(False), torch.randn(3, *shape)
    layer(x)
    assert layer._effective._seen is not None
    return layer, x


def fresh(layer: nn.Module, x: Tensor) -> Tensor:
    """The output of a layer that never cached anything."""
    other = copy.deepcopy(layer)
    other._effective.forget()
    return other(x)


def assert_changed_and_fresh(layer: nn.Module, x: Tensor, before: Tensor) -> None:
    now = layer(x)
    assert (now - before).abs().max() > 1e-3
    assert torch.allclose(now, fresh(layer, x), atol=1e-6)


def test_the_second_call_computes_nothing(
    layer_and_input: tuple[nn.Module, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = layer_and_input
    before = layer(x)
    compute = "matrix" if isinstance(layer, OrthogonalMix) else "scale"
    monkeypatch.setattr(type(layer), compute, lambda self: pytest.fail("computed again"))
    assert torch.equal(layer(x), before)


def test_load_state_dict(layer_and_input: tuple[nn.Module, Tensor]) -> None:
    layer, x = layer_and_input
    before = layer(x)
    layer.load_state_dict({k: torch.randn_like(v) for k, v in layer.state_dict().items()})
    assert_changed_and_fresh(layer, x, before)
    layer.load_state_dict(
        {k: torch.randn_like(v) for k, v in layer.state_dict().items()}, assign=True
    )
    assert_changed_and_fresh(layer, x, before)


def test_optimiser_step_in_evaluation_mode(layer_and_input: tuple[nn.Module, Tensor]) -> None:
    layer, x = layer_and_input
    before = layer(x)
    layer.requires_grad_(True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    layer(x).square().sum().backward()  # gradients reach the parameters although it is evaluation
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())
    optimizer.step()
    with torch.no_grad():
        assert_changed_and_fresh(layer, x, before)


def test_moves_between_dtypes(layer_and_input: tuple[nn.Module, Tensor]) -> None:
    layer, x = layer_and_input
    before = layer(x)
    layer.double()
    exact = layer(x.double())
    assert exact.dtype == torch.float64
    assert torch.allclose(exact, before.double(), atol=1e-5)
    assert torch.allclose(exact, fresh(layer, x.double()), atol=1e-12)
    layer.to(torch.float32)
    assert torch.allclose(layer(x), before, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_moves_between_devices(layer_and_input: tuple[nn.Module, Tensor]) -> None:
    layer, x = layer_and_input
    before = layer(x)
    assert torch.allclose(layer.to("cuda")(x.to("cuda")).cpu(), before, atol=1e-4)
    assert torch.allclose(layer.to("cpu")(x), before, atol=1e-6)


def test_a_hidden_edit_is_seen_after_train_and_eval(
    layer_and_input: tuple[nn.Module, Tensor],
) -> None:
    layer, x = layer_and_input
    before = layer(x)
    next(layer.parameters()).data.normal_()  # hidden from the version counter
    layer.train().eval()
    assert_changed_and_fresh(layer, x, before)


def test_a_hidden_edit_changes_all_of_a_layer_or_nothing(
    layer_and_input: tuple[nn.Module, Tensor],
) -> None:
    """A scale that was proven for other weights proves nothing: none is ever used with them."""
    layer, x = layer_and_input
    before, sizes = layer(x), layer.sizes()
    for parameter in layer.parameters():
        parameter.data.mul_(30).add_(1)  # hidden from the version counter
    assert torch.equal(layer(x), before)
    assert layer.sizes() == sizes
    y = x + 0.1 * torch.randn_like(x)
    rise = (layer(x) - layer(y)).flatten(1).norm(dim=1)
    assert (rise <= (x - y).flatten(1).norm(dim=1) * (1 + 1e-5)).all()
    layer.eval()
    assert layer.sizes() != sizes


def test_a_replaced_parameter_at_the_same_address(
    layer_and_input: tuple[nn.Module, Tensor],
) -> None:
    layer, x = layer_and_input
    before = layer(x)
    name, old = next(iter(layer.named_parameters()))
    shape = old.shape
    del old
    for _ in range(20):  # the allocator hands freed memory out again
        delattr(layer, name)
        setattr(layer, name, nn.Parameter(torch.randn(shape), requires_grad=False))
        if name == "weight" or name == "square":
            # Parameters in the order of construction: the replaced one comes last now.
            assert_changed_and_fresh(layer, x, before)


def test_copies_and_pickles_start_empty(layer_and_input: tuple[nn.Module, Tensor]) -> None:
    layer, x = layer_and_input
    before = layer(x)
    other = copy.deepcopy(layer)
    assert other._effective is not layer._effective
    assert other._effective._seen is None
    with torch.no_grad():
        next(other.parameters()).normal_()
    assert_changed_and_fresh(other, x, before)
    assert torch.equal(layer(x), before)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert again._effective._seen is None
    assert torch.allclose(again(x), before, atol=1e-6)


def test_a_cache_filled_in_inference_mode_serves_gradients(
    layer_and_input: tuple[nn.Module, Tensor],
) -> None:
    layer, x = layer_and_input
    layer._effective.forget()
    with torch.inference_mode():
        layer(x)
    x.requires_grad_(True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_parameters_made_in_inference_mode_work() -> None:
    with torch.inference_mode():
        layer = SLLDense(4, 4).eval()
        x = torch.randn(2, 4)
        before = layer(x)
        layer.weight.normal_()
        assert not torch.allclose(layer(x), before)


def test_transforms_of_torch_func_leave_no_wrapper_behind(
    layer_and_input: tuple[nn.Module, Tensor],
) -> None:
    layer, x = layer_and_input
    expected = layer(x)
    layer._effective.forget()
    output, pull = torch.func.vjp(layer, x)
    pull(output)
    assert torch.equal(layer(x), expected)
    assert torch.equal(torch.func.jvp(layer, (x,), (x,))[0], expected)
    assert torch.allclose(torch.func.vmap(lambda one: layer(one[None])[0])(x), expected, atol=1e-5)


def test_autocast_does_not_round_the_scale() -> None:
    layer = SLLDense(64, 64).eval().requires_grad_(False)
    expected, _ = copy.deepcopy(layer).effective()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(torch.randn(1, 64))
    assert torch.equal(layer._effective._value[0], expected)


@pytest.mark.parametrize("form", FORMS)
def test_autocast_does_not_round_what_is_trained(form: Form) -> None:
    layer = OrthogonalMix(12, mirror=True, form=form)
    expected, _ = layer.effective()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = layer.effective()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_without_memory_computes_shapes(training: bool) -> None:
    layer = OrthogonalMix(6, 4, mirror=True).to("meta").train(training).requires_grad_(training)
    assert layer(torch.empty(2, 6, 3, 3, device="meta")).shape == (2, 4, 3, 3)


def test_a_whole_network_cached_equals_recomputed() -> None:
    size = LipSimSize(2, 6, 2, 8, embedding=20, side=32)
    network = lipsim_network(size).eval().requires_grad_(False)
    x = torch.rand(2, 3, 32, 32)
    first, cached = network(x), network(x)
    loaded = lipsim_network(size).eval()
    loaded.load_state_dict(network.state_dict())
    assert torch.equal(first, cached)
    assert torch.allclose(cached, loaded(x), atol=1e-6)  # with gradients: recomputed
    assert torch.allclose(cached, network.train()(x), atol=1e-6)
