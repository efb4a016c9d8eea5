"""Saliency maps: the spectral residual by numpy, networks of known output, distances of maps."""

import math

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import structural_similarity
from tests.evaluation.attack_world import grey, originals, write_attacks
from torch import nn

from percert.evaluation.attack_runs.read import read_attack_runs
from percert.evaluation.attack_runs.saliency import (
    as_maps,
    create_saliency,
    map_distances,
    saliency_distances,
)
from percert.evaluation.attack_runs.saliency_card import IMAGENET_MEAN, IMAGENET_STD


def mean_map() -> nn.Module:
    """Each pixel's brightness."""

    class Mean(nn.Module):
        def forward(self, images):
            return images.mean(1, keepdim=True)

    return Mean()


def photograph():
    return torch.from_numpy(data.chelsea()[::3, ::3].copy()).permute(2, 0, 1)[None].float() / 255


def spectral_residual(image):
    """Hou and Zhang 2007, equations 3 to 6, as OpenCV sets it up, by numpy's Fourier transform."""
    import cv2
    from scipy import ndimage

    shade = (image[0].permute(1, 2, 0).numpy() @ [0.299, 0.587, 0.114]).astype(np.float32)
    small = np.fft.fft2(cv2.resize(shade, (64, 64)))
    log = np.log(np.abs(small) + 1e-9)
    residual = log - ndimage.uniform_filter(log, 3, mode="reflect")
    power = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(small)))) ** 2
    kernel = np.exp(-(np.arange(-2, 3) ** 2) / 128)
    for axis in (0, 1):
        power = ndimage.convolve1d(power, kernel / kernel.sum(), axis, mode="mirror")
    return cv2.resize(power / power.max(), shade.shape[::-1])


def test_the_spectral_residual_is_numpys():
    pytest.importorskip("cv2", reason="needs the extra 'saliency'")
    saliency, how = create_saliency("spectral-residual")
    maps = saliency(photograph())
    assert maps.shape == (1, 100, 151)
    assert 0 <= maps.min() <= maps.max() <= 1
    # OpenCV's floats are singles, and its blur has other borders.
    expected = spectral_residual(photograph())
    assert np.corrcoef(maps[0].numpy().ravel(), expected.ravel())[0, 1] > 0.93
    assert how.startswith("opencv-")


def test_an_isolated_spot_is_what_fine_grained_saliency_finds():
    pytest.importorskip("cv2", reason="needs the extra 'saliency'")
    picture = torch.full((1, 3, 64, 64), 0.5)
    picture[..., 20:28, 40:48] = 1.0
    maps = create_saliency("fine-grained")[0](picture.repeat(2, 1, 1, 1))
    assert torch.equal(maps[0], maps[1])
    inside = maps[0, 20:28, 40:48]
    assert inside.mean() > 2.5 * maps[0].median()


def onnx_file(path, size=None, sigmoid_free=True):
    """A network whose second output is the mean of the channels that it is given."""
    onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    shape = [1, 3, *(size or ("h", "w"))]
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Neg", ["x"], ["minus"]),
            onnx.helper.make_node("ReduceMean", ["x"], ["map"], axes=[1], keepdims=1),
        ],
        "mean",
        [make("x", onnx.TensorProto.FLOAT, shape)],
        [
            make("minus", onnx.TensorProto.FLOAT, None),
            make("map", onnx.TensorProto.FLOAT, None),
        ],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8
    )
    path.write_bytes(model.SerializeToString())
    return path


def test_an_onnx_card_prepares_images_and_finishes_maps(tmp_path):
    onnx_file(tmp_path / "net.onnx")
    card = tmp_path / "net.toml"
    card.write_text('file = "net.onnx"\noutput = 1\nsigmoid = true\nstretch = false\n')
    images = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    maps = create_saliency(str(card))[0](images)
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
    assert torch.allclose(maps, ((images - mean) / std).mean(1).sigmoid(), atol=1e-6)
    card.write_text('file = "net.onnx"\noutput = 1\nchannels = "bgr"\nscale = 255\n'
                    "mean = [0, 0, 0]\nstd = [1, 1, 1]\n")  # fmt: skip
    stretched = create_saliency(str(card))[0](images)
    grey_ = images.mean(1)
    low, high = grey_.amin((1, 2), keepdim=True), grey_.amax((1, 2), keepdim=True)
    assert torch.allclose(stretched, (grey_ - low) / (high - low), atol=1e-4)


