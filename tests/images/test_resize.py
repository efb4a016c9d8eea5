"""Resize against torch's own interpolation, and its norm against the whole operator's."""

import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from percert.images import Resize
from percert.images.resize import resize_matrix

INTERPOLATING = [("bicubic", True), ("bicubic", False), ("bilinear", True), ("bilinear", False)]
ALL = [*INTERPOLATING, ("area", True), ("box", True)]
LENGTHS = st.integers(1, 90)
SMALL = st.integers(1, 9)


def torch_resize(images: Tensor, size: tuple[int, int], mode: str, antialias: bool) -> Tensor:
    if mode == "area":
        return F.interpolate(images, size, mode="area")
    if antialias and size[1] == 1 < size[0]:
        # Torch 2.13 antialiases wrongly to a width of 1 (all rows come out alike), but rightly to
        # a height of 1.
        return torch_resize(images.mT, (size[1], size[0]), mode, antialias).mT
    return F.interpolate(images, size, mode=mode, antialias=antialias, align_corners=False)


def whole_operator(resize: Resize, resolution: tuple[int, int]) -> Tensor:
    """The resize as one matrix, column by column from the unit images."""
    count = math.prod(resolution)
    units = torch.eye(count, dtype=torch.float64).view(count, 1, *resolution)
    return resize(units).reshape(count, -1).T


@pytest.mark.parametrize(("mode", "antialias"), [*INTERPOLATING, ("area", True)])
@settings(deadline=None, max_examples=60)
@given(height=LENGTHS, width=LENGTHS, out_height=LENGTHS, out_width=LENGTHS, seed=st.integers(0, 9))
def test_agrees_with_torch(
    mode: str, antialias: bool, height: int, width: int, out_height: int, out_width: int, seed: int
) -> None:
    images = torch.rand(
        2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    size = (out_height, out_width)
    ours = Resize(size, mode, antialias)(images)
    torch.testing.assert_close(
        ours, torch_resize(images, size, mode, antialias), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize(("mode", "antialias"), [*INTERPOLATING, ("area", True)])
@pytest.mark.parametrize(
    ("resolution", "size"),
    [((299, 301), (64, 64)), ((333, 500), (224, 224)), ((64, 64), (224, 30))],
)
def test_agrees_with_torch_in_float32(
    mode: str, antialias: bool, resolution: tuple[int, int], size: tuple[int, int]
) -> None:
    images = torch.rand(2, 3, *resolution, generator=torch.Generator().manual_seed(1))
    ours = Resize(size, mode, antialias)(images)
    # Torch works out the positions in float32, and so is off by more than rounding the weights is.
    torch.testing.assert_close(ours, torch_resize(images, size, mode, antialias), rtol=0, atol=1e-4)
    exact = Resize(size, mode, antialias)(images.double())
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=2e-6)


@settings(deadline=None, max_examples=60)
@given(height=LENGTHS, width=LENGTHS, out_height=LENGTHS, out_width=LENGTHS)
def test_box_is_the_mean_over_the_output_pixel(
    height: int, width: int, out_height: int, out_width: int
) -> None:
    """A slow twin: repeat every pixel until the output pixels are whole, then average blocks."""
    if height * width * out_height * out_width > 200_000:
        height, width = height % 20 + 1, width % 20 + 1
        out_height, out_width = out_height % 20 + 1, out_width % 20 + 1
    image = torch.rand(1, 1, height, width, dtype=torch.float64)
    fine = image.repeat_interleave(out_height, 2).repeat_interleave(out_width, 3)
    blocks = fine.view(1, 1, out_height, height, out_width, width).mean(dim=(3, 5))
    ours = Resize((out_height, out_width), "box")(image)
    torch.testing.assert_close(ours, blocks, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("mode", "antialias"), ALL)
@settings(deadline=None, max_examples=40)
@given(height=SMALL, width=SMALL, out_height=SMALL, out_width=SMALL)
def test_norm_is_that_of_the_whole_operator(
    mode: str, antialias: bool, height: int, width: int, out_height: int, out_width: int
) -> None:
    resize = Resize((out_height, out_width), mode, antialias)
    exact = torch.linalg.svdvals(whole_operator(resize, (height, width)))[0].item()
    assert resize.norm((height, width)) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("mode", "antialias"), ALL)
