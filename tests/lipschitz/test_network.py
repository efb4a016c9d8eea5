"""The network type, LipSim's sizes, and folding for compilers and exporters."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from percert.images import Resize
from percert.lipschitz.architectures import SIZES, LipSimSize, lipsim_network
from percert.lipschitz.bound import LipschitzBound
from percert.lipschitz.fixed_layers import Abs, Flatten, MaxMin, NormOnePool
from percert.lipschitz.mirror import MirrorFold, MirrorLift
from percert.lipschitz.network import LipschitzNetwork, fold
from percert.lipschitz.operator_norms import jacobian
from percert.lipschitz.orthogonal import OrthogonalMix, Shift
from percert.lipschitz.sll import SLLDense
from percert.metrics.certified.embedding import EmbeddingMetric

TINY = LipSimSize(2, 6, 2, 8, embedding=20, side=32)


def compact() -> LipschitzNetwork:
    """One of each layer of our own network."""
    layers = [
        MirrorLift(4),
        Shift(mirror=True),
        OrthogonalMix(48, 24, mirror=True),
        MaxMin(),
        Abs(),
        MirrorFold(),
        SLLDense(96, 16),
    ]
    return LipschitzNetwork(layers, resolution=(8, 8), name="compact")


def metric_of(network: LipschitzNetwork) -> EmbeddingMetric:
    metric = EmbeddingMetric(network, Resize(network.resolution, "bicubic"), name=network.name)
    return metric.eval().requires_grad_(False)


class Doubling(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    def lipschitz_bound(self) -> LipschitzBound:
        return LipschitzBound(2.0, "doubled")


def test_the_bound_is_the_product_of_the_layers() -> None:
    network = LipschitzNetwork([Doubling(), MaxMin(), Doubling()], resolution=(2, 2), name="n")
    bound = network.lipschitz_bound()
    assert bound.value == 4.0
    assert bound.proof == "n: doubled, sorting permutes"


def test_layers_without_a_bound_and_wrong_sizes_are_errors() -> None:
    with pytest.raises(ValueError, match="layer 1, a ReLU, has no lipschitz_bound"):
        LipschitzNetwork([Abs(), nn.ReLU()], resolution=(2, 2), name="n")
    with pytest.raises(ValueError, match="at least one layer"):
        LipschitzNetwork([], resolution=(2, 2), name="n")
    with pytest.raises(ValueError, match=r"expected images \(n, 3, 8, 8\), found \(1, 3, 8, 9\)"):
        compact()(torch.zeros(1, 3, 8, 9))


def test_jacobian_of_whole_networks() -> None:
    for network in (compact(), lipsim_network(TINY)):
        network.double().eval().requires_grad_(False)
        point = torch.rand(3, *network.resolution, dtype=torch.float64)
        assert torch.linalg.svdvals(jacobian(network, point)).max() <= 1 + 1e-9


def test_the_papers_sizes() -> None:
    small = SIZES["small"]
    assert (small.depth, small.channels, small.dense_depth, small.dense_inner) == (20, 45, 7, 1024)
    with torch.device("meta"):
        network = lipsim_network(small)
    assert next(network.layers[1].parameters()).shape == (5, 45, 3, 3)
    assert next(network.layers[24].parameters()).shape == (1024, 8820)
    assert sum(p.numel() for p in network.parameters()) == 20 * 2035 + 7 * (1024 * 8822)


def test_sizes_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        lipsim_network(LipSimSize(1, 6, 1, 4, embedding=10, side=40))
    with pytest.raises(ValueError, match="at most 24 embedding values"):
        lipsim_network(LipSimSize(1, 6, 1, 4, embedding=25, side=32))


def test_channels_last_changes_the_layout_and_not_the_numbers() -> None:
    network = lipsim_network(TINY).eval().requires_grad_(False)
    x = torch.rand(2, 3, 32, 32)
    seen = []
    network.layers[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    fast = network(x)
    network.channels_last = False
    assert torch.allclose(fast, network(x), atol=1e-6)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[1].is_contiguous()


@pytest.mark.parametrize("make", [compact, lambda: lipsim_network(TINY)])
def test_folding_keeps_the_numbers_and_the_bound(make: Callable[[], LipschitzNetwork]) -> None:
    network = make().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    folded = fold(network)
    x = torch.rand(2, 3, *network.resolution)
    assert not list(folded.parameters())
    assert torch.allclose(folded(x), network(x), atol=1e-6)
    assert folded.lipschitz_bound() == network.lipschitz_bound()
    before = folded(x)
    with torch.no_grad():
        next(network.parameters()).normal_()
    assert torch.equal(folded(x), before)


def test_a_folded_metric_is_traced_whole() -> None:
    """Without generated C++, which takes a minute to compile for this many layers."""
    metric = metric_of(compact())
    x = torch.rand(2, 3, 8, 8)
    compiled = torch.compile(fold(metric).embed, backend="aot_eager")
    assert torch.allclose(compiled(x), metric.embed(x), atol=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_torch_compile() -> None:
    layers = [NormOnePool(2), Flatten(), OrthogonalMix(12), SLLDense(12, 4)]
    metric = metric_of(LipschitzNetwork(layers, resolution=(4, 4), name="small"))
    x = torch.rand(2, 3, 4, 4)
    # Inductor cannot link against a torch that is installed under a path with a space in it.
    backend = "aot_eager" if " " in torch.__file__ else "inductor"
    compiled = torch.compile(fold(metric).embed, backend=backend)
    assert torch.allclose(compiled(x), metric.embed(x), atol=1e-5)


@pytest.mark.parametrize("make", [compact, lambda: lipsim_network(TINY)])
def test_onnx_export_of_a_whole_metric(
    make: Callable[[], LipschitzNetwork], tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    metric = metric_of(make())

    class Embed(nn.Module):
        """Exporters take a forward with one input."""

        def __init__(self) -> None:
            super().__init__()
            self.folded = fold(metric)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.folded.network(self.folded.resize(images))

    x = torch.rand(2, 3, 40, 36)
    path = tmp_path / "embed.onnx"
    torch.onnx.export(Embed().eval(), (x,), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (embedding,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert torch.allclose(torch.from_numpy(embedding), metric.embed(x), atol=1e-5)
