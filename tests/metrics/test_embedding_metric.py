"""The embedding metric: its distance, its bound, its precision, what it refuses."""

import math

import pytest
import torch
from torch import nn

from percert.images import Resize
from percert.lipschitz.bound import LipschitzBound, LipschitzEstimate
from percert.metrics.certified.embedding import EmbeddingMetric, cosine_distance, direction
from percert.metrics.certified.lipsim import Thumbnail


class Gain(nn.Module):
    """Flattens and multiplies: a network whose norm is known."""

    def __init__(self, gain, size=(4, 4), bound=None):
        super().__init__()
        self.gain = gain
        self.resolution = size
        self.proven = bound if bound is not None else LipschitzBound(gain, "a scalar")

    def forward(self, images):
        return self.gain * images.flatten(1)

    def lipschitz_bound(self):
        return self.proven


def metric(gain=1.0, *, mode="box", size=(4, 4), **options):
    return EmbeddingMetric(Gain(gain, size), Resize(size, mode), name="test", **options)


def embeddings(n, k, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, k, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("constant", [0.0, 1.0, 7.5])
def test_the_distance_is_one_minus_the_cosine_with_the_constant_appended(constant):
    a, b = embeddings(50, 6)
    column = torch.full((50, 1), constant, dtype=torch.float64)
    cosine = torch.cosine_similarity(torch.cat((a, column), 1), torch.cat((b, column), 1))
    torch.testing.assert_close(cosine_distance(a, b, constant), 1 - cosine)


def test_a_small_angle_keeps_its_digits_in_float32():
    angle = 1e-4
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[math.cos(angle), math.sin(angle)]])
    # 1 - cos in float32 is a multiple of 6e-8, and this is 5e-9.
    assert cosine_distance(a, b).item() == pytest.approx(angle**2 / 2, rel=1e-3)


def test_the_range_ends_at_two():
    a, _ = embeddings(5, 4)
    torch.testing.assert_close(cosine_distance(a, -3 * a), torch.full((5,), 2.0).double())


def test_distances_do_not_depend_on_length_without_a_constant():
    a, b = embeddings(5, 4)
    torch.testing.assert_close(cosine_distance(a, b), cosine_distance(5 * a, 0.1 * b))


def test_a_large_constant_makes_it_euclidean():
    a, b = embeddings(5, 4)
    c = 1e4
    torch.testing.assert_close(
        2 * c**2 * cosine_distance(a, b, c), (a - b).square().sum(1), rtol=1e-4, atol=0
    )


def test_zero_embeddings_have_no_direction_and_a_finite_gradient():
    zero = torch.zeros(1, 4, requires_grad=True)
    other = torch.ones(1, 4)
    assert direction(zero).abs().max().item() == 0
    assert cosine_distance(zero, torch.zeros(1, 4)).item() == 0
    distance = cosine_distance(zero, other)
    assert distance.item() == pytest.approx(0.5)
    distance.sum().backward()
    assert zero.grad.isfinite().all()


def test_gradient_is_that_of_finite_differences():
    images = torch.rand(2, 2, 3, 6, 5, generator=torch.Generator().manual_seed(0)).double()
    assert torch.autograd.gradcheck(
        metric(constant=1.0).double(), tuple(batch.requires_grad_() for batch in images)
    )