def test_an_onnx_file_says_itself_what_size_it_takes(tmp_path):
    path = onnx_file(tmp_path / "fixed.onnx", (8, 8))
    card = tmp_path / "net.toml"
    card.write_text('file = "fixed.onnx"\noutput = 1\nstretch = false\nmean = [0,0,0]\nstd=[1,1,1]')
    maps = create_saliency(str(card))[0](torch.full((2, 3, 20, 30), 0.25))
    assert maps.shape == (2, 20, 30)
    assert torch.allclose(maps, torch.full_like(maps, 0.25), atol=1e-5)
    with pytest.raises(ValueError, match=r"expected maps \(n, 1, h, w\)"):
        create_saliency(str(path))[0](torch.rand(1, 3, 8, 8))  # the first output has 3 channels


@pytest.mark.parametrize(
    ("spec", "content", "message"),
    [
        ("spectral", None, "expected spectral-residual, fine-grained"),
        ("none.onnx", None, "no such file"),
        ("none.toml", None, "no such file"),
        ("bad.onnx", "text", "not an ONNX network"),
        ("bad.toml", "size = 3", "expected a key 'file'"),
        ("bad.toml", "file = 'x'\nsizes = 3", "unknown key 'sizes'"),
    ],
)
def test_what_is_no_saliency_is_said(tmp_path, spec, content, message):
    if spec.endswith(".onnx"):
        pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    if "." in spec:
        spec = str(tmp_path / spec)
    if content is not None:
        (tmp_path / spec).write_text(content)
    with pytest.raises(ValueError, match=message):
        create_saliency(spec)


def test_maps_of_a_network_that_gives_nan_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        as_maps(torch.full((1, 1, 2, 2), math.nan), (2, 2))


def test_distances_of_maps_are_norms_and_skimages_ssim():
    generator = torch.Generator().manual_seed(1)
    reference = torch.rand(32, 40, generator=generator)
    maps = (reference + 0.1 * torch.randn(2, 32, 40, generator=generator)).clamp(0, 1)
    for found, one in zip(map_distances(reference, maps), maps, strict=True):
        change = (one - reference).numpy()
        assert found["l1"] == pytest.approx(np.abs(change).sum(), rel=1e-5)
        assert found["l2"] == pytest.approx(np.sqrt((change**2).sum()), rel=1e-5)
        assert found["linf"] == pytest.approx(np.abs(change).max(), rel=1e-5)
        _, whole = structural_similarity(
            reference.double().numpy(),
            one.double().numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        assert found["ssim"] == pytest.approx(1 - whole[5:-5, 5:-5].mean(), abs=1e-5)


def test_what_an_attack_moves_is_measured_in_its_files(tmp_path):
    """With brightness for saliency, the distance of maps is that of grey images."""
    images = originals(tmp_path / "images")
    run = write_attacks(tmp_path / "run", images, {"pgd": {"a.png": grey(110), "b.png": None}})
    methods = {"mean": create_saliency("tests.evaluation.test_saliency:mean_map")}
    rows = read_attack_runs([run]).rows
    (found,) = saliency_distances(rows, images, methods, tmp_path / "out").values()
    assert found[0]["l1"] == pytest.approx(256 * 10 / 255, rel=1e-4)
    assert found[0]["linf"] == pytest.approx(10 / 255, rel=1e-4)
    assert found[1]["l1"] is None
    assert rows[0]["l1"] == pytest.approx(3 * 256 * 10 / 255, rel=1e-4)  # of the images


def test_egnet_gets_its_own_preparation_and_u2net_its_own(tmp_path):
    """By the file's name: Caffe's mean in BGR, 0 to 255, the last output, a sigmoid after it."""
    images = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    maps = create_saliency(str(onnx_file(tmp_path / "EGNet.onnx")))[0](images)
    mean = torch.tensor([104.00699, 116.66877, 122.67892]).view(3, 1, 1)
    wanted = (255 * images.flip(1) - mean).mean(1)
    assert torch.allclose(maps, wanted.sigmoid(), atol=1e-4)
    assert maps.amax() > 0.99 > 0.01 > maps.amin()
    with pytest.raises(ValueError, match=r"expected maps \(n, 1, h, w\)"):
        # U2-Net's map is its first output, which has three channels here.
        create_saliency(str(onnx_file(tmp_path / "u2net.onnx")))[0](images)