@pytest.mark.parametrize(("inside", "outside"), [(299, 64), (64, 224), (640, 224), (37, 41)])
def test_norm_is_that_of_the_singular_values(
    mode: str, antialias: bool, inside: int, outside: int
) -> None:
    sigma = np.linalg.svd(resize_matrix(inside, outside, mode, antialias), compute_uv=False)[0]
    norm = Resize((outside, outside), mode, antialias).norm((inside, inside))
    assert norm == pytest.approx(sigma**2, rel=1e-12)


@pytest.mark.parametrize(
    ("inside", "outside", "mode", "antialias", "norm"),
    [
        # The figures of the ground plan: its bicubic ones are without antialiasing.
        (64, 224, "bicubic", False, 3.61),
        (112, 224, "bicubic", False, 2.07),
        (256, 224, "bicubic", False, 1.09),
        (224, 112, "bicubic", True, 0.50),
        (224, 112, "bilinear", True, 0.50),
        (299, 64, "box", True, 0.214),
        (299, 64, "area", True, 0.244),
    ],
)
def test_published_norms(
    inside: int, outside: int, mode: str, antialias: bool, norm: float
) -> None:
    digits = len(str(norm).split(".")[1]) if norm != 0.5 else 2
    found = Resize((outside, outside), mode, antialias).norm((inside, inside))
    assert round(found, digits) == norm


@settings(deadline=None, max_examples=60)
@given(height=LENGTHS, width=LENGTHS, out_height=LENGTHS, out_width=LENGTHS)
def test_box_has_the_least_norm_of_all(
    height: int, width: int, out_height: int, out_width: int
) -> None:
    size, resolution = (out_height, out_width), (height, width)
    box = Resize(size, "box").norm(resolution)
    assert box == pytest.approx(math.sqrt(out_height * out_width / (height * width)), rel=1e-12)
    for mode, antialias in ALL:
        assert Resize(size, mode, antialias).norm(resolution) >= box * (1 - 1e-12)


@pytest.mark.parametrize("mode", ["bicubic", "bilinear", "area", "box"])
@pytest.mark.parametrize("antialias", [True, False])
def test_rounding_and_largest_values_are_bounds(mode: str, antialias: bool) -> None:
    torch.manual_seed(0)
    for outside in (1, 2, 7, 16):
        resize = Resize((outside, 9), mode, antialias)
        for size in ((1, 1), (5, 40), (16, 17), (3, 64), (300, 11)):
            images = torch.rand(4, 3, *size).round()  # black and white reach farthest
            exact, single = resize(images.double()), resize(images)
            assert exact.abs().max() <= resize.largest + 1e-12
            error = (single.double() - exact).flatten(1).norm(dim=1).max().item()
            assert error <= resize.rounding(size, 2.0**-24)
            # In float64 whatever the images have.
            assert torch.equal(resize(images, dtype=torch.float64), exact)
    # The steepest rows of all sizes up to 60.
    for inside in range(1, 60):
        for outside in range(1, 40):
            rows = np.abs(resize_matrix(inside, outside, mode, antialias)).sum(1).max()
            assert rows**2 <= resize.largest + 1e-12


@pytest.mark.parametrize(("mode", "antialias"), ALL)
@settings(deadline=None, max_examples=40)
@given(inside=LENGTHS, outside=LENGTHS)
def test_constant_images_stay_constant(
    mode: str, antialias: bool, inside: int, outside: int
) -> None:
    rows = resize_matrix(inside, outside, mode, antialias).sum(axis=1)
    np.testing.assert_allclose(rows, 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("mode", "antialias"), ALL)