@pytest.mark.parametrize("mode", ["bicubic", "bilinear", "area", "box"])
@pytest.mark.parametrize("size", [(4, 4), (9, 16), (3, 5)])
def test_the_bound_is_the_norm_of_the_whole_linear_map(mode, size):
    # Everything here is linear, so the largest singular value of the Jacobian is the constant.
    linear = metric(3.0, mode=mode).double()
    image = torch.full((1, 3, *size), 0.5, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(linear.embed, image).flatten(1)[0:]
    exact = torch.linalg.matrix_norm(jacobian.reshape(-1, image.numel()), 2).item()
    bound = linear.bound(size)
    assert isinstance(bound, LipschitzBound)
    assert bound.resolution == size
    assert bound.value == pytest.approx(exact, rel=1e-9)


def test_the_bound_names_its_proofs():
    proof = metric().bound((8, 16)).proof
    assert "a scalar" in proof
    assert "box resize from 8 x 16" in proof


def test_an_estimate_is_never_a_bound():
    estimated = EmbeddingMetric(
        Gain(1.0, bound=LipschitzEstimate(1.0, "power iteration")), Resize((4, 4), "box"), name="x"
    )
    with pytest.raises(TypeError, match=r"expected a proven LipschitzBound.*LipschitzEstimate"):
        estimated.bound((8, 8))


def test_it_computes_in_its_own_precision():
    image = torch.rand(1, 3, 9, 9)
    assert metric().embed(image.double()).dtype == torch.float32
    assert metric().embed(image.half()).dtype == torch.float32
    assert metric().double().embed(image).dtype == torch.float64


def test_autocast_does_not_reach_the_embedding():
    class Dense(Gain):
        def forward(self, images):
            return images.flatten(1) @ torch.eye(48)

    dense = EmbeddingMetric(Dense(1.0), Resize((4, 4), "box"), name="dense")
    image = torch.rand(2, 3, 8, 8)
    expected = dense.embed(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(dense.embed(image), expected)


def test_what_does_not_fit_is_refused():
    resize = Resize((4, 4), "box")
    with pytest.raises(ValueError, match="Flatten has no lipschitz_bound"):
        EmbeddingMetric(nn.Flatten(), resize, name="x")
    with pytest.raises(ValueError, match=r"works at \(8, 8\), but images are resized to \(4, 4\)"):
        EmbeddingMetric(Gain(1.0, (8, 8)), resize, name="x")
    with pytest.raises(ValueError, match="constant and feature_error of at least 0, found -1"):
        metric(constant=-1.0)


def test_the_precision_switches_come_back():
    from percert.device import without_tf32

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with without_tf32():
        assert not torch.backends.cuda.matmul.allow_tf32
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


@pytest.mark.parametrize("asked", ["highest", "high", "medium"])
def test_a_lower_precision_on_the_cpu_is_not_taken_up(asked: str):
    from percert.device import full_precision

    default = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(asked)
    try:
        products = getattr(torch.backends.mkldnn, "matmul", None)  # torch >= 2.9
        before = products and products.fp32_precision
        with full_precision(torch.device("cpu")):
            if products is None:
                assert torch.get_float32_matmul_precision() == "highest"
            else:
                assert products.fp32_precision == "ieee"
        assert torch.get_float32_matmul_precision() == asked
        assert (products and products.fp32_precision) == before
    finally:
        torch.set_float32_matmul_precision(default)


def test_a_compiled_metric_computes_products_in_full_precision_whatever_is_allowed() -> None:
    """The compiler cannot follow the switches: it has to leave the call to be run with them."""
    onednn = torch.backends.mkldnn
    if not hasattr(onednn, "matmul"):
        pytest.skip("this torch has no switch to look at")
    metric, images = Thumbnail(8).float(), torch.rand(1, 3, 32, 32)
    seen: list[str] = []

    def looking(graph: torch.fx.GraphModule, _: object) -> object:
        products = any("mm" in str(node.target) for node in graph.graph.nodes)

        def run(*arguments: object) -> object:
            if products:
                seen.append(onednn.matmul.fp32_precision)
            return graph.forward(*arguments)

        return run

    expected = metric.embed(images)
    asked = torch.get_float32_matmul_precision()
    try:
        for allowed in ("highest", "medium"):
            torch.set_float32_matmul_precision(allowed)
            torch.compiler.reset()
            compiled = torch.compile(metric.embed, backend=looking)
            assert torch.equal(compiled(images), expected)
            # Either nothing was left to the graph, or it ran as if nothing lower were allowed.
            assert set(seen) <= {"ieee", "none"}
    finally:
        torch.set_float32_matmul_precision(asked)
        torch.compiler.reset()