def test_same_size_is_the_identity(mode: str, antialias: bool) -> None:
    images = torch.rand(1, 3, 20, 31)
    resize = Resize((20, 31), mode, antialias)
    assert resize(images) is images
    assert resize.norm((20, 31)) == 1.0
    assert np.array_equal(resize_matrix(20, 20, mode, antialias), np.eye(20))


@pytest.mark.parametrize(("mode", "antialias"), ALL)
def test_gradient_is_the_adjoint(mode: str, antialias: bool) -> None:
    resize = Resize((7, 40), mode, antialias)
    images = torch.rand(1, 2, 23, 17, dtype=torch.float64, requires_grad=True)
    cotangent = torch.rand(1, 2, 7, 40, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((resize(images) * cotangent).sum(), images)
    forward = (resize(images.detach()) * cotangent).sum()
    torch.testing.assert_close((gradient * images.detach()).sum(), forward)
    assert gradient.norm() <= resize.norm((23, 17)) * cotangent.norm() * (1 + 1e-12)


def test_first_use_in_inference_mode_leaves_autograd_usable() -> None:
    resize = Resize((11, 13))
    with torch.inference_mode():
        resize(torch.rand(1, 3, 53, 59))
    images = torch.rand(1, 3, 53, 59, requires_grad=True)
    resize(images).sum().backward()
    assert images.grad is not None
    assert images.grad.sum().item() == pytest.approx(3 * 11 * 13, rel=1e-5)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(dynamic: bool) -> None:
    torch._dynamo.reset()
    resize = Resize((16, 20))
    compiled = torch.compile(lambda x: resize(x), fullgraph=True, dynamic=dynamic, backend="eager")
    for resolution in ((40, 50), (33, 20)):
        images = torch.rand(2, 3, *resolution)
        torch.testing.assert_close(compiled(images), resize(images))


def test_exports_with_constant_weights() -> None:
    class Net(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return Resize((16, 20))(images)

    images = torch.rand(2, 3, 40, 50)
    batch = {"images": {0: torch.export.Dim("n", min=1, max=64)}}
    program = torch.export.export(Net(), (images,), dynamic_shapes=batch)
    calls = [n.target for n in program.graph.nodes if n.op == "call_function"]
    assert not any("arange" in str(target) for target in calls), "the weights are computed inside"
    more = torch.rand(5, 3, 40, 50)
    torch.testing.assert_close(program.module()(more), Resize((16, 20))(more))
    # Tracing must not leave its fake tensors in the cache of the eager path.
    assert Resize((16, 20))(images).isfinite().all()


def test_equal_settings_are_equal_and_travel() -> None:
    resize = Resize((5, 6), "area")
    assert pickle.loads(pickle.dumps(resize)) == resize == Resize((5, 6), "area")
    assert len({resize, Resize((5, 6), "area"), Resize((5, 6), "box")}) == 2


def test_layouts_and_dtypes() -> None:
    resize = Resize((16, 40))
    images = torch.rand(2, 3, 60, 33)
    expected = resize(images)
    tall = images.mT.contiguous().mT.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(resize(tall), expected)
    assert resize(images[:0]).shape == (0, 3, 16, 40)
    half = resize(images.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0, atol=0.03)


def test_misuse_is_named() -> None:
    with pytest.raises(ValueError, match=r"mode: expected one of 'bicubic'.*'lanczos'"):
        Resize((8, 8), "lanczos")  # type: ignore[arg-type]  # the misuse under test
    with pytest.raises(ValueError, match=r"size: expected .* found \(0, 8\)"):
        Resize((0, 8))
    with pytest.raises(ValueError, match=r"expected a float tensor .* found torch.uint8"):
        Resize((8, 8))(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(3, 4, 4\)"):
        Resize((8, 8))(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="size: expected"):
        Resize((8, 8)).norm((4, 0))
